"""What fine-tuning starts from: any base with a fresh classifier on it, and a vocabulary of what occurs."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from xling_align.modeling_xling import (
    InputError,
    XLingAlignConfig,
    XLingAlignForSequenceClassification,
    XLingAlignForTokenClassification,
    XLingAlignModel,
)

from .adapters import merged_weights
from .align import load_model
from .arguments import ModelArguments
from .data.tokenized import TokenizedPairs

Classifier = XLingAlignForSequenceClassification | XLingAlignForTokenClassification
Base = str | Path | PreTrainedModel


def load_base(base: Base, pooling: str = "cls") -> XLingAlignModel:
    """Load or copy what is to be fine-tuned, in float32, all of it trainable.

    Args:
        base: As `finetune.finetune`.
        pooling: As `finetune.finetune`.

    Returns:
        The base model; a plain encoder is wrapped without languages, language token and fusion.
    """
    plain: dict[str, Any] = {"language_token": "none", "fusion_context": "none", "pooling": pooling}
    if isinstance(base, XLingAlignModel):
        model = XLingAlignModel(copy.deepcopy(base.config))
        model.load_state_dict(merged_weights(base))
    elif isinstance(base, PreTrainedModel):
        model = XLingAlignModel(XLingAlignConfig(encoder_config=copy.deepcopy(base.config), **plain))
        model.encoder.load_state_dict(base.state_dict(), strict=False)  # a pooler stays behind
    else:
        wrapping = {} if isinstance(_config(base), XLingAlignConfig) else plain
        model = load_model(ModelArguments(encoder=str(base), **wrapping), [], "en")
    return model.float().requires_grad_(True)


def _config(base: str | Path) -> PreTrainedConfig | None:
    try:
        return AutoConfig.from_pretrained(base)
    except (OSError, ValueError):
        return None  # load_model says what is wrong


def build_classifier(base: XLingAlignModel, labels: Sequence[str], words: bool) -> Classifier:
    """Put a fresh classifier on a base model, which is used itself and not copied.

    Args:
        base: The base model.
        labels: Names of the labels; they are saved in the config.
        words: Whether each word gets a label, not each text.

    Returns:
        The model; parts that its loss does not reach are frozen.

    Raises:
        InputError: There are less than two labels.
    """
    if len(labels) < 2:
        raise InputError(
            f"a classifier needs two or more labels; the training rows have {', '.join(labels) or 'none'}"
        )
    base.config.id2label = dict(enumerate(labels))
    base.config.label2id = {label: number for number, label in enumerate(labels)}
    model = (XLingAlignForTokenClassification if words else XLingAlignForSequenceClassification)(base.config)
    model.xling = base
    unread = [base.projection, None if words else base.word_fusion]
    if base.config.language_token == base.config.fusion_context == "none":
        unread.append(base.language)
    for module in unread:
        if module is not None:
            module.requires_grad_(False)
    return model


@contextmanager
def small_vocabulary(
    model: Classifier, rows: Sequence[dict], pad_token_id: int, pairs: TokenizedPairs | None = None
) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Train with the embeddings of only those tokens that occur, and put them back into the whole tables afterwards.

    Args:
        model: Its word embeddings are exchanged within the context.
        rows: Tokenised rows; their `input_ids` are renumbered, for good.
        pad_token_id: Keeps its number, as all before it do.
        pairs: Tokenised pairs that are trained on as well; renumbered likewise.

    Yields:
        A context in which the whole tables are back meanwhile, with what was learnt so far.
    """
    towers = model.xling.towers
    tables: list[Any] = [tower.get_input_embeddings() for tower in towers]
    kept = np.arange(1 + max(pad_token_id, *(table.padding_idx or 0 for table in tables)))
    aligned = [] if pairs is None else [pairs.tokens]
    used = np.unique(np.concatenate([kept, *aligned, *(row["input_ids"] for row in rows)]))
    if pairs is not None:
        pairs.tokens = np.searchsorted(used, pairs.tokens)
    for row in rows:
        row["input_ids"] = np.searchsorted(used, row["input_ids"])
    for tower, table in zip(towers, tables, strict=True):
        rows_used = table.weight[used].detach()
        small = nn.Embedding.from_pretrained(rows_used, padding_idx=table.padding_idx)
        tower.set_input_embeddings(small.requires_grad_(table.weight.requires_grad))

    def put_back() -> None:
        for tower, table in zip(towers, tables, strict=True):
            with torch.no_grad():
                table.weight[used] = tower.get_input_embeddings().weight.to(table.weight)
            tower.set_input_embeddings(table.to(model.device))

    @contextmanager
    def whole() -> Iterator[None]:
        trained: list[Any] = [tower.get_input_embeddings() for tower in towers]
        put_back()
        try:
            yield
        finally:
            for tower, table in zip(towers, trained, strict=True):
                tower.set_input_embeddings(table)

    try:
        yield whole
    finally:
        put_back()
