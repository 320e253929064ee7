"""InfoNCE with several positives (SupCon's L_out, Khosla et al. 2020, eq. 2; over languages in MPCL, 2309.08929)."""

import torch
from torch import Tensor

from .infonce import LOWEST, cosines
from .pair_vectors import PairVectors


def multi_positive(pairs: PairVectors, tau: float | Tensor = 0.05, both_sides: bool = True) -> Tensor:
    """Mean log-probability of all keys that have the query's meaning; the query itself is no key.

    Where all meanings differ and `both_sides` is off, this is `symmetric_infonce`. A translation counts by the weight
    of its pair, and one of weight 0 is neither a positive nor a negative of its meaning.

    Args:
        pairs: The pairs of the batch; equal `pair_ids` mean translations of each other.
        tau: Temperature.
        both_sides: Whether the texts of the query's own side are keys too.

    Returns:
        The mean over local pairs and directions, a scalar in fp32.

    Example:
        >>> pairs = PairVectors.local(torch.ones(3, 2), torch.ones(3, 2))
        >>> round(multi_positive(pairs).item(), 4)  # one positive of 5 keys, all alike: log 5
        1.6094
    """
    forward = _direction(pairs.source, pairs.all_target, pairs.all_source, pairs, tau, both_sides)
    backward = _direction(pairs.target, pairs.all_source, pairs.all_target, pairs, tau, both_sides)
    return pairs.mean(forward + backward) / 2


def _direction(
    queries: Tensor, other_side: Tensor, own_side: Tensor, pairs: PairVectors, tau: float | Tensor, both_sides: bool
) -> Tensor:
    """Loss of each query (pairs, dim); the keys of either side are (all pairs, dim)."""
    logits = (cosines(queries, other_side) / tau).masked_fill(pairs.masked & pairs.dropped, LOWEST)
    positive = pairs.same_meaning.float()
    if pairs.all_weights is not None:
        positive = positive * pairs.all_weights
    if both_sides:
        own = (cosines(queries, own_side) / tau).scatter(1, pairs.positives.unsqueeze(1), LOWEST)
        own = own.masked_fill(pairs.masked & pairs.dropped, LOWEST)
        own_positive = positive.scatter(1, pairs.positives.unsqueeze(1), 0.0)
        logits, positive = torch.cat([logits, own], 1), torch.cat([positive, own_positive], 1)
    log_probabilities = logits.log_softmax(1).masked_fill(positive == 0, 0.0)
    return -(log_probabilities * positive).sum(1) / positive.sum(1).clamp(min=1e-6)
