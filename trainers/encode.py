"""From texts to sentence vectors of length 1, a block at a time, by a frozen model."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from xling_align.modeling_xling import XLingAlignConfig
from xling_align.modeling_xling.modeling_xling import longest_text

from .arguments import has_fast_bf16

BLOCK = 4096  # texts sorted by length together; the vectors don't depend on where reading began


def encode_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Iterable[str],
    language: str | None,
    batch_size: int = 128,
) -> Iterator[np.ndarray]:
    """Encode texts of one language; the model is put into eval mode.

    Args:
        model: A model of ours, or any other encoder, whose sentence vector is then the mean of its tokens.
        tokenizer: The model's.
        texts: As many as there are; `BLOCK` of them are held at a time.
        language: Their code; None, or another encoder, takes none.
        batch_size: Texts per forward pass.

    Yields:
        Vectors of up to `BLOCK` texts in the order given (texts, dim), float32.
    """
    model.eval()
    ours = isinstance(model.config, XLingAlignConfig)
    options = {"language_ids": language, "fuse_words": False} if ours else {}
    max_length = min(tokenizer.model_max_length, longest_text(model, "none") or 512)
    remaining = iter(texts)
    while block := list(islice(remaining, BLOCK)):
        order = sorted(range(len(block)), key=lambda row: -len(block[row]))
        vectors = []
        for start in range(0, len(block), batch_size):
            batch = [block[row] for row in order[start : start + batch_size]]
            inputs: Any = tokenizer(
                batch, padding=True, padding_side="right", truncation=True, max_length=max_length, return_tensors="pt"
            )
            inputs = {name: inputs[name].to(model.device) for name in ("input_ids", "attention_mask")}
            vectors.append(sentence_vectors(model, inputs, options))
        yield np.concatenate(vectors)[np.argsort(order)]


@torch.inference_mode()
def sentence_vectors(model: PreTrainedModel, inputs: dict[str, torch.Tensor], options: dict[str, Any]) -> np.ndarray:
    """One batch's vectors (batch, dim) of length 1."""
    with torch.autocast(model.device.type, torch.bfloat16, enabled=has_fast_bf16()):
        output = model(**inputs, **options)
    if options:
        vectors = output.pooler_output.float()
    else:
        mask = inputs["attention_mask"].unsqueeze(2).float()
        vectors = (output.last_hidden_state.float() * mask).sum(1) / mask.sum(1)
    return torch.nn.functional.normalize(vectors, dim=1).cpu().numpy()
