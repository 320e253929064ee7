"""A threshold for stored scores, one for each language pair (adaptive_contrastive_framework.txt, section 2.2)."""

from collections.abc import Callable

import torch
from torch import Tensor

from .arguments import AdaptiveArguments
from .moments import RunningMoments

KEEP_ALL = -3.0  # deviations: where the threshold starts


class ScoreThreshold:
    """Weight of each pair by a stored score m, against a threshold for its language pair (the forms are ours).

    w = sigmoid((m - theta) / (T sigma)) with theta = mu + z sigma, mu and sigma the running mean and deviation of the
    scores of the language pair. All pairs count alike during the warm-up; over as long again z rises from -3, where
    nearly all are kept, to its end.

    Args:
        args: `weight_warmup`, `weight_z`, `weight_width` (T).
        groups: Language pairs.
        progress: Gives the share of the training that is done.
        device: Where the running sums are.
    """

    def __init__(
        self, args: AdaptiveArguments, groups: int, progress: Callable[[], float], device: torch.device | None = None
    ):
        self.args, self.progress = args, progress
        self.scores = RunningMoments(groups, device=device)

    def update(self, scores: Tensor, groups: Tensor) -> None:
        """Take in the scores (pairs,) of a batch and their language pairs; NaN is no score."""
        known = scores.isfinite()
        self.scores.update(scores[known], groups[known])

    def z(self) -> float:
        """Where the threshold is, in deviations from the mean."""
        warmup = self.args.weight_warmup
        share = 1.0 if warmup == 0 else min(max((self.progress() - warmup) / warmup, 0.0), 1.0)
        return KEEP_ALL + (self.args.weight_z - KEEP_ALL) * share

    def border(self, groups: Tensor) -> tuple[Tensor, Tensor]:
        """Score of weight 1/2, and the width of the step there, of language pairs (groups,)."""
        mean, deviation = self.scores.of(groups)
        return mean + self.z() * deviation, self.args.weight_width * deviation
