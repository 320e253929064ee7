import doctest

import numpy as np
import pytest

from xling_align.eval import encoding, report
from xling_align.eval.metrics import entities, retrieval, transfer
from xling_align.eval.metrics.entities import entity_scores, entity_types
from xling_align.eval.metrics.retrieval import retrieval_scores
from xling_align.eval.metrics.transfer import transfer_summary
from xling_align.modeling_xling import InputError


@pytest.mark.parametrize("module", [retrieval, transfer, entities, report, encoding])
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


def entities_of(tags):
    """Entities by conlleval's rules, written anew: a tag opens one unless it is an I- that goes on with the last."""
    found, last = [], "O"
    for place, tag in enumerate(tags):
        if tag.startswith("I-") and last[2:] == tag[2:]:
            found[-1] = (*found[-1][:2], place)
        elif tag != "O":
            found.append((tag[2:], place, place))
        last = tag
    return set(found)


def test_scores_equal_a_count_of_spans_on_thousands_of_ill_formed_sentences():
    rng = np.random.default_rng(0)
    names = ["O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    gold = [rng.choice(names, size).tolist() for size in rng.integers(1, 12, 3000)]
    predicted = [
        [tag if rng.random() < 0.6 else other for tag, other in zip(tags, rng.choice(names, len(tags)), strict=True)]
        for tags in gold
    ]
    wanted, found = ([entities_of(tags) for tags in side] for side in (gold, predicted))
    right = sum(len(first & second) for first, second in zip(wanted, found, strict=True))
    total, given = sum(map(len, wanted)), sum(map(len, found))
    scores = entity_scores(gold, predicted)
    assert 0.1 < scores["f1"] < 0.9
    assert scores == pytest.approx(
        {"f1": 2 * right / (total + given), "precision": right / given, "recall": right / total, "entities": total}
    )


def test_an_entity_needs_its_type_and_both_ends():
    gold = [["B-PER", "I-PER", "O"]]
    for predicted in (["B-PER", "O", "O"], ["B-PER", "I-PER", "I-PER"], ["B-LOC", "I-LOC", "O"], ["O", "I-PER", "O"]):
        assert entity_scores(gold, [predicted])["f1"] == 0
    assert entity_scores(gold, [["I-PER", "I-PER", "O"]])["f1"] == 1  # an I- that continues nothing starts an entity


def test_other_types_count_as_outside_on_both_sides():
    gold = [["B-PER", "B-DATE", "I-DATE"], ["B-DATE"]]
    predicted = [["B-PER", "B-PER", "I-DATE"], ["O"]]
    assert entity_scores(gold, predicted)["recall"] == pytest.approx(1 / 3)
    assert entity_scores(gold, predicted, ["PER"]) == {"f1": 2 / 3, "precision": 0.5, "recall": 1.0, "entities": 1}
    assert entity_types(gold) == ["DATE", "PER"]


@pytest.mark.filterwarnings("error")
def test_without_entities_the_scores_are_zero_in_silence():
    assert entity_scores([["O"]], [["O"]]) == {"f1": 0, "precision": 0, "recall": 0, "entities": 0}


@pytest.mark.parametrize(
    ("gold", "predicted", "message"),
    [
        ([], [], "0 sentences"),
        ([["O"]], [], "0 sentences predicted for 1"),
        ([["O", "O"]], [["O"]], "sentence 1: 1 tags"),
    ],
)
def test_entities_refuse_tags_that_do_not_match(gold, predicted, message):
    with pytest.raises(InputError, match=message):
        entity_scores(gold, predicted)
