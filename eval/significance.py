"""Whether one system is better than another: paired tests over runs, and Holm's correction for many of them."""

from collections.abc import Sequence
from math import isnan

import numpy as np

from xling_align.eval.extras import eval_extra
from xling_align.modeling_xling import InputError

Scores = Sequence[float] | np.ndarray


def paired_t_test(scores: Scores, others: Scores) -> float:
    """Two-sided p-value of a paired t-test.

    Args:
        scores: One system's scores, run by run.
        others: The other system's, of the same seeds in the same order.

    Returns:
        The p-value; 1 where all differences are zero, 0 where all are the same other number, NaN for fewer than two.

    Example:
        >>> round(paired_t_test([2.0, 3.0, 4.0], [1.0, 1.0, 1.0]), 4)
        0.0742
    """
    differences = _differences(scores, others)
    if len(differences) < 2:
        return float("nan")
    if np.ptp(differences) == 0:
        return float(differences[0] == 0)
    with eval_extra():
        from scipy.stats import ttest_rel
    return float(ttest_rel(scores, others).pvalue)


def paired_bootstrap(scores: Scores, others: Scores, samples: int = 10_000, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean difference, by resampling the pairs (percentile bootstrap).

    Args:
        scores: One system's scores: of runs, of languages, or of test items.
        others: The other system's, in the same order.
        samples: Resamples.
        seed: Of the resampling.

    Returns:
        Lower and upper end; NaN for fewer than two pairs.

    Example:
        >>> paired_bootstrap([2.0, 2.0], [1.0, 1.0])
        (1.0, 1.0)
    """
    differences = _differences(scores, others)
    if len(differences) < 2:
        return float("nan"), float("nan")
    rows = np.random.default_rng(seed).integers(len(differences), size=(samples, len(differences)))
    low, high = np.quantile(differences[rows].mean(1), (0.025, 0.975))
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values of several tests (Holm 1979).

    Args:
        p_values: One for each test; NaN stays NaN and counts for nothing.

    Returns:
        Adjusted p-values, in the same order.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = sorted((row for row, value in enumerate(p_values) if not isnan(value)), key=lambda row: p_values[row])
    adjusted, largest = list(p_values), 0.0
    for place, row in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - place) * p_values[row]))
        adjusted[row] = largest
    return adjusted


def _differences(scores: Scores, others: Scores) -> np.ndarray:
    """Score by score, the first less the second."""
    if len(scores) != len(others):
        raise InputError(f"a paired test needs as many scores on both sides; got {len(scores)} and {len(others)}")
    return np.asarray(scores, float) - np.asarray(others, float)
