"""Robust InfoNCE for noisy pairs (RINCE, Chuang et al. 2022, arXiv 2201.04309)."""

import math

import torch
from torch import Tensor

from .infonce import LOWEST, cosines
from .pair_vectors import PairVectors


def rince(pairs: PairVectors, q: float = 0.5, lam: float = 0.025, tau: float | Tensor = 0.1) -> Tensor:
    """-(s+)^q / q + (lam (s+ + sum s-))^q / q, with s = exp((cos - 1) / tau), both directions.

    Towards q = 0 it is InfoNCE plus log lam; at q = 1 and lam = 1/2 it is symmetric, and robust against noise in the
    labels: a pair that looks wrong gets a small gradient. The paper has s = exp(cos / tau); the 1 (ours) multiplies
    the loss by exp(-q / tau) and keeps powers at small temperatures within fp32. Powers are taken of logarithms.

    Args:
        pairs: The pairs of the batch.
        q: Robustness, above 0 and at most 1; the paper recommends 0.1 to 0.5.
        lam: Weight of the density term.
        tau: Temperature.

    Returns:
        The mean over local pairs and directions, a scalar in fp32; it may be negative.

    Example:
        >>> pairs = PairVectors.local(torch.eye(2), torch.eye(2))
        >>> round(rince(pairs, q=1.0, lam=0.5, tau=1.0).item(), 4)  # -1 + (1 + exp(-1)) / 2
        -0.3161
    """
    forward = _direction(pairs.source, pairs.all_target, pairs, q, lam, tau)
    backward = _direction(pairs.target, pairs.all_source, pairs, q, lam, tau)
    return pairs.mean(forward + backward) / 2


def _direction(queries: Tensor, keys: Tensor, pairs: PairVectors, q: float, lam: float, tau: float | Tensor) -> Tensor:
    """Loss of each query (pairs, dim) against the keys (all pairs, dim)."""
    logits = ((cosines(queries, keys) - 1) / tau).masked_fill(pairs.masked, LOWEST)
    own = logits.gather(1, pairs.positives.unsqueeze(1)).squeeze(1)
    every = logits.logsumexp(1) + math.log(lam)
    return (torch.exp(q * every) - torch.exp(q * own)) / q
