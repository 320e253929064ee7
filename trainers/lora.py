"""Low-rank adapters in the encoder, by peft: train few weights of a large encoder, save it merged."""

import torch
from torch import Tensor, nn

from xling_align.modeling_xling import InputError, XLingAlignModel

ADAPTER_FILE = "adapter.safetensors"


def add_adapters(model: XLingAlignModel, lora_rank: int) -> None:
    """Put adapters into every linear layer of the encoder and freeze the encoder's own weights.

    Args:
        model: The model.
        lora_rank: Rank of the adapters.

    Raises:
        InputError: peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise InputError('LoRA needs peft: pip install "xling-align[peft]"') from error
    linear = [name for name, module in model.encoder.named_modules() if isinstance(module, nn.Linear)]
    inject_adapter_in_model(LoraConfig(r=lora_rank, lora_alpha=2 * lora_rank, target_modules=linear), model.encoder)


def adapter_weights(model: nn.Module) -> dict[str, Tensor]:
    """The adapters' weights by name; empty without adapters."""
    return {name: value for name, value in model.state_dict().items() if ".lora_" in name}


@torch.no_grad()
def merged_weights(model: nn.Module) -> dict[str, Tensor]:
    """The weights that the model would have if the adapters were folded into the layers they stand on."""
    from peft.tuners.lora import LoraLayer

    weights = {name: value for name, value in model.state_dict().items() if ".lora_" not in name}
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            key = f"{name}.base_layer.weight"
            weights[key] = weights[key] + module.get_delta_weight("default")  # pyright: ignore[reportAttributeAccessIssue]
    return {name.replace(".base_layer.", "."): value for name, value in weights.items()}
