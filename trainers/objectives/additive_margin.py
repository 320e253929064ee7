"""Additive margin softmax over translation pairs (LaBSE, Feng et al. 2022, arXiv 2007.01852)."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from .infonce import LOWEST, cosines, easy_as_hard
from .pair_vectors import PairVectors


def additive_margin(
    pairs: PairVectors, margin: float = 0.3, tau: float | Tensor = 0.1, reweighted: bool = False
) -> Tensor:
    """InfoNCE whose positives must win by a margin of cosine; rows of one meaning are no negatives of each other.

    LaBSE sums the two directions; this is their mean, so that a margin of 0 gives `symmetric_infonce`.

    Args:
        pairs: The pairs of the batch.
        margin: What is taken off the positive cosine, before the temperature.
        tau: Temperature: one over LaBSE's scale, which its paper leaves out.
        reweighted: Whether each query's value goes through `easy_as_hard`.

    Returns:
        The mean over local pairs and directions, a scalar in fp32.

    Example:
        >>> pairs = PairVectors.local(torch.eye(2), torch.eye(2))
        >>> round(additive_margin(pairs, margin=0.3, tau=1.0).item(), 4)  # log(1 + exp(0.3 - 1))
        0.4032
    """
    forward = _direction(pairs.source, pairs.all_target, pairs, margin, tau)
    backward = _direction(pairs.target, pairs.all_source, pairs, margin, tau)
    if reweighted:
        forward, backward = easy_as_hard(forward), easy_as_hard(backward)
    return pairs.mean(forward + backward) / 2


def _direction(queries: Tensor, keys: Tensor, pairs: PairVectors, margin: float, tau: float | Tensor) -> Tensor:
    """Cross-entropy of each query (pairs, dim) that looks for its partner among the keys (all pairs, dim)."""
    scores = cosines(queries, keys)
    own = pairs.positives.unsqueeze(1)
    scores = scores.scatter_add(1, own, torch.full_like(own, -margin, dtype=scores.dtype)) / tau
    return cross_entropy(scores.masked_fill(pairs.masked, LOWEST), pairs.positives, reduction="none")
