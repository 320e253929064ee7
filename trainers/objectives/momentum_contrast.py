"""Contrast against a queue of earlier keys (XlCo of InfoXLM, Chi et al. 2021, arXiv 2007.07834)."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from .infonce import LOWEST, dot_products


def momentum_contrast(
    queries: Tensor,
    keys: Tensor,
    queue: Tensor,
    tau: float | Tensor = 0.25,
    masked: Tensor | None = None,
    normalized: bool = True,
    weights: Tensor | None = None,
    hardest: int = 0,
    margin: float = 0.95,
) -> Tensor:
    """Cross-entropy of telling each query's key from the keys in a queue; only the queries get a gradient.

    Args:
        queries: Vectors of the trained encoder (pairs, dim).
        keys: Vectors of their translations by the momentum encoder (pairs, dim).
        queue: Earlier vectors of the momentum encoder (negatives, dim).
        tau: Temperature; 0.25 is InfoXLM's.
        masked: True for queue rows that are no negatives of a query (pairs, negatives).
        normalized: Whether to compare by cosine (ours) or by dot product (InfoXLM).
        weights: How much each pair counts, of mean 1 over all processes (pairs,); all alike unless given.
        hardest: Only so many of the nearest rows of the queue are negatives of a query; 0 for all.
        margin: With `hardest`, rows nearer than this share of the key's own similarity are none: they may be
            translations too (NV-Retriever, Moreira et al. 2024). It needs a key that is nearer than 0.

    Returns:
        The mean over pairs, a scalar in fp32.

    Example:
        >>> one, other = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        >>> round(momentum_contrast(one, one, other, tau=1.0).item(), 4)  # log(1 + exp(-1))
        0.3133
    """
    queries, keys, queue = queries.float(), keys.detach().float(), queue.detach().float()
    if normalized:
        queries, keys, queue = normalize(queries, dim=1), normalize(keys, dim=1), normalize(queue, dim=1)
    negative = dot_products(queries, queue)
    if masked is not None:
        negative = negative.masked_fill(masked, LOWEST)
    own = (queries * keys).sum(1, keepdim=True)
    if hardest:
        negative = hardest_negatives(own, negative, hardest, margin)
    logits = torch.cat([own, negative], 1) / tau
    first = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
    losses = cross_entropy(logits, first, reduction="none")
    return losses.mean() if weights is None else (weights * losses).mean()


def hardest_negatives(own: Tensor, negative: Tensor, hardest: int, margin: float = 0.95) -> Tensor:
    """The nearest negatives that are not so near that they may be translations.

    Args:
        own: Similarity of each query with its key (queries, 1).
        negative: With the negatives (queries, negatives); `LOWEST` for one that is masked.
        hardest: How many are kept.
        margin: Negatives above this share of a positive `own` are masked.

    Returns:
        Similarities (queries, at most `hardest`).

    Example:
        >>> hardest_negatives(torch.tensor([[0.8]]), torch.tensor([[0.1, 0.79, 0.7, 0.6]]), 2).tolist()[0][0] < 0.71
        True
    """
    too_near = (own > 0) & (negative > margin * own)
    return negative.masked_fill(too_near.detach(), LOWEST).topk(min(hardest, negative.shape[1]), 1).values
