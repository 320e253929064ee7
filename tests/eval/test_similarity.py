import doctest

import numpy as np
import pytest
import scipy.stats

from xling_align.eval.data_dir import ByLanguage, Rated, Translations
from xling_align.eval.metrics import similarity as metric
from xling_align.eval.metrics.similarity import (
    alignment,
    hubness,
    isomorphism,
    pair_similarity,
    pearson,
    spearman,
    uniformity,
)
from xling_align.eval.tasks import similarity as task
from xling_align.modeling_xling import InputError


def random_vectors(seed, count=40, dim=6):
    return np.random.default_rng(seed).normal(size=(count, dim))


def cosines(source, target):
    return (source / np.linalg.norm(source, axis=1)[:, None]) @ (target / np.linalg.norm(target, axis=1)[:, None]).T


def test_examples_in_docstrings_hold():
    outcome = doctest.testmod(metric)
    assert outcome.attempted and not outcome.failed


def test_correlations_equal_scipy_with_ties():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 6, 50), rng.integers(0, 6, 50) + rng.normal(size=50)
    assert spearman(first, second) == pytest.approx(scipy.stats.spearmanr(first, second).statistic)
    assert pearson(first, second) == pytest.approx(scipy.stats.pearsonr(first, second).statistic)


def test_a_constant_side_correlates_with_nothing():
    assert spearman(np.ones(5), np.arange(5)) == pearson(np.full(5, 0.1), np.arange(5)) == 0.0


def test_pair_similarity_equals_the_means_of_the_cosine_matrix():
    source, target = random_vectors(0), random_vectors(1)
    matrix = cosines(source, target)
    off = matrix[~np.eye(40, dtype=bool)]
    assert pair_similarity(source, target) == pytest.approx(
        {"translations": matrix.trace() / 40, "others": off.mean()}
    )


def test_alignment_and_uniformity_equal_their_definitions():
    source, target = random_vectors(0), random_vectors(1)
    unit = source / np.linalg.norm(source, axis=1)[:, None]
    other = target / np.linalg.norm(target, axis=1)[:, None]
    assert alignment(source, target) == pytest.approx(
        np.mean([np.sum((a - b) ** 2) for a, b in zip(unit, other, strict=True)])
    )
    pairs = [np.exp(-2 * np.sum((unit[i] - unit[j]) ** 2)) for i in range(40) for j in range(i)]
    assert uniformity(source) == pytest.approx(np.log(np.mean(pairs)))
    assert uniformity(np.ones((5, 3))) == pytest.approx(0, abs=1e-12)


def test_hubness_is_scipys_skewness_of_the_counts():
    source, target = random_vectors(0), random_vectors(1)
    nearest = np.argsort(-cosines(source, target), axis=1)[:, :5]
    counts = np.bincount(nearest.ravel(), minlength=40)
    assert hubness(source, target, k=5) == pytest.approx(scipy.stats.skew(counts))


def test_a_hub_is_seen():
    source = np.abs(random_vectors(0))
    even = hubness(source, source, k=1)
    assert hubness(source, np.concatenate([[source.mean(0)], -source[1:]]), k=1) > 6 > 1 > even


def test_isomorphism_is_one_under_rotation_and_near_zero_for_unrelated_spaces():
    source = random_vectors(0, count=200)
    rotation = np.linalg.qr(random_vectors(1, 6))[0]
    assert isomorphism(source, 3 * source @ rotation) == pytest.approx(1)
    assert abs(isomorphism(source, random_vectors(2, count=200))) < 0.05
    assert isomorphism(source, np.ones((200, 6))) == 0.0
    above = np.triu_indices(200, 1)
    noisy = source + random_vectors(3, count=200)
    expected = scipy.stats.pearsonr(cosines(source, source)[above], cosines(noisy, noisy)[above]).statistic
    assert isomorphism(source, noisy) == pytest.approx(expected)


ANGLES = {"one": 0.0, "two": 0.2, "three": 1.0, "four": 2.0}


def encode(texts, language):
    angles = np.array([ANGLES[text] for text in texts]) + (0.1 if language == "ar" else 0.0)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


RATED = Rated(["one"] * 4, ["one", "two", "three", "four"], [5.0, 3.0, 4.0, 0.5], ("en", "ar"))


def test_rated_pairs_are_scored_by_rank_and_encoded_in_their_own_languages():
    seen = []

    def remember(texts, language):
        seen.append((texts[1], language))
        return encode(texts, language)

    result = task.run(remember, ByLanguage({"ar-en": RATED}, limit=4))
    assert result.scores["ar-en"] == pytest.approx(0.8)  # two neighbouring ranks of four are swapped
    assert result.details["ar-en"]["pairs"] == 4 and result.metadata == {"limit": 4}
    assert seen == [("one", "en"), ("two", "ar")]


def test_a_constant_encoder_correlates_with_nothing_though_rounding_differs():
    rng = np.random.default_rng(0)
    result = task.run(lambda texts, language: 1 + 1e-6 * rng.normal(size=(len(texts), 64)), {"en": RATED})
    assert result.scores == {"en": 0.0}


def test_translations_are_measured_against_sentences_that_are_none():
    data = {"ar": Translations(list(ANGLES), list(ANGLES))}
    result = task.run_translations(encode, ByLanguage(data, limit=4), k=1)
    one, other = encode(list(ANGLES), "en"), encode(list(ANGLES), "ar")
    expected = {
        **pair_similarity(one, other),
        "alignment": alignment(one, other),
        "uniformity": uniformity(other),
        "hubness": 0.0,
        "isomorphism": 1.0,
        "sentences": 4,
    }
    assert result.details["ar"] == pytest.approx(expected)
    assert result.details["ar"]["translations"] == pytest.approx(np.cos(0.1))
    assert result.scores["ar"] == pytest.approx(np.cos(0.1) - expected["others"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: task.run(encode, {}), "got none"),
        (lambda: task.run(encode, {"en": RATED._replace(scores=[1.0])}), "4 and 4 texts, 1 scores"),
        (lambda: task.run_translations(encode, {}), "got none"),
        (lambda: task.run_translations(encode, {"ar": Translations(["one"], [])}), "ar: 1 sentences and 0"),
        (lambda: task.run_translations(encode, {"ar": Translations(["one"], ["one"])}), "N > 1"),
        (lambda: spearman(np.ones(1), np.ones(1)), "2 or more"),
        (lambda: alignment(np.ones((2, 3)), np.ones((3, 3))), "one shape"),
    ],
)
def test_unusable_data_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
