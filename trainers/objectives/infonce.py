"""Symmetric InfoNCE over a batch of translation pairs (multi_level_alignment.txt eq. 7, normalised and with tau)."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from .pair_vectors import PairVectors

LOWEST = torch.finfo(torch.float32).min  # a logit of probability 0, and unlike -inf without NaN


def dot_products(queries: Tensor, keys: Tensor) -> Tensor:
    """Dot product of each query (queries, dim) and key (keys, dim), in fp32 whatever autocast says (queries, keys)."""
    with torch.autocast(queries.device.type, enabled=False):
        return queries.float() @ keys.float().T


def cosines(queries: Tensor, keys: Tensor) -> Tensor:
    """Cosine of each query (queries, dim) with each key (keys, dim), in fp32 (queries, keys)."""
    return dot_products(normalize(queries.float(), dim=1), normalize(keys.float(), dim=1))


def infonce(
    queries: Tensor, keys: Tensor, positives: Tensor, tau: float | Tensor = 0.05, masked: Tensor | None = None
) -> Tensor:
    """Cross-entropy of finding each query's positive among the keys, by cosine over tau, query by query.

    Args:
        queries: Vectors (queries, dim).
        keys: Vectors (keys, dim).
        positives: Row of each query's positive among the keys (queries,).
        tau: Temperature.
        masked: True for keys that are no negatives of a query (queries, keys).

    Returns:
        One value for each query (queries,) in fp32.

    Example:
        >>> vectors = torch.eye(2)
        >>> round(infonce(vectors, vectors, torch.arange(2), tau=1.0)[0].item(), 4)  # log(1 + exp(-1))
        0.3133
    """
    logits = cosines(queries, keys) / tau
    if masked is not None:
        logits = logits.masked_fill(masked, LOWEST)
    return cross_entropy(logits, positives, reduction="none")


def easy_as_hard(losses: Tensor) -> Tensor:
    """MACL's reweighting: each query's cross-entropy over 1 - P, P the probability of its positive.

    It takes the factor 1 - P out of the gradient, by which an easy query learns less (Huang et al. 2023, MACL). The
    divisor carries no gradient.

    Args:
        losses: -log P of each query (queries,).

    Returns:
        Values in [1, inf), in the same shape.

    Example:
        >>> round(easy_as_hard(torch.tensor([0.6931])).item(), 3)  # log 2 over 1/2
        1.386
    """
    return losses / -torch.expm1(-losses.detach().clamp(min=1e-6))


def paper_infonce(pairs: PairVectors) -> Tensor:
    """Eq. 7 with raw dot products and no temperature, both directions added up.

    Its sum over pairs is a mean here, as that of `paper_intra_similarity`, so that eq. 9 may add them: what both are
    divided by, the learned weight of their level takes up.

    Args:
        pairs: The pairs of the batch; rows of one meaning are never each other's negatives.

    Returns:
        The mean over local pairs of the sum of both directions, a scalar in fp32.

    Example:
        >>> pairs = PairVectors.local(2 * torch.eye(2), torch.eye(2))
        >>> round(paper_infonce(pairs).item(), 4)  # 2 log(1 + exp(-2))
        0.2539
    """
    sides = ((pairs.source, pairs.all_target), (pairs.target, pairs.all_source))
    logits = (dot_products(local, every).masked_fill(pairs.masked, LOWEST) for local, every in sides)
    forward, backward = (cross_entropy(values, pairs.positives, reduction="none") for values in logits)
    return pairs.mean(forward + backward)


def symmetric_infonce(pairs: PairVectors, tau: float | Tensor = 0.05, reweighted: bool = False) -> Tensor:
    """Mean of both directions of InfoNCE; rows of one meaning are never each other's negatives.

    Args:
        pairs: The pairs of the batch.
        tau: Temperature.
        reweighted: Whether each query's value goes through `easy_as_hard`.

    Returns:
        The mean over local pairs and directions, a scalar in fp32.

    Example:
        >>> equal = PairVectors.local(torch.ones(8, 4), torch.ones(8, 4))
        >>> round(symmetric_infonce(equal).item(), 4)  # log 8
        2.0794
    """
    positives, masked = pairs.positives, pairs.masked
    forward = infonce(pairs.source, pairs.all_target, positives, tau, masked)
    backward = infonce(pairs.target, pairs.all_source, positives, tau, masked)
    if reweighted:
        forward, backward = easy_as_hard(forward), easy_as_hard(backward)
    return pairs.mean(forward + backward) / 2
