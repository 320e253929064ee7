"""What the levels share: which losses are on, and what one step hands them."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import torch
from torch import Tensor, nn

from xling_align.modeling_xling import XLingAlignModel, XLingAlignOutput

from ..arguments import LEVELS, XLingAlignTrainingArguments
from ..distributed import gather, rank, with_mean_one
from ..objectives import PairVectors


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
    """The level that a loss belongs to; the alignment regulariser is none of `LOSSES` and of the sentence level."""
    return next((level for level, losses in LEVELS.items() if loss in losses), "sentence")


def reads_texts(losses: list[str], args: XLingAlignTrainingArguments, base: XLingAlignModel) -> bool:
    """Whether a loss or the language means read a batch as it is; masked, joined, mixed texts have another."""
    apart = {"tlm", *(["momentum"] if args.mixup else []), *(["mlm"] if base.word_fusion is None else [])}
    return bool(set(losses) - apart) or base.config.language_token != "none"


@dataclass
class EncodedPairs:
    """What one forward pass gives for the 2N rows of a batch.

    Attributes:
        pooler_output: Fused sentence vectors (2N, dim).
        language_state: Language states (2N, dim).
        language_ids: Language rows after language dropout (2N,).
        projection: Projected sentence vectors (2N, projection_dim), if the model has a projection head.
        words: Fused states of the words that the word distribution reads, first tokens left out (words, dim).
        word_rows: Row of each of these words (words,), rising.
    """

    pooler_output: Tensor
    language_state: Tensor
    language_ids: Tensor
    projection: Tensor | None = None
    words: Tensor = field(default_factory=lambda: torch.empty(0))
    word_rows: Tensor = field(default_factory=lambda: torch.empty(0))

    @classmethod
    def none(cls, language_ids: Tensor, dim: int) -> Self:
        """Those of no row, where no loss reads a batch as it is; `language_ids` gives kind and device."""
        empty = torch.empty(0, dim, device=language_ids.device)
        return cls(empty, empty, language_ids[:0])

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
        scores: Score of each pair from the data (N,), NaN for a pair without one; None if the data has none.
        weights: How much each pair counts (N,), of mean 1 over all processes; None for all alike.
    """

    model: nn.Module
    inputs: dict[str, Tensor]
    pair_ids: Tensor
    rows: Tensor
    encoded: EncodedPairs
    scores: Tensor | None = None
    weights: Tensor | None = None

    @cached_property
    def pairs(self) -> PairVectors:
        """The batch's pairs, held against those of all processes; without weights."""
        source, target = self.encoded.vectors.float().chunk(2)
        everyone = gather(source), gather(target), gather(self.pair_ids)
        return PairVectors(source, target, self.pair_ids, *everyone, first=rank() * len(source))

    def row_weights(self, pairs: int | None = None) -> Tensor | None:
        """Weights of the rows that the word level sees, or of their sources alone (pairs,), of mean 1; or None."""
        if self.weights is None:
            return None
        return with_mean_one(self.weights[self.rows[:pairs] % len(self.pair_ids)])

    def texts(self, rows: Tensor | slice = slice(None)) -> list[list[int]]:
        """Token ids of rows, without padding."""
        ids, mask = self.inputs["input_ids"][rows], self.inputs["attention_mask"][rows].bool()
        return [text[kept].tolist() for text, kept in zip(ids, mask, strict=True)]


def fused(base: XLingAlignModel, words: Tensor, sentences: Tensor) -> Tensor:
    """Words (words, dim) fused with sentence vectors (words, sentences, dim) by eq. 10; untouched without fusion."""
    if base.word_fusion is None:
        return words
    return base.word_fusion(words.unsqueeze(1), sentences).squeeze(1)


def encode_pairs(
    base: XLingAlignModel, model: nn.Module, inputs: dict[str, Tensor], groups: int, word_rows: Tensor | None = None
) -> EncodedPairs:
    """Representations of a batch's 2N rows, in several passes.

    Args:
        base: The model without its heads.
        model: The model, possibly wrapped.
        inputs: `input_ids` and `attention_mask` (2N, words), `language_ids` (2N,).
        groups: Rows of like length go together, in so many passes.
        word_rows: Rows whose words are wanted, in rising order; none unless given.

    Returns:
        The representations, in the order of the rows.
    """
    pair_form = base.config.fusion_context == "pair"  # a pair's fusion needs both of its rows
    lengths = inputs["attention_mask"].sum(1)
    groups = 1 if pair_form else groups
    parts = lengths.argsort(stable=True).chunk(groups) if groups > 1 else [torch.arange(len(lengths))]
    outputs, words = [], []
    for rows in parts:
        rows = rows.to(lengths.device)
        width = int(lengths[rows].max()) if groups > 1 else inputs["input_ids"].shape[1]
        texts = {name: inputs[name][rows, :width] for name in ("input_ids", "attention_mask")}
        output = model(**texts, language_ids=inputs["language_ids"][rows], paired=pair_form, fuse_words=False)
        outputs.append(output)
        if word_rows is not None:
            words.append(words_of(base, output, texts["attention_mask"], rows, word_rows))
    back = torch.cat(list(parts)).argsort().to(lengths.device)
    names = ("pooler_output", "language_state", "language_ids", "projection")
    joined = {
        name: None if outputs[0].get(name) is None else torch.cat([output[name] for output in outputs])[back]
        for name in names
    }
    if word_rows is not None:
        states, owners = (torch.cat(side) for side in zip(*words, strict=True))
        order = owners.argsort(stable=True)
        joined |= {"words": states[order], "word_rows": owners[order]}
    return EncodedPairs(**joined)  # pyright: ignore[reportArgumentType]


def words_of(
    base: XLingAlignModel, output: XLingAlignOutput, mask: Tensor, rows: Tensor, wanted: Tensor
) -> tuple[Tensor, Tensor]:
    """Fused words of the wanted rows in one pass, first tokens left out.

    Args:
        base: Holds the fusion; in the paper's form words are fused with the partner's sentence too.
        output: Of the pass.
        mask: 1 for real tokens (rows, words).
        rows: Which rows of the batch the pass had (rows,).
        wanted: Rows of the batch that are wanted.

    Returns:
        Words (words, dim) and the row of each (words,).
    """
    own = torch.isin(rows, wanted.to(rows.device))
    places = (mask.bool() & own.unsqueeze(1))[:, 1:].nonzero()
    states = output.word_states[places[:, 0], places[:, 1] + 1]  # pyright: ignore[reportOptionalSubscript]
    sentence: Tensor = output.pooler_output  # pyright: ignore[reportAssignmentType]
    pair_form = base.config.fusion_context == "pair"
    contexts = [sentence, sentence.roll(len(sentence) // 2, 0)] if pair_form else [sentence]
    return fused(base, states, torch.stack(contexts, 1)[places[:, 0]]), rows[places[:, 0]]
