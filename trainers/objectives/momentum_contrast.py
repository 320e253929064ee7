"""Contrast against a queue of earlier keys (XlCo of InfoXLM, Chi et al. 2021, arXiv 2007.07834)."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from .infonce import LOWEST


def momentum_contrast(
    queries: Tensor,
    keys: Tensor,
    queue: Tensor,
    tau: float | Tensor = 0.25,
    masked: Tensor | None = None,
    normalized: bool = True,
) -> Tensor:
    """Cross-entropy of telling each query's key from the keys in a queue; only the queries get a gradient.

    Args:
        queries: Vectors of the trained encoder (pairs, dim).
        keys: Vectors of their translations by the momentum encoder (pairs, dim).
        queue: Earlier vectors of the momentum encoder (negatives, dim).
        tau: Temperature; 0.25 is InfoXLM's.
        masked: True for queue rows that are no negatives of a query (pairs, negatives).
        normalized: Whether to compare by cosine (ours) or by dot product (InfoXLM).

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
    negative = queries @ queue.T
    if masked is not None:
        negative = negative.masked_fill(masked, LOWEST)
    logits = torch.cat([(queries * keys).sum(1, keepdim=True), negative], 1) / tau
    return cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))
