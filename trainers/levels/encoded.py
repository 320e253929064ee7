"""What the levels share: which losses are on, and what one step hands them."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from xling_align.modeling_xling import XLingAlignModel

from ..arguments import LEVELS, XLingAlignTrainingArguments


def chosen_losses(args: XLingAlignTrainingArguments) -> list[str]:
    """The losses that an ablation leaves, in the order of the levels.

    Args:
        args: `losses`, less what `without` names: losses, or levels as a whole.

    Returns:
        Their names.
    """
    removed = {loss for name in args.without for loss in LEVELS.get(name, (name,))}
    return [loss for losses in LEVELS.values() for loss in losses if loss in args.losses and loss not in removed]


def level_of(loss: str) -> str:
    """The level that a loss belongs to."""
    return next(level for level, losses in LEVELS.items() if loss in losses)


@dataclass
class EncodedPairs:
    """What one forward pass gives for the 2N rows of a batch.

    Attributes:
        pooler_output: Fused sentence vectors (2N, dim).
        language_state: Language states (2N, dim).
        language_ids: Language rows after language dropout (2N,).
        projection: Projected sentence vectors (2N, projection_dim), if the model has a projection head.
        words: Fused states of the words that the word distribution reads, special tokens left out (words, dim).
        word_rows: Row of each of these words (words,), rising.
    """

    pooler_output: Tensor
    language_state: Tensor
    language_ids: Tensor
    projection: Tensor | None = None
    words: Tensor = field(default_factory=lambda: torch.empty(0))
    word_rows: Tensor = field(default_factory=lambda: torch.empty(0))

    @property
    def vectors(self) -> Tensor:
        """What the sentence level compares (2N, dim)."""
        return self.pooler_output if self.projection is None else self.projection


@dataclass
class Step:
    """One step's batch and what the model gave for it.

    Attributes:
        model: The model, possibly wrapped for several processes.
        inputs: `input_ids` and `attention_mask` (2N, words), `language_ids` (2N,).
        pair_ids: Meaning of each pair (N,).
        rows: Rows that the word level sees (2M,), sources first; none where no loss reads words.
        encoded: The first pass.
    """

    model: nn.Module
    inputs: dict[str, Tensor]
    pair_ids: Tensor
    rows: Tensor
    encoded: EncodedPairs

    def texts(self, rows: Tensor | slice = slice(None)) -> list[list[int]]:
        """Token ids of rows, without padding."""
        ids, mask = self.inputs["input_ids"][rows], self.inputs["attention_mask"][rows].bool()
        return [text[kept].tolist() for text, kept in zip(ids, mask, strict=True)]


def fused(base: XLingAlignModel, words: Tensor, sentences: Tensor) -> Tensor:
    """Words (words, dim) fused with sentence vectors (words, sentences, dim) by eq. 10; untouched without fusion."""
    if base.word_fusion is None:
        return words
    return base.word_fusion(words.unsqueeze(1), sentences).squeeze(1)
