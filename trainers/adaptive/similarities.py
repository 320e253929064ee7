"""Cosines of a batch as the policies see it, without gradient."""

from dataclasses import dataclass

import torch
from torch import Tensor

from xling_align.eval.metrics.mining import LEAST_MEAN

from ..distributed import gather, mean_over_processes
from ..objectives.infonce import cosines
from ..objectives.pair_vectors import PairVectors

NO_NEIGHBOUR = -2.0  # below any cosine


@dataclass(frozen=True, eq=False)
class BatchSimilarities:
    """Cosines of the local pairs with those of all processes.

    Attributes:
        forward: Of each local source with all targets (pairs, all pairs).
        backward: Of each local target with all sources (pairs, all pairs).
        positives: Column of each local pair (pairs,).
        same_meaning: True where the two are translations of each other, as far as known (pairs, all pairs).
    """

    forward: Tensor
    backward: Tensor
    positives: Tensor
    same_meaning: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, pairs: PairVectors) -> "BatchSimilarities":
        """Those of a batch."""
        forward, backward = cosines(pairs.source, pairs.all_target), cosines(pairs.target, pairs.all_source)
        return cls(forward, backward, pairs.positives, pairs.same_meaning)

    @property
    def positive(self) -> Tensor:
        """Cosine of each local pair (pairs,)."""
        return self.forward.gather(1, self.positives.unsqueeze(1)).squeeze(1)

    def mean_positive(self) -> Tensor:
        """Mean cosine of the pairs of all processes, a scalar."""
        return mean_over_processes(self.positive.mean())

    def neighbour_means(self, k: int) -> tuple[Tensor, Tensor]:
        """Mean cosine of each source, and of each target, with its k nearest of the other side (pairs,) twice.

        The own partner counts if it is among the nearest, other texts of the same meaning do not.
        """
        others = self.same_meaning.scatter(1, self.positives.unsqueeze(1), False)
        forward, backward = (side.masked_fill(others, NO_NEIGHBOUR) for side in (self.forward, self.backward))
        return _nearest(forward, k), _nearest(backward, k)

    def ratio_margins(self, k: int = 4) -> Tensor:
        """Ratio margin of each local source with all targets, by the k nearest neighbours in the batch of either.

        Artetxe & Schwenk 2019, eq. 2; those of the pairs stand in the columns `positives`.
        """
        source, target = self.neighbour_means(k)
        return self.forward / ((source.unsqueeze(1) + gather(target)) / 2).clamp(min=LEAST_MEAN)

    def gap(self, k: int = 4) -> Tensor:
        """Mean cosine of the pairs less that of each text's k nearest others, over all processes; a scalar."""
        nearest = [
            _nearest(side.masked_fill(self.same_meaning, NO_NEIGHBOUR), k) for side in (self.forward, self.backward)
        ]
        return self.mean_positive() - mean_over_processes(torch.stack(nearest).mean())


def _nearest(cosine: Tensor, k: int) -> Tensor:
    """Mean of each row's k highest cosines, as far as there are so many (rows,)."""
    highest = cosine.topk(min(k, cosine.shape[1]), 1).values
    found = highest > NO_NEIGHBOUR
    return (highest * found).sum(1) / found.sum(1).clamp(min=1)
