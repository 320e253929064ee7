"""Choose the weights of a fine-tuning: by score on dev rows of the source language, by averaging, or the last."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel, TrainerCallback

from xling_align.modeling_xling import InputError

from .data.labelled import UNLABELLED, LabelledCollator

SELECTIONS = ("best", "average", "last")


class EpochSelection(TrainerCallback):
    """Scores the model on dev rows after every epoch, and keeps the weights that are to come out.

    Args:
        select: `best` for those of the first epoch with the best score, `average` for the mean over the ends of all
            epochs, `last`.
        rows: Tokenised dev rows; without any nothing is scored, and `best` is the last epoch.
        labels: Names of the labels.
        collator: Makes the batches.
        batch_size: Rows in a batch.
    """

    def __init__(
        self, select: str, rows: Sequence[dict], labels: Sequence[str], collator: LabelledCollator, batch_size: int
    ):
        self.select, self.rows, self.labels = select, rows, labels
        self.collator, self.batch_size = collator, batch_size
        self.scores: list[float] = []
        self.average_score: float | None = None
        self.weights: dict[str, torch.Tensor] = {}
        self.epochs = 0

    def on_epoch_end(self, args, state, control, **kwargs):
        """Score the model, and copy or average its weights."""
        model, best = kwargs["model"], max(self.scores, default=-1.0)
        if self.rows:
            self.scores.append(self._score(model))
        self.epochs += 1
        if self.select == "average":
            for name, weight in trained_weights(model).items():
                mean = self.weights.setdefault(name, torch.zeros_like(weight))
                mean += (weight - mean) / self.epochs
        elif self.select == "best" and self.rows and self.scores[-1] > best:
            self.weights = trained_weights(model)

    def restore(self, model: PreTrainedModel) -> None:
        """Put the weights that were kept, if any, into the model; averaged ones are scored."""
        model.load_state_dict(self.weights, strict=False)
        if self.select == "average" and self.rows:
            self.average_score = self._score(model)

    def _score(self, model: PreTrainedModel) -> float:
        predicted = best_labels(model, self.rows, self.collator, self.batch_size)
        return dev_score([row["labels"] for row in self.rows], predicted, self.labels)


def trained_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Copies of the weights that are trained, by name."""
    return {name: weight.detach().clone() for name, weight in model.named_parameters() if weight.requires_grad}


class EachEpoch(TrainerCallback):
    """Hands the model out after every epoch, as it will be when training is over.

    Args:
        measure: Called with the model.
        whole: Gives a context in which the model has all of its embeddings.
    """

    def __init__(self, measure: Callable[[Any], None], whole: Callable[[], AbstractContextManager[None]]):
        self.measure, self.whole = measure, whole

    def on_epoch_end(self, args, state, control, **kwargs):
        """Measure, without the wrapper that accelerate puts around `forward` for training."""
        model = kwargs["model"]
        wrapped = model.__dict__.pop("forward", None)
        with self.whole():
            self.measure(model)
        if wrapped is not None:
            model.forward = wrapped


@torch.no_grad()
def best_labels(
    model: PreTrainedModel, rows: Sequence[dict], collator: LabelledCollator, batch_size: int
) -> list[np.ndarray]:
    """The most likely label of each row, () or (tokens,), in the order of the rows."""
    order = sorted(range(len(rows)), key=lambda row: -len(rows[row]["input_ids"]))
    training, _ = model.training, model.eval()
    best: dict[int, np.ndarray] = {}
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        inputs = {name: value.to(model.device) for name, value in collator([rows[row] for row in batch]).items()}
        inputs.pop("labels")
        chosen = model(**inputs).logits.argmax(-1).cpu().numpy()  # (batch,) or (batch, tokens)
        best.update((row, label) for row, label in zip(batch, chosen, strict=True))
    model.train(training)
    return [best[row] for row in range(len(rows))]


def are_entities(labels: Sequence[str]) -> bool:
    """Whether all labels are tags of entities: B-, I- and O."""
    return all(name == "O" or name[:2] in ("B-", "I-") for name in labels)


def dev_score(gold: Sequence[Any], predicted: Sequence[np.ndarray], labels: Sequence[str]) -> float:
    """Entity F1 where the labels are tags B-, I- and O, else accuracy.

    Args:
        gold: Labels of texts (a number each), or of tokens (tokens,) with `UNLABELLED` among them.
        predicted: Labels in the same form; tokens beyond the gold ones are padding.
        labels: Names of the labels.

    Returns:
        A score between 0 and 1.

    Raises:
        InputError: seqeval, which entity F1 is taken from, is not installed.
    """
    pairs = []
    for right, found in zip(gold, predicted, strict=True):
        right, found = np.atleast_1d(right), np.atleast_1d(found)
        labelled = right != UNLABELLED
        pairs.append((right[labelled], found[: len(right)][labelled]))
    if np.ndim(gold[0]) == 0 or not are_entities(labels):
        return float(np.mean(np.concatenate([right == found for right, found in pairs])))
    try:
        from seqeval.metrics import f1_score
    except ImportError as error:
        raise InputError('choosing a tagger by entity F1 needs seqeval: pip install "xling-align[eval]"') from error
    named = [[[labels[number] for number in side] for side in sides] for sides in zip(*pairs, strict=True)]
    return float(f1_score(*named, zero_division=0))  # pyright: ignore[reportArgumentType]
