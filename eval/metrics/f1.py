"""Precision, recall and F1 of a set that was found against one that was to be found."""

from collections.abc import Set


def f1(precision: float, recall: float) -> float:
    """Return the harmonic mean of precision and recall, 0 where both are.

    >>> f1(1.0, 0.5), f1(0.0, 0.0)
    (0.6666666666666666, 0.0)
    """
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def set_scores(found: Set, gold: Set) -> dict[str, float]:
    """Score what was found.

    >>> set_scores({1, 2, 3, 4}, {1, 2})
    {'precision': 0.5, 'recall': 1.0, 'f1': 0.6666666666666666}

    Args:
        found: What was found.
        gold: What was to be found.

    Returns:
        `precision`, `recall` and `f1`, each 0 where its denominator is.
    """
    right = len(found & gold)
    precision, recall = (right / len(side) if side else 0.0 for side in (found, gold))
    return {"precision": precision, "recall": recall, "f1": f1(precision, recall)}
