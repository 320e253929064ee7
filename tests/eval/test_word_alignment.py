import doctest

import numpy as np
import pytest

from xling_align.eval.data_dir import ByLanguage, WordAligned
from xling_align.eval.metrics import word_alignment as metric
from xling_align.eval.metrics.word_alignment import (
    alignment_scores,
    diagonal,
    mutual_argmax,
    parse_links,
    softmax_links,
)
from xling_align.eval.tasks import word_alignment as task
from xling_align.modeling_xling import InputError


@pytest.mark.parametrize("module", [metric, task])
def test_examples_in_docstrings_hold(module):
    outcome = doctest.testmod(module)
    assert outcome.attempted and not outcome.failed


def test_scores_are_counted_over_all_sentences():
    gold = [parse_links("0-0 1-1 1p2"), parse_links("0-1")]
    found = [{(0, 0), (1, 2), (2, 2)}, set()]
    scores = alignment_scores(found, gold)  # |A| = 3, |S| = 3, |A & S| = 1, |A & P| = 2
    assert scores["precision"] == 2 / 3 and scores["recall"] == 1 / 3
    assert scores["aer"] == 1 - 3 / 6
    assert scores["f1"] == pytest.approx(2 * (2 / 3) * (1 / 3))


def test_the_error_is_one_minus_f1_where_all_links_are_sure():
    rng = np.random.default_rng(0)
    gold, found = (
        [{tuple(map(int, link)) for link in rng.integers(0, 5, (6, 2))} for _ in range(9)] for _ in range(2)
    )
    scores = alignment_scores(found, [metric.Links(frozenset(links), frozenset(links)) for links in gold])
    assert 0 < scores["f1"] < 1 and scores["aer"] == pytest.approx(1 - scores["f1"])


def test_all_sure_and_any_possible_links_make_no_error():
    gold = [parse_links("0-0 1p0 1p1")]
    for found in ({(0, 0)}, {(0, 0), (1, 0)}, {(0, 0), (1, 0), (1, 1)}):
        assert alignment_scores([found], gold)["aer"] == 0
    assert alignment_scores([set()], gold) == {"aer": 1.0, "precision": 0.0, "recall": 0.0, "f1": 0.0}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: alignment_scores([], [parse_links("0-0")]), "links of 0 sentence pairs for 1"),
        (lambda: alignment_scores([{(0, 0)}], [parse_links("0p0")]), "no gold link is sure"),
        (lambda: parse_links("0-0 1=2"), "'1=2' is no link"),
        (lambda: parse_links("0-2", 1, 2), "0-2 leaves sentences of 1 and 2 words"),
        (lambda: parse_links("1p0", 1, 2), "1p0 leaves"),
    ],
)
def test_unusable_links_are_refused_in_one_line(call, message):
    with pytest.raises(InputError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_mutual_argmax_needs_both_to_agree():
    similarity = np.random.default_rng(0).normal(size=(7, 5))
    expected = {
        (i, j) for i in range(7) for j in range(5) if similarity[i, j] >= max(*similarity[i], *similarity[:, j])
    }
    assert mutual_argmax(similarity) == expected and 0 < len(expected) < 5


def test_softmax_links_are_the_intersection_of_both_directions():
    products = np.random.default_rng(0).normal(size=(6, 4)) * 3
    forward = np.exp(products) / np.exp(products).sum(1, keepdims=True)  # each row over the columns
    backward = np.exp(products) / np.exp(products).sum(0, keepdims=True)
    for threshold in (0.01, 0.2, 0.6):
        both = {(i, j) for i in range(6) for j in range(4) if min(forward[i, j], backward[i, j]) > threshold}
        assert softmax_links(products, threshold) == both
    assert softmax_links(products + 1e4, 0.2) == softmax_links(products, 0.2)  # no overflow


def test_the_diagonal_of_one_word_is_its_first():
    assert diagonal(1, 4) == {(0, 0)} and diagonal(3, 1) == {(0, 0), (1, 0), (2, 0)}


def test_words_without_a_vector_get_no_link():
    states = np.array([[0.0, 0.0], [-1.0, 0.0]])  # its only cosine is below the zero vector's 0
    for threshold in (None, 0.1):
        assert task.links(states, np.array([[1.0, 0.0], [0.0, 0.0]]), threshold) == {(1, 0)}
        assert task.links(np.zeros((2, 2)), states, threshold) == set()


MEANINGS = {"the": 0, "big": 1, "dog": 2, "der": 0, "große": 1, "Hund": 2}
DATA = WordAligned([["the", "big", "dog"]], [["Hund", "der", "große"]], [parse_links("0-1 1-2 2-0")])


def encode_words(sentences, language, layer):
    """Layer 1 knows what words mean, the others their place alone."""
    return [
        np.array([np.eye(3)[MEANINGS[word] if layer == 1 else place] * 9 for place, word in enumerate(words)])
        for words in sentences
    ]


def test_words_that_mean_the_same_are_linked_without_error():
    for thresholds in ([None], [0.5]):
        result = task.run(encode_words, ByLanguage({"de": DATA}, limit=1), layers=[1], thresholds=thresholds)
        assert result.details["de"]["aer"] == 0.0 and result.scores == {"de": 1.0}
        assert result.metadata == {"layer": 1, "threshold": thresholds[0], "limit": 1}


def test_the_last_layer_and_mutual_argmax_serve_unless_told_otherwise():
    result = task.run(encode_words, {"de": DATA})
    assert result.metadata == {"layer": None, "threshold": None}
    assert result.details["de"]["aer"] == 1.0 and result.scores["de"] == result.details["de"]["diagonal_f1"] == 0.0


def test_layer_and_threshold_are_chosen_on_dev_and_never_on_test():
    in_order = WordAligned(DATA.english, [["der", "große", "Hund"]], [parse_links("0-0 1-1 2-2")])
    swapped = WordAligned(DATA.english, [["große", "der", "Hund"]], [parse_links("0-1 1-0 2-2")])
    chosen = task.run(encode_words, {"de": in_order}, {"nl": swapped}, layers=[None, 1], thresholds=[2.0, None])
    assert chosen.metadata == {"layer": 1, "threshold": None, "chosen_on": ["nl"], "dev_f1": 1.0}
    misled = WordAligned(DATA.english, [["der", "große", "Hund"]], [parse_links("0-2")])
    unread = task.run(encode_words, {"de": misled}, {"nl": swapped}, layers=[None, 1], thresholds=[2.0, None])
    assert unread.metadata == chosen.metadata and unread.scores["de"] == 0.0


@pytest.mark.parametrize(
    ("tests", "options", "message"),
    [
        ({}, {}, "needs sentence pairs"),
        ({"de": DATA}, {"layers": [1, 2]}, "2 layers and thresholds to choose from, and no dev set"),
        ({"de": DATA}, {"thresholds": []}, "a layer and a threshold"),
        ({"de": WordAligned([["the"]], [], [])}, {}, "de: 1 and 0 sentences, links of 0"),
        ({"de": WordAligned([["the"]], [["der"]], [parse_links("0p0")])}, {}, "de: .*no gold link is sure"),
    ],
)
def test_word_alignment_refuses_what_does_not_match(tests, options, message):
    with pytest.raises(InputError, match=message):
        task.run(encode_words, tests, **options)
