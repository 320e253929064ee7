"""Which pairs are translations, told from the batch itself: every batch shows what wrong pairs look like (ours)."""

import torch
from torch import Tensor

from .moments import RunningMoments
from .similarities import BatchSimilarities

FIRST_SHARE = 0.5  # of wrong pairs, before anything is known; from a small one a large one is hard to reach
DECAY = 0.95  # of expectations that later ones correct
SHARE_PRIOR = 20.0  # pairs' worth of all language pairs' share in each one's
NO_GAP = 0.05  # deviations: least distance of the two means, where the weights are all alike
MOST_WRONG = 0.8  # a language pair that looks worse is one that the model does not know


class MarginMixture:
    """Weight of each pair by its ratio margin m among the batch's neighbours.

    The margins of a language pair are taken for a mixture: translations ~ N(mu_1, s^2) and, a share pi, wrong pairs
    ~ N(mu_0, s^2). mu_0 is known: sources and targets of one language pair in a batch that are no pair have the
    margins of wrong pairs. mu_1 and pi are found by expectation maximisation from batch to batch, s^2 is the two
    parts' variances by their shares. The probability of being a translation is then
    sigmoid((m - theta) / width), width = s^2 / (mu_1 - mu_0) and
    theta = (mu_0 + mu_1) / 2 + width (log(pi / (1 - pi)) + caution): a threshold that needs no share to be told, and
    that stays low where nothing is wrong, or where the model can't tell yet.

    Args:
        groups: Language pairs.
        device: Where the running sums are.
    """

    def __init__(self, groups: int, device: torch.device | None = None):
        self.wrong = RunningMoments(groups, device=device)
        self.right, self.every = (RunningMoments(groups, DECAY, device) for _ in range(2))

    def update(self, batch: BatchSimilarities, groups: Tensor, all_groups: Tensor) -> Tensor:
        """Take in a batch.

        Args:
            batch: Its cosines.
            groups: Language pair of each local pair (pairs,).
            all_groups: Of all pairs (all pairs,).

        Returns:
            Margins of the local pairs (pairs,).
        """
        margins = batch.ratio_margins()
        mismatched = (groups.unsqueeze(1) == all_groups.unsqueeze(0)) & ~batch.same_meaning
        self.wrong.update(margins[mismatched], groups.unsqueeze(1).expand_as(margins)[mismatched])
        scores = margins.gather(1, batch.positives.unsqueeze(1)).squeeze(1)
        right = torch.full_like(scores, 1 - FIRST_SHARE)
        if self.every.totals[0].any():
            theta, width = self.border(groups)
            right = torch.sigmoid((scores - theta) / width)
        self.every.update(scores, groups)
        self.right.update(scores, groups, right)
        return scores

    def share_right(self, groups: Tensor) -> Tensor:
        """Share of translations in language pairs (groups,), drawn to that of all where there are few pairs."""
        right, every = self.right.totals[0], self.every.totals[0]
        prior = SHARE_PRIOR * right.sum() / every.sum().clamp(min=1e-9)
        return ((right[groups] + prior) / (every[groups] + SHARE_PRIOR)).clamp(1 - MOST_WRONG, 0.999)

    def border(self, groups: Tensor, caution: float = 0.0) -> tuple[Tensor, Tensor]:
        """Margin of weight 1/2, and the width of the step there, of language pairs (groups,)."""
        (right, right_deviation), (wrong, wrong_deviation) = self.right.of(groups), self.wrong.of(groups)
        share = self.share_right(groups)
        variance = share * right_deviation**2 + (1 - share) * wrong_deviation**2
        width = variance / torch.maximum(right - wrong, NO_GAP * variance.sqrt())
        return (right + wrong) / 2 + width * (caution - share.logit()), width

    def moments(self) -> dict[str, RunningMoments]:
        """What is remembered, by name."""
        return {"right": self.right, "wrong": self.wrong, "every": self.every}
