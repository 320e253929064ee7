"""Symmetric InfoNCE over a batch of translation pairs (multi_level_alignment.txt eq. 7, normalised and with tau)."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize


def false_negatives(pair_ids: Tensor, key_ids: Tensor, positives: Tensor) -> Tensor:
    """True where a key has the query's meaning and is not its own positive (queries, keys)."""
    same = pair_ids.unsqueeze(1) == key_ids.unsqueeze(0)
    return same.scatter(1, positives.unsqueeze(1), False)


def infonce(
    queries: Tensor, keys: Tensor, positives: Tensor, tau: float | Tensor = 0.05, masked: Tensor | None = None
) -> Tensor:
    """Cross-entropy of finding each query's positive among the keys, by cosine over tau.

    Args:
        queries: Vectors (queries, dim).
        keys: Vectors (keys, dim).
        positives: Row of each query's positive among the keys (queries,).
        tau: Temperature.
        masked: True for keys that are no negatives of a query (queries, keys).

    Returns:
        The mean over queries, a scalar in fp32.

    Example:
        >>> vectors = torch.eye(2)
        >>> round(infonce(vectors, vectors, torch.arange(2), tau=1.0).item(), 4)  # log(1 + exp(-1))
        0.3133
    """
    logits = normalize(queries.float(), dim=1) @ normalize(keys.float(), dim=1).T / tau
    if masked is not None:
        logits = logits.masked_fill(masked, torch.finfo(logits.dtype).min)
    return cross_entropy(logits, positives)


def symmetric_infonce(
    source: Tensor,
    target: Tensor,
    tau: float | Tensor = 0.05,
    pair_ids: Tensor | None = None,
    all_source: Tensor | None = None,
    all_target: Tensor | None = None,
    all_pair_ids: Tensor | None = None,
    first: int = 0,
) -> Tensor:
    """Mean of both directions of InfoNCE; rows with the same `pair_ids` are never each other's negatives.

    Over several processes, the local rows are held against the rows of all processes; the mean of the processes'
    gradients is then the gradient of one process with the whole batch.

    Args:
        source: Vectors of the local source texts (pairs, dim).
        target: Vectors of their translations (pairs, dim).
        tau: Temperature.
        pair_ids: Meaning of each local pair (pairs,).
        all_source: Source vectors of all processes (all pairs, dim); the local ones unless given.
        all_target: Target vectors of all processes (all pairs, dim).
        all_pair_ids: Meanings of all pairs (all pairs,).
        first: Row of the first local pair among all.

    Returns:
        A scalar in fp32.
    """
    all_source = source if all_source is None else all_source
    all_target = target if all_target is None else all_target
    positives = torch.arange(first, first + len(source), device=source.device)
    masked = None
    if pair_ids is not None:
        masked = false_negatives(pair_ids, pair_ids if all_pair_ids is None else all_pair_ids, positives)
    forward = infonce(source, all_target, positives, tau, masked)
    backward = infonce(target, all_source, positives, tau, masked)
    return (forward + backward) / 2
