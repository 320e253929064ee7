import doctest

import numpy as np
import pytest

from xling_align.eval.data_dir import ByLanguage, Translations
from xling_align.eval.metrics import f1, lexicon, neighbours
from xling_align.eval.metrics.lexicon import translation_ranks
from xling_align.eval.metrics.neighbours import csls, top_k, unit
from xling_align.eval.tasks import lexicon as task
from xling_align.modeling_xling import InputError

ENTRIES = Translations(["big", "big", "dog", "bus"], ["gross", "groß", "Hund", "bus"])


@pytest.mark.parametrize("module", [neighbours, lexicon, f1])
def test_examples_in_docstrings_hold(module):
    outcome = doctest.testmod(module)
    assert outcome.attempted and not outcome.failed


@pytest.mark.parametrize("block", [3, 50, 2048])
def test_nearest_neighbours_equal_a_full_sort_whatever_the_block(block, monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK", block)
    rng = np.random.default_rng(0)
    queries, candidates = rng.normal(size=(50, 4)), rng.normal(size=(30, 4))
    products = queries @ candidates.T
    values, rows = top_k(queries, candidates, 7)
    np.testing.assert_array_equal(rows, np.argsort(-products, axis=1)[:, :7])
    np.testing.assert_allclose(values, -np.sort(-products, axis=1)[:, :7])
    assert top_k(queries, candidates, 99)[1].shape == (50, 30)


def test_csls_equals_its_definition():
    similarity = np.random.default_rng(0).normal(size=(12, 9))
    rows, columns = ([np.mean(sorted(each)[-4:]) for each in side] for side in (similarity, similarity.T))
    expected = [[2 * similarity[i, j] - rows[i] - columns[j] for j in range(9)] for i in range(12)]
    np.testing.assert_allclose(csls(similarity, k=4), expected)


def test_csls_finds_what_a_hub_hides():
    similarity = np.array([[0.9, 0.8, 0.0], [0.9, 0.0, 0.8], [0.9, 0.1, 0.1]])  # the first candidate is near to all
    assert similarity.argmax(1).tolist() == [0, 0, 0]
    assert csls(similarity, k=2).argmax(1).tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("vectors", "message"), [([[np.nan]], "NaN"), ([[np.inf]], "infinity"), ([], "N > 0"), ([1.0], "N, d")]
)
def test_vectors_that_are_none_are_refused(vectors, message):
    with pytest.raises(InputError, match=message):
        unit(np.array(vectors))


def test_other_translations_of_a_word_are_not_in_the_way():
    similarity = np.array([[0.9, 0.8, 0.7, 0.1]])
    assert translation_ranks(similarity, [{0, 1, 2}]).tolist() == [1]
    assert translation_ranks(similarity, [{2, 1}]).tolist() == [2]
    assert translation_ranks(similarity, [{3}]).tolist() == [4]


def test_ranks_refuse_words_without_translation():
    with pytest.raises(InputError, match="word 1 has no translation"):
        translation_ranks(np.eye(2), [{0}, set()])
    with pytest.raises(InputError, match="translations of 1 words for 2 rows"):
        translation_ranks(np.eye(2), [{0}])


PLACES = {"big": 0.0, "groß": 0.05, "gross": 0.4, "dog": 1.0, "Hund": 1.05, "bus": 1.5}


def encode(words, language):
    angles = np.array([PLACES[word] for word in words])
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_any_translation_of_a_word_is_right():
    scores = task.run(encode, ByLanguage({"de": ENTRIES}, limit=4)).details["de"]
    assert (scores["words"], scores["candidates"], scores["copied"]) == (3, 4, 1 / 3)
    assert scores["p_at_1_cosine"] == scores["p_at_5_cosine"] == 1.0
    only_far = Translations(["big", "dog"], ["gross", "groß"])  # big -> groß by place, dog -> gross: both wrong
    assert task.run(encode, {"de": only_far}).details["de"]["p_at_1_cosine"] == 0.0


def test_the_lexicons_score_is_csls_and_its_neighbours_and_limit_are_stated():
    result = task.run(encode, ByLanguage({"de": ENTRIES}, limit=4), k=2)
    words, candidates = ["big", "dog", "bus"], ["gross", "groß", "Hund", "bus"]
    best = csls(encode(words, "en") @ encode(candidates, "de").T, 2).argmax(1)
    assert best.tolist() == [1, 2, 3]
    assert result.scores == {"de": 1.0} and result.metadata == {"csls_neighbours": 2, "limit": 4}
    assert result.details["de"]["p_at_1_backward"] == 1.0


def test_a_constant_encoder_translates_nothing():
    scores = task.run(lambda words, language: np.ones((len(words), 3)), {"de": ENTRIES}).details["de"]
    assert scores["p_at_1"] == scores["p_at_1_cosine"] == scores["p_at_1_backward"] == 0.0
    assert scores["copied"] == 1 / 3


@pytest.mark.parametrize("data", [{}, {"de": Translations([], [])}, {"de": Translations(["a"], [])}])
def test_the_lexicon_refuses_what_is_no_list_of_entries(data):
    with pytest.raises(InputError, match="lexicon"):
        task.run(encode, data)
