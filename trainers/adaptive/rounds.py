"""What the rounds of a train-mine loop decide: the threshold, which pairs are confirmed, when to stop (ours)."""

from collections.abc import Sequence, Set

import numpy as np

from .mining import TAKEN, UNCONFIRMED


def falling(first: float, last: float, number: int, rounds: int) -> float:
    """Threshold of round `number`, from 1: from the first to the last in equal steps.

    >>> [round(falling(1.2, 1.1, number, 3), 3) for number in (1, 2, 3)]
    [1.2, 1.15, 1.1]
    """
    return first + (last - first) * (number - 1) / max(rounds - 1, 1)


def overlap(first: Set, second: Set) -> float:
    """Jaccard overlap; 1 of two empty sets, so that a language without finds does not keep the rounds going.

    >>> overlap({1, 2, 3}, {2, 3, 4}), overlap(set(), set())
    (0.5, 1.0)
    """
    return len(first & second) / len(first | second) if first | second else 1.0


def confirm(reasons: np.ndarray, pairs: Sequence, views: Sequence[Set]) -> np.ndarray:
    """Take out pairs that two or more other views do not speak for, and weigh the rest.

    >>> reasons = np.full(3, TAKEN)
    >>> confirm(reasons, ["a", "b", "c"], [{"a", "b"}, {"a"}]).tolist(), (reasons == TAKEN).tolist()
    ([1.0, 0.5, 0.0], [True, True, False])

    Args:
        reasons: What became of each candidate (candidates,); changed in place where a taken one is not confirmed.
        pairs: The candidates.
        views: Pairs that each other view finds, or that were found before.

    Returns:
        Weights (candidates,), by which pairs are drawn for training: 1 for what all speak for, 0.5 for what all but
        one do.
    """
    missing = np.array([sum(pair not in view for view in views) for pair in pairs], int).reshape(len(pairs))
    reasons[(reasons == TAKEN) & (missing > 1)] = UNCONFIRMED
    return np.array([1, 0.5, 0])[np.minimum(missing, 2)]
