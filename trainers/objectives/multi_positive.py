"""InfoNCE with several positives (SupCon's L_out, Khosla et al. 2020, eq. 2; over languages in MPCL, 2309.08929)."""

import torch
from torch import Tensor

from .infonce import LOWEST, cosines
from .pair_vectors import PairVectors


def multi_positive(pairs: PairVectors, tau: float | Tensor = 0.05, both_sides: bool = True) -> Tensor:
    """Mean log-probability of all keys that have the query's meaning; the query itself is no key.

    Where all meanings differ and `both_sides` is off, this is `symmetric_infonce`.

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
    return (forward + backward) / 2


def _direction(
    queries: Tensor, other_side: Tensor, own_side: Tensor, pairs: PairVectors, tau: float | Tensor, both_sides: bool
) -> Tensor:
    """Mean over queries (pairs, dim); the keys of either side are (all pairs, dim)."""
    logits, positive = cosines(queries, other_side) / tau, pairs.same_meaning
    if both_sides:
        own = (cosines(queries, own_side) / tau).scatter(1, pairs.positives.unsqueeze(1), LOWEST)
        logits, positive = torch.cat([logits, own], 1), torch.cat([positive, pairs.masked], 1)
    log_probabilities = logits.log_softmax(1).masked_fill(~positive, 0.0)
    return -(log_probabilities.sum(1) / positive.sum(1)).mean()
