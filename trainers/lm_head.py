"""The LM head of a pretrained masked language model, of any family: where ours starts, and what pre-training saves."""

from pathlib import Path

import torch
from torch import nn
from transformers import AutoModelForMaskedLM, PreTrainedModel

from xling_align.modeling_xling import XLingAlignForPreTraining


def head_parts(model: PreTrainedModel) -> dict[str, nn.Module] | None:
    """The parts of a masked language model's head, or None where it is built in another way.

    All families have the same: a dense layer, a norm, and a decoder with a bias; only their names differ.

    Args:
        model: Of `AutoModelForMaskedLM`.

    Returns:
        `dense`, `norm` and `decoder`.
    """
    decoder = model.get_output_embeddings()
    outside = [part for name, part in model.named_modules() if name.split(".")[0] != model.base_model_prefix]
    dense = [part for part in outside if isinstance(part, nn.Linear) and part is not decoder]
    norms = [part for part in outside if isinstance(part, nn.LayerNorm)]
    if not isinstance(decoder, nn.Linear) or len(dense) != 1 or len(norms) != 1:
        return None
    return {"dense": dense[0], "norm": norms[0], "decoder": decoder}


@torch.no_grad()
def load_lm_head(model: XLingAlignForPreTraining, encoder: str | Path) -> bool:
    """Start the LM head from a checkpoint's own, so that masked words need not be learned anew.

    Args:
        model: Changed in place.
        encoder: Folder or Hub id that the model's encoder came from.

    Returns:
        Whether the checkpoint has a head that fits.
    """
    try:
        found, report = AutoModelForMaskedLM.from_pretrained(encoder, output_loading_info=True)
    except (ValueError, OSError):  # no masked language model of this kind, or one of ours
        return False
    parts = head_parts(found)
    prefix = found.base_model_prefix
    if parts is None or any(not name.startswith(f"{prefix}.") for name in report["missing_keys"]):
        return False
    for name, part in parts.items():
        own = getattr(model.lm_head, name)
        if name != "decoder":  # its weight is the word embeddings
            own.weight.copy_(part.weight)
        own.bias.copy_(torch.zeros_like(own.bias) if part.bias is None else part.bias)
    return True


@torch.no_grad()
def masked_lm_model(model: XLingAlignForPreTraining) -> PreTrainedModel | None:
    """The encoder and the LM head as a stock masked language model, which `AutoModel` loads as the encoder.

    Args:
        model: After pre-training.

    Returns:
        The stock model, None where its family has no place for one of the head's weights.
    """
    stock = AutoModelForMaskedLM.from_config(model.xling.encoder.config)
    parts = head_parts(stock)
    if parts is None or any(part.bias is None for part in parts.values()):
        return None
    getattr(stock, stock.base_model_prefix).load_state_dict(model.xling.encoder.state_dict())
    for name, part in parts.items():
        part.load_state_dict(getattr(model.lm_head, name).state_dict())
    return stock.to(model.dtype)
