"""The vectors of translation pairs that a sentence-level loss compares, over one or several processes (ours)."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class PairVectors:
    """The pairs of this process, and those of all processes that they are held against.

    A loss takes the mean over the local rows; the mean of the processes' gradients is then the gradient of one process
    with the whole batch.

    Attributes:
        source: Vectors of the local source texts (pairs, dim).
        target: Vectors of their translations (pairs, dim).
        pair_ids: Meaning of each local pair (pairs,).
        all_source: Source vectors of all processes (all pairs, dim).
        all_target: Target vectors of all processes (all pairs, dim).
        all_pair_ids: Meanings of all pairs (all pairs,).
        first: Row of the first local pair among all.
        all_weights: How much each of all pairs counts as a pair, of mean 1 (all pairs,); all alike unless given. A
            pair of weight 0 is none: its two texts stay negatives of the others.
    """

    source: Tensor
    target: Tensor
    pair_ids: Tensor
    all_source: Tensor
    all_target: Tensor
    all_pair_ids: Tensor
    first: int = 0
    all_weights: Tensor | None = None

    @classmethod
    def local(
        cls, source: Tensor, target: Tensor, pair_ids: Tensor | None = None, weights: Tensor | None = None
    ) -> Self:
        """The pairs of a single process.

        Args:
            source: Vectors of the source texts (pairs, dim).
            target: Vectors of their translations (pairs, dim).
            pair_ids: Meaning of each pair (pairs,); all differ unless given.
            weights: How much each pair counts (pairs,); all alike unless given.

        Returns:
            The pairs, held against themselves.
        """
        if weights is not None:
            weights = weights / weights.mean()
        if pair_ids is None:
            pair_ids = torch.arange(len(source), device=source.device)
        return cls(source, target, pair_ids, source, target, pair_ids, 0, weights)

    @property
    def positives(self) -> Tensor:
        """Row of each local pair among all (pairs,)."""
        return torch.arange(self.first, self.first + len(self.source), device=self.source.device)

    @property
    def same_meaning(self) -> Tensor:
        """True where a pair has the meaning of a local one, that one included (pairs, all pairs)."""
        return self.pair_ids.unsqueeze(1) == self.all_pair_ids.unsqueeze(0)

    @property
    def masked(self) -> Tensor:
        """True where a key has the query's meaning and is not its own positive (pairs, all pairs)."""
        return self.same_meaning.scatter(1, self.positives.unsqueeze(1), False)

    @property
    def dropped(self) -> Tensor:
        """True for pairs of weight 0 (all pairs,)."""
        return (
            torch.zeros_like(self.all_pair_ids, dtype=torch.bool)
            if self.all_weights is None
            else self.all_weights == 0
        )

    def mean(self, values: Tensor) -> Tensor:
        """Mean over the local pairs (pairs,) by weight; the processes' mean is sum w l / sum w over all pairs."""
        return values.mean() if self.all_weights is None else (self.all_weights[self.positives] * values).mean()
