"""Running means and deviations of scores, one for each language pair."""

import torch
from torch import Tensor

from ..distributed import sum_over_processes

DECAY = 0.99
PRIOR = 10.0  # values' worth of all groups' moments in those of each group


class RunningMoments:
    """Sums of values and of their squares by group, in which each batch counts less as others follow.

    Args:
        groups: How many groups there are.
        decay: What is left of a batch's weight at the next one.
        device: Where the sums are.
    """

    def __init__(self, groups: int, decay: float = DECAY, device: torch.device | None = None):
        self.decay = decay
        self.totals = torch.zeros(3, groups, dtype=torch.float64, device=device)  # weights, values, squares

    def update(self, values: Tensor, groups: Tensor, weights: Tensor | None = None) -> None:
        """Take in a batch; that of all processes counts.

        Args:
            values: (values,).
            groups: Group of each (values,).
            weights: How much each counts (values,); 1 unless given.
        """
        values = values.to(self.totals)
        weights = torch.ones_like(values) if weights is None else weights.to(values)
        batch = torch.zeros_like(self.totals)
        batch.index_add_(1, groups, torch.stack([weights, weights * values, weights * values**2]))
        self.totals.mul_(self.decay).add_(sum_over_processes(batch))

    def of(self, groups: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of groups (groups,), drawn to those of all where a group has few values."""
        every = self.totals.sum(1, keepdim=True)
        count, first, second = self.totals[:, groups] + PRIOR * every / every[0].clamp(min=1e-9)
        mean = first / count.clamp(min=1e-9)
        return mean, (second / count.clamp(min=1e-9) - mean**2).clamp(min=1e-8).sqrt()
