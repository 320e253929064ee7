import doctest

import numpy as np
import pytest

from xling_align.eval import encoding, report
from xling_align.eval.metrics import retrieval, transfer
from xling_align.eval.metrics.retrieval import retrieval_scores
from xling_align.eval.metrics.transfer import change_in_points, transfer_summary
from xling_align.modeling_xling import InputError


@pytest.mark.parametrize("module", [retrieval, transfer, report, encoding])
def test_examples_in_docstrings_hold(module):
    outcome = doctest.testmod(module)
    assert outcome.attempted and not outcome.failed


def test_identical_spaces_score_one():
    vectors = np.random.default_rng(0).normal(size=(50, 8))
    assert set(retrieval_scores(vectors, 3 * vectors).values()) == {1.0}


def test_rotating_the_targets_by_one_row_scores_accuracy_zero():
    vectors = np.eye(4)
    scores = retrieval_scores(vectors, np.roll(vectors, 1, axis=0))
    assert scores["accuracy"] == 0
    assert scores["mrr"] == 1 / 4  # one wrong hit above, two ties counted against


def test_constant_vectors_score_no_better_than_the_last_rank():
    constant = np.full((10, 6), 0.3, dtype=np.float32)
    scores = retrieval_scores(constant, constant)
    assert scores["accuracy"] == 0
    assert scores["mrr"] == pytest.approx(1 / 10)


def test_constant_vectors_with_rounding_noise_are_still_ties():
    noise = np.random.default_rng(0).normal(size=(40, 6)) * 1e-6
    assert retrieval_scores(1 + noise, 1 + noise)["accuracy"] == 0


def test_zero_vectors_find_nothing():
    assert retrieval_scores(np.zeros((5, 3)), np.eye(5, 3))["accuracy"] == 0


def naive_scores(source, target):
    cosine = (source / np.linalg.norm(source, axis=1)[:, None]) @ (target / np.linalg.norm(target, axis=1)[:, None]).T
    ranks = [[list(np.argsort(-row)).index(i) + 1 for i, row in enumerate(side)] for side in (cosine, cosine.T)]
    forward, backward = ([rank == 1 for rank in side] for side in ranks)
    return {
        "accuracy": (np.mean(forward) + np.mean(backward)) / 2,
        "accuracy_forward": np.mean(forward),
        "accuracy_backward": np.mean(backward),
        "mrr": np.mean(1 / np.array(ranks)),
    }


@pytest.mark.parametrize("block", [7, 64, 2048])
def test_scores_equal_a_full_sort_whatever_the_block(block, monkeypatch):
    monkeypatch.setattr(retrieval, "BLOCK", block)
    rng = np.random.default_rng(1)
    source = rng.normal(size=(64, 5))
    target = source + rng.normal(size=source.shape)
    expected = naive_scores(source, target)
    assert expected["accuracy_forward"] != expected["accuracy_backward"]
    assert retrieval_scores(source, target) == pytest.approx(expected)


def test_retrieval_refuses_other_shapes_and_nan():
    with pytest.raises(InputError, match=r"\(2, 3\), \(3, 3\)"):
        retrieval_scores(np.ones((2, 3)), np.ones((3, 3)))
    with pytest.raises(InputError, match="N > 0"):
        retrieval_scores(np.ones((0, 3)), np.ones((0, 3)))
    with pytest.raises(InputError, match="NaN"):
        retrieval_scores(np.full((2, 3), np.nan), np.ones((2, 3)))


def test_gap_is_source_minus_mean_and_worst_five_ignores_the_best():
    scores = {"en": 0.9, "a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4, "e": 0.5, "f": 0.9}
    assert transfer_summary(scores) == pytest.approx(
        {"source": 0.9, "mean_others": 0.4, "gap": 0.5, "worst_five": 0.3}
    )
    assert transfer_summary(scores, source="f")["mean_others"] == pytest.approx(0.4)


@pytest.mark.parametrize("scores", [{"de": 1.0}, {"en": 1.0}, {}])
def test_transfer_needs_the_source_and_one_more(scores):
    with pytest.raises(InputError, match="'en'"):
        transfer_summary(scores)


def test_change_adds_up_with_what_is_shown():
    assert change_in_points(0.41351, 0.37549) == pytest.approx(37.5 - 41.4)
    assert str(change_in_points(0.50003, 0.5)) == "0.0"
