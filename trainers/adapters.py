"""What is added to the encoder for training and folded into it in every saved file: LoRA and shared sub-words."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from xling_align.modeling_xling import InputError, XLingAlignModel

from .subwords import SharedSubwords

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
    """The weights that a saved model does not hold as they are, by name; empty without adapters."""
    tables = [f"{name}." for name, module in model.named_modules() if isinstance(module, SharedSubwords)]
    return {
        name: value
        for name, value in model.state_dict().items()
        if ".lora_" in name or any(name.startswith(table) for table in tables)
    }


def without_adapters(model: PreTrainedModel) -> Any:
    """The model itself, or where it has adapters a model of its class with these folded in."""
    if not adapter_weights(model):
        return model
    whole = type(model)(copy.deepcopy(model.config))
    whole.load_state_dict(merged_weights(model))
    return whole.to(model.device)  # pyright: ignore[reportArgumentType]


@torch.no_grad()
def merged_weights(model: nn.Module) -> dict[str, Tensor]:
    """The weights that the model would have if its adapters were folded into the layers they stand on."""
    apart = adapter_weights(model)
    weights = {name: value for name, value in model.state_dict().items() if name not in apart}
    for name, module in model.named_modules():
        if isinstance(module, SharedSubwords):
            weights[f"{name}.weight"] = module.folded()
        elif hasattr(module, "get_delta_weight"):  # a layer of peft's
            key = f"{name}.base_layer.weight"
            weights[key] = weights[key] + module.get_delta_weight("default")  # pyright: ignore[reportCallIssue]
    return {name.replace(".base_layer.", "."): value for name, value in weights.items()}
