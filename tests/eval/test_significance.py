"""Paired tests over runs."""

import math

import pytest

from xling_align.eval.significance import holm, paired_bootstrap, paired_t_test
from xling_align.modeling_xling import InputError


def test_paired_t_test_is_that_of_the_differences():
    """Differences 1, 2, 3: t = 2 / (1 / sqrt 3) = 3.4641 with 2 degrees of freedom."""
    t, freedom = 2 * math.sqrt(3), 2
    expected = 1 - t / math.sqrt(freedom + t * t)  # closed form of Student's distribution with two degrees of freedom
    assert paired_t_test([2, 4, 6], [1, 2, 3]) == pytest.approx(expected)


def test_equal_runs_are_no_difference_and_a_constant_one_is_certain():
    assert paired_t_test([1, 2], [1, 2]) == 1
    assert paired_t_test([2, 3], [1, 2]) == 0
    assert math.isnan(paired_t_test([1], [2]))


def test_the_bootstrap_interval_holds_the_mean_difference_and_shrinks_with_the_number_of_runs():
    few, many = ([0.0, 1.0] * pairs for pairs in (2, 50))
    (low, high), (closer, nearer) = (paired_bootstrap(runs, [0.0] * len(runs)) for runs in (few, many))
    assert low <= closer < 0.5 < nearer <= high


def test_an_interval_of_one_sided_differences_leaves_zero_out():
    assert paired_bootstrap([1.0, 1.2, 1.1, 1.4, 1.3], [1.0, 1.0, 1.0, 1.0, 1.0])[0] > 0


def test_holm_multiplies_the_smallest_by_all_and_never_falls():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([math.nan, 0.02])[1] == 0.02


def test_pairs_must_match():
    with pytest.raises(InputError, match="got 2 and 1"):
        paired_t_test([1, 2], [1])
