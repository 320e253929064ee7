"""How much each pair counts, by how much it looks like one (adaptive_contrastive_framework.txt, section 2.2)."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..arguments import XLingAlignTrainingArguments
from ..distributed import gather, with_mean_one
from .mixture import MarginMixture
from .moments import RunningMoments
from .similarities import BatchSimilarities
from .threshold import ScoreThreshold

if TYPE_CHECKING:
    from ..levels.encoded import Step

DROPPED = 0.05  # a lower weight counts as 0
BINS = 5  # of the histogram that is logged


class PairConfidence:
    """Weights of a batch's pairs: `adaptive` by their margins in the batch, `scores` by the scores of the data.

    All pairs count alike during the warm-up, while the policy looks on. Afterwards a pair's weight is
    sigmoid((m - theta) / width), 0 below 0.05, over the mean weight of its language pair: which pairs of a language
    count changes, not how much the language does. Pairs of trusted languages and pairs without a score have weight 1.

    Args:
        args: `pair_weights`, `weight_warmup`, and those of `MarginMixture` or `ScoreThreshold`.
        languages: Rows of the language table.
        progress: Gives the share of the training that is done.
    """

    def __init__(self, args: XLingAlignTrainingArguments, languages: int, progress: Callable[[], float]):
        self.args, self.languages, self.progress = args, languages, progress
        self.trusted = torch.zeros(languages, dtype=torch.bool, device=args.device)  # languages whose pairs all count
        self.mixture = MarginMixture(languages**2, args.device) if args.pair_weights == "adaptive" else None
        self.threshold = ScoreThreshold(args, languages**2, progress, args.device)
        self.kept = RunningMoments(languages**2, device=args.device)

    def update(self, step: "Step", batch: BatchSimilarities) -> dict[str, Tensor]:
        """Follow a batch, and weigh its pairs.

        Args:
            step: The batch; its `weights` are set, of mean 1 over all processes.
            batch: Its cosines.

        Returns:
            What is logged, scalars by name.
        """
        source, target = step.inputs["language_ids"].chunk(2)
        groups = source * self.languages + target
        scores, border = self.scores_and_border(step, batch, groups)
        weights = torch.ones_like(scores)
        if self.progress() >= self.args.weight_warmup:
            weights = pair_weights(scores, border)
            weights = torch.where(self.trusted[source] | self.trusted[target], 1.0, weights)
        self.kept.update(weights, groups)
        step.weights = with_mean_one((weights / self.kept.of(groups)[0].clamp(min=DROPPED)).to(weights))
        return weight_figures(weights, border)

    def scores_and_border(
        self, step: "Step", batch: BatchSimilarities, groups: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Scores of the pairs (pairs,), and theta and width (pairs,) of their language pairs, after this batch."""
        if self.mixture is not None:
            return self.mixture.update(batch, groups, gather(groups)), self.border(groups)
        scores: Tensor = step.scores  # pyright: ignore[reportAssignmentType]
        self.threshold.update(scores, groups)
        return scores, self.border(groups)

    def border(self, groups: Tensor) -> tuple[Tensor, Tensor]:
        """Theta and width of language pairs (groups,)."""
        if self.mixture is not None:
            return self.mixture.border(groups, self.args.weight_caution)
        return self.threshold.border(groups)

    def thresholds(self, codes: Sequence[str]) -> dict[str, float]:
        """What is logged of each language pair that was met: theta, such as `pair_threshold_en-de`.

        Args:
            codes: Language of each row of the language table.

        Returns:
            Thresholds by name, the same on all processes.
        """
        groups = self.kept.totals[0].nonzero().squeeze(1)
        rows = [divmod(group, self.languages) for group in groups.tolist()]
        names = [f"pair_threshold_{codes[source]}-{codes[target]}" for source, target in rows]
        return {name: round(theta, 5) for name, theta in zip(names, self.border(groups)[0].tolist(), strict=True)}

    def state_dict(self) -> dict[str, Tensor]:
        """All running sums."""
        return {name: moments.totals for name, moments in self.moments().items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from a state."""
        for name, moments in self.moments().items():
            moments.totals.copy_(state[name])

    def moments(self) -> dict[str, RunningMoments]:
        """What is remembered, by name."""
        own = {"scores": self.threshold.scores} if self.mixture is None else self.mixture.moments()
        return own | {"kept": self.kept}


def pair_weights(scores: Tensor, border: tuple[Tensor, Tensor]) -> Tensor:
    """sigmoid((m - theta) / width), 0 below 0.05.

    Args:
        scores: m, NaN for a pair without one, whose weight is 1 (pairs,).
        border: theta and width (pairs,) of the pairs' language pairs.

    Returns:
        Weights (pairs,) in the precision of the scores.

    Example:
        >>> one = torch.ones(3)
        >>> [round(weight, 4) for weight in pair_weights(torch.tensor([1.0, 2.0, -3.0]), (one, one)).tolist()]
        [0.5, 0.7311, 0.0]
    """
    theta, width = border
    weights = torch.sigmoid((scores - theta) / width).to(scores)
    return torch.where(scores.isfinite(), weights.masked_fill(weights < DROPPED, 0.0), 1.0)


def weight_figures(weights: Tensor, border: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """What is logged of a batch: mean threshold, mean weight, share of pairs dropped, histogram of the weights."""
    bins = (weights * BINS).long().clamp(max=BINS - 1).bincount(minlength=BINS) / len(weights)
    figures = {f"pair_weights_{row / BINS:.1f}_{(row + 1) / BINS:.1f}": share for row, share in enumerate(bins)}
    figures |= {"pair_weight": weights.mean(), "pairs_dropped": (weights == 0).float().mean()}
    return figures | {"pair_threshold": border[0].mean()}
