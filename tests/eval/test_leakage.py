import doctest

import numpy as np
import pytest

from xling_align.eval.metrics import leakage as metric
from xling_align.eval.metrics.leakage import language_probe
from xling_align.eval.tasks import leakage as task
from xling_align.modeling_xling import InputError

LANGUAGES = ["de", "en", "sw"]
MEANINGS = 40
TEXTS = {language: [f"{language} {row}" for row in range(MEANINGS)] for language in LANGUAGES}
CONTENT = np.random.default_rng(0).normal(size=(MEANINGS, 6))


def encode(texts, language):
    """Content, and beside it the language."""
    assert all(text.startswith(language) for text in texts)
    rows = [int(text.split()[1]) for text in texts]
    place = np.tile(np.eye(3)[LANGUAGES.index(language)], (len(rows), 1))
    return np.concatenate([CONTENT[rows], place], axis=1)


def test_examples_in_docstrings_hold():
    outcome = doctest.testmod(metric)
    assert outcome.attempted and not outcome.failed


def test_vectors_that_carry_their_language_are_told_apart():
    result = task.run(encode, TEXTS)
    assert result.scores == {"de": 1.0, "en": 1.0, "sw": 1.0} and result.mean == 1.0
    assert result.metadata == {"accuracy": 1.0, "chance": 1 / 3, "texts": MEANINGS, "folds": 5}
    assert result.lower_is_better and result.summary() == {"mean_others": 1.0}


def test_vectors_of_content_alone_say_nothing_about_the_language():
    result = task.run(lambda texts, language: encode(texts, language)[:, :6], TEXTS)
    assert result.metadata["accuracy"] == pytest.approx(1 / 3)  # equal vectors: one of three is right


def test_the_probe_never_sees_a_meaning_that_it_is_tested_on():
    """Each meaning has a direction of its own in one language, another in the other: a giveaway if it was seen."""
    vectors = np.concatenate([np.eye(80)[:40], np.eye(80)[40:], np.eye(80)])
    languages = ["de"] * 40 + ["en"] * 40 + ["de"] * 40 + ["en"] * 40  # every vector occurs twice
    meanings = list(range(40)) * 4
    assert language_probe(vectors, languages)["accuracy"] > 0.7
    assert language_probe(vectors, languages, meanings)["accuracy"] == pytest.approx(0.5, abs=0.1)


def test_random_vectors_are_told_at_chance():
    rng = np.random.default_rng(1)
    scores = language_probe(rng.normal(size=(900, 8)), LANGUAGES * 300, np.repeat(np.arange(300), 3))
    assert scores["chance"] == 1 / 3 and scores["accuracy"] == pytest.approx(1 / 3, abs=0.05)


def test_chance_is_the_most_frequent_language():
    rng = np.random.default_rng(1)
    scores = language_probe(rng.normal(size=(100, 2)), ["de"] * 70 + ["en"] * 30)
    assert scores["chance"] == 0.7 and set(scores["recall"]) == {"de", "en"}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: task.run(encode, {"de": TEXTS["de"]}), "two or more languages"),
        (lambda: task.run(encode, {"de": TEXTS["de"], "en": TEXTS["en"][:-1]}), "lists of one length"),
        (lambda: task.run(encode, {code: TEXTS[code][:3] for code in LANGUAGES}), "3 languages and 3 meanings"),
        (lambda: language_probe(np.eye(4), ["de"] * 4), "got 1 languages"),
        (lambda: language_probe(np.eye(4), ["de", "en"]), "4 vectors, 2 languages"),
    ],
)
def test_unusable_data_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
