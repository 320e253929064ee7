import doctest

import numpy as np
import pytest

from xling_align.eval.data_dir import ByLanguage, Translations
from xling_align.eval.metrics import mining as metric
from xling_align.eval.metrics.mining import best_threshold, mine
from xling_align.eval.tasks import mining as task
from xling_align.eval.tasks.mining import Pool, pools
from xling_align.modeling_xling import InputError


def naive(source, target, k):
    """Ratio margins of all pairs, from the definition; the pairs taken greedily from those that a side proposes."""
    cosine = (source / np.linalg.norm(source, axis=1)[:, None]) @ (target / np.linalg.norm(target, axis=1)[:, None]).T
    rows, columns = (np.mean(np.sort(side, axis=1)[:, -k:], axis=1) for side in (cosine, cosine.T))
    margin = cosine / (rows[:, None] / 2 + columns[None] / 2)
    near = np.argsort(-cosine, axis=1)[:, :k], np.argsort(-cosine.T, axis=1)[:, :k]
    proposed = {(i, max(near[0][i], key=lambda j: margin[i, j])) for i in range(len(source))}
    proposed |= {(max(near[1][j], key=lambda i: margin[i, j]), j) for j in range(len(target))}
    found = []
    for i, j in sorted(proposed, key=lambda pair: -margin[pair]):
        if all(i != one and j != other for one, other in found):
            found.append((int(i), int(j)))
    return found, [margin[pair] for pair in found]


def test_examples_in_docstrings_hold():
    outcome = doctest.testmod(metric)
    assert outcome.attempted and not outcome.failed


@pytest.mark.parametrize("k", [2, 3, 40])
def test_mined_pairs_equal_those_of_the_full_matrix(k):
    rng = np.random.default_rng(0)
    source, target = np.abs(rng.normal(size=(30, 5))), np.abs(rng.normal(size=(22, 5)))
    pairs, margins = naive(source, target, k)
    mined = mine(source, target, k)
    assert mined.pairs == pairs
    np.testing.assert_allclose(mined.margins, margins)


def test_the_threshold_gives_the_best_f1_that_there_is():
    rng = np.random.default_rng(0)
    margins = -np.sort(-rng.normal(size=60).round(1))  # with ties
    right = rng.random(60) < 1 / (1 + np.exp(-3 * margins))

    def f1(threshold):
        found = margins >= threshold
        return 2 * right[found].sum() / (found.sum() + 45)

    assert f1(best_threshold(margins, right, 45)) == pytest.approx(max(map(f1, margins)))
    assert f1(best_threshold(margins, right, 45)) > f1(margins[-1])


def test_nothing_right_on_dev_lets_next_to_nothing_through():
    margins = np.array([1.3, 1.2, 1.1])
    assert best_threshold(margins, np.zeros(3, dtype=bool), 5) == pytest.approx(1.25)


def test_pools_hold_the_share_of_translations_asked_for_and_distractors_of_their_own():
    english, foreign = [f"en {row}" for row in range(100)], [f"de {row}" for row in range(100)]
    pool = pools(ByLanguage({"de": Translations(english, foreign)}, limit=100), share=0.3)["de"]
    assert len(pool.english) + len(pool.foreign) == 100 + len(pool.gold) == 118
    assert len(pool.gold) / len(pool.english) == pytest.approx(0.3, abs=0.01)
    for row, column in pool.gold:
        assert pool.english[row].split()[1] == pool.foreign[column].split()[1]
    common = {text.split()[1] for text in pool.english} & {text.split()[1] for text in pool.foreign}
    assert len(common) == len(pool.gold)  # no translation besides the gold ones
    assert sum(row == column for row, column in pool.gold) < 5  # places give nothing away


def test_sentences_that_occur_twice_are_not_pooled_twice():
    data = {"de": Translations(["a", "a", "b", "c", "d"], ["x", "y", "x", "z", "z"])}
    pool = pools(data, share=1)["de"]
    assert {(pool.english[row], pool.foreign[column]) for row, column in pool.gold} == {("a", "x"), ("c", "z")}


def vectors(numbers, noise):
    """A direction per number; two languages differ by noise."""
    rng = np.random.default_rng(7)
    table = rng.normal(size=(200, 32))
    return table[numbers] + noise * rng.normal(size=(200, 32))[numbers]


def encode(texts, language):
    return vectors([int(text.split()[1]) for text in texts], 0.0 if language == "en" else 0.3)


def translations(start, count):
    return Translations([f"en {row}" for row in range(start, start + count)], [f"de {row}" for row in range(start, start + count)])  # fmt: skip # noqa: E501


def test_translations_are_found_among_distractors_with_the_threshold_of_dev():
    tests, dev = (pools(ByLanguage({"de": translations(start, 100)}, limit=9)) for start in (0, 100))
    result = task.run(encode, tests, dev)
    assert result.scores["de"] > 0.9 and result.details["de"]["gold"] == len(tests["de"].gold)
    mined = mine(encode(dev["de"].english, "en"), encode(dev["de"].foreign, "de"))
    right = np.array([pair in dev["de"].gold for pair in mined.pairs])
    assert result.details["de"]["threshold"] == best_threshold(mined.margins, right, len(dev["de"].gold))
    assert result.details["de"]["best_f1"] >= result.scores["de"]
    assert result.metadata == {"neighbours": 4, "limit": 9}


def test_an_encoder_that_knows_nothing_finds_nothing():
    def random(texts, language):
        return np.random.default_rng(len(language) + ord(language[0])).normal(size=(len(texts), 32))

    result = task.run(random, pools({"de": translations(0, 100)}), pools({"de": translations(100, 100)}))
    assert result.scores["de"] < 0.1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: task.run(encode, {}, {}), "got no tests"),
        (lambda: task.run(encode, {"de": Pool(["en 1"], ["de 1"], {(0, 0)})}, {}), "got none for de"),
        (lambda: task.run(encode, *[{"de": Pool(["en 1"], ["de 1"], set())}] * 2), "de: a pool needs"),
        (lambda: pools({"de": translations(0, 2)}), "de: 2 distinct translations are too few"),
        (lambda: pools({}, share=0), "share is 0"),
        (lambda: best_threshold(np.ones(1), np.ones(1), 0), "0 translations to find"),
    ],
)
def test_unusable_data_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
