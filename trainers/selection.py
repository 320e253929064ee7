"""Choose the epoch of a fine-tuning by its score on dev rows of the source language."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel, TrainerCallback

from xling_align.modeling_xling import InputError

from .data.labelled import UNLABELLED, LabelledCollator


class BestOnDev(TrainerCallback):
    """Scores the model on dev rows after every epoch, and keeps the weights of the first epoch with the best score.

    Args:
        rows: Tokenised dev rows.
        labels: Names of the labels.
        collator: Makes the batches.
    """

    def __init__(self, rows: Sequence[dict], labels: Sequence[str], collator: LabelledCollator):
        self.rows, self.labels, self.collator = rows, labels, collator
        self.scores: list[float] = []
        self.weights: dict[str, torch.Tensor] = {}

    def on_epoch_end(self, args, state, control, **kwargs):
        """Score the model, and copy its weights if it is the best so far."""
        model = kwargs["model"]
        predicted = best_labels(model, self.rows, self.collator, args.per_device_eval_batch_size)
        score = dev_score([row["labels"] for row in self.rows], predicted, self.labels)
        if score > max(self.scores, default=-1.0):
            self.weights = {
                name: weight.detach().clone() for name, weight in model.named_parameters() if weight.requires_grad
            }
        self.scores.append(score)

    def restore(self, model: nn.Module) -> None:
        """Put the weights that were kept, if any, back into the model."""
        model.load_state_dict(self.weights, strict=False)


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
    if np.ndim(gold[0]) == 0 or not all(name == "O" or name[:2] in ("B-", "I-") for name in labels):
        return float(np.mean(np.concatenate([right == found for right, found in pairs])))
    try:
        from seqeval.metrics import f1_score
    except ImportError as error:
        raise InputError('choosing a tagger by entity F1 needs seqeval: pip install "xling-align[eval]"') from error
    named = [[[labels[number] for number in side] for side in sides] for sides in zip(*pairs, strict=True)]
    return float(f1_score(*named, zero_division=0))  # pyright: ignore[reportArgumentType]
