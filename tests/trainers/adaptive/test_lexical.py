"""Translations by words alone: from names to words that have nothing in common."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse

from tests.trainers.adaptive.made_up import NAMES, lexicon, texts
from xling_align.eval.metrics.mining import Candidates
from xling_align.eval.metrics.neighbours import Neighbours
from xling_align.trainers.adaptive import lexical
from xling_align.trainers.adaptive.lexical import (
    bags_of,
    best_pairs,
    by_lexicon,
    first_letters,
    learned,
    letter_groups,
    lexical_neighbours,
    nearest,
    with_translations,
)
from xling_align.trainers.adaptive.mining import Pool
from xling_align.trainers.mine_rounds import Proposals

SIZE, HIDDEN = 1000, 300
WORDS = {word: row for row, word in enumerate([*lexicon(), *lexicon().values()])}


def bags(sentences: list[str]) -> sparse.csr_matrix:
    dense = np.zeros((len(sentences), len(WORDS)), np.float32)
    for row, sentence in enumerate(sentences):
        dense[row, [WORDS[word] for word in sentence.split()]] = 1
    return sparse.csr_matrix(dense)


def right(rounds: int) -> tuple[int, float]:
    """How many hidden pairs are found, and their share of those found."""
    sides = texts(SIZE, HIDDEN)
    pairs = best_pairs(*lexical_neighbours(sides, (bags(sides[0]), bags(sides[1])), k=8, rounds=rounds))
    hits = int(((pairs.source == pairs.target) & (pairs.source < HIDDEN)).sum())
    return hits, hits / len(pairs.source)


def test_words_that_names_show_find_more_than_the_names():
    by_names, by_words = right(0), right(8)
    assert by_words[0] > 0.85 * HIDDEN > 1.5 * by_names[0]
    assert by_words[1] > by_names[1]


def test_what_tells_the_words_of_a_sentence_is_not_learned_from_its_own_pairs(monkeypatch):
    seen, sides = [], texts(200, 60)

    def learning(words, pairs, shared):
        seen.append(set(pairs.target.tolist()))
        return learned(words, pairs, shared)

    monkeypatch.setattr(lexical, "learned", learning)
    lexical_neighbours(sides, (bags(sides[0]), bags(sides[1])), rounds=1)
    every = set.union(*seen)
    assert len(seen) == lexical.PARTS and all(0 < len(part) < len(every) for part in seen)
    for target in every:  # each is left out once, and with it the others of its part
        assert sum(target not in part for part in seen) == 1


def test_the_same_texts_give_the_same_neighbours():
    sides = texts(200, 60)
    words = bags(sides[0]), bags(sides[1])
    first, again = (lexical_neighbours(sides, words, rounds=3) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.rows, other.rows)
        np.testing.assert_array_equal(one.cosines, other.cosines)


def test_letters_are_compared_in_latin_script():
    sides, nothing = (
        (["zara", *["bana"] * 99], ["зара", *["пито"] * 99]),
        sparse.csr_matrix((100, 5), dtype=np.float32),
    )
    forward, _ = lexical_neighbours(sides, (nothing, nothing), k=3, rounds=0)
    assert forward.rows[0, 0] == 0 and forward.cosines[0, 0] > 0.99
    assert forward.cosines[0, 1] == forward.cosines[1, 0] == 0
    own, theirs = letter_groups([["zara", "lirolo"], ["zara", "mimo"]])
    assert (own @ theirs.T).toarray().tolist() == [[7, 0], [0, 0]]  # " za" to "ra ", and " zar" to "ara "


def test_words_are_known_by_their_first_letters():
    own, theirs = first_letters([["The Kingdoms", "a kingdom"], ["kingdo kin", "x"]])
    assert (own @ theirs.T).toarray().tolist() == [[1, 0], [1, 0]]


def test_the_nearest_are_those_of_all_products():
    generator = np.random.default_rng(0)
    queries, keys = (np.where((dense := generator.random((30, 40))) < 0.9, 0, dense) for _ in range(2))
    found = nearest(sparse.csr_matrix(queries.astype(np.float32)), sparse.csr_matrix(keys.astype(np.float32)), k=5)
    products = queries @ keys.T
    for row in range(30):
        expected = np.sort(products[row])[::-1][:5]
        np.testing.assert_allclose(found.cosines[row], expected, rtol=1e-5)
        there = found.cosines[row] > 0
        np.testing.assert_array_equal(there, expected > 0)
        np.testing.assert_allclose(products[row, found.rows[row][there]], expected[there], rtol=1e-5)


@pytest.mark.parametrize("size", [9, 30, 60])
def test_few_texts_find_each_other_if_they_share_something(size):
    names = NAMES[:size]
    nothing = sparse.csr_matrix((size, 5), dtype=np.float32)
    for other, found in (
        (names, size),
        ([f"pi{row}" for row in range(size)], 0),
        (["4 ."] * size, 0),
        ([""] * size, 0),
    ):
        pairs = best_pairs(*lexical_neighbours((names, other), (nothing, nothing), rounds=2))
        assert len(pairs.source) == found and (pairs.source == pairs.target).all()


def test_a_name_on_both_sides_is_enough():
    sides = ["zaravo", *["bana"] * 60], ["зараво", *["пито"] * 60]
    nothing = sparse.csr_matrix((61, 5), dtype=np.float32)
    pairs = best_pairs(*lexical_neighbours(sides, (nothing, nothing), rounds=0))
    assert (pairs.source.tolist(), pairs.target.tolist()) == ([0], [0]) and pairs.margin[0] > 4


def test_what_pairs_show_is_learned_and_what_they_do_not_stays(monkeypatch):
    # words 0 and 1 of the source go with 2 and 3; word 4 is on both sides, alone
    own = sparse.csr_matrix(np.array([[1, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 1, 0, 0, 1]], np.float32))
    other = sparse.csr_matrix(
        np.array([[0, 0, 1, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 1, 1]], np.float32)
    )
    rows = np.arange(4, dtype=np.int32)
    pairs = Candidates(rows, rows, np.ones(4), np.ones(4))
    shared = sparse.diags(np.array([0, 0, 0, 0, 1], np.float32)).tocsr()
    found = learned((own, other), pairs, shared).toarray()
    # 2 (2 - 1) / (2 + 2 + 4) = 1/4 of which 0.3 is certain; a word seen once shows nothing
    np.testing.assert_allclose(found[2], [0.25 / 0.3, 0, 0, 0, 0], rtol=1e-5)
    np.testing.assert_allclose(found[3], [0, 0.25 / 0.3, 0, 0, 0], rtol=1e-5)
    np.testing.assert_allclose(found[4], [0, 0, 0, 0, 1])
    monkeypatch.setattr(lexical, "SHRINK", 0)
    assert learned((own, other), pairs, shared)[2, 0] == pytest.approx(1)


def test_pairs_of_other_sentences_translate_the_words_of_one():
    sides, found = texts(SIZE, HIDDEN), []
    given = bags_of(sides, (bags(sides[0]), bags(sides[1])))
    rows = np.arange(HIDDEN)
    known = Candidates(rows, rows, np.zeros(HIDDEN), np.zeros(HIDDEN))
    for pairs in (known.at(rows[:0]), known):
        own, other = with_translations(given, pairs)
        products = np.asarray(own[:HIDDEN].multiply(other[:HIDDEN]).sum(1)).ravel()
        found.append(products.mean())
    assert found[1] > found[0] + 0.3


def test_neighbours_are_ordered_by_the_products_of_their_rows():
    generator = np.random.default_rng(0)
    queries, keys = (sparse.csr_matrix(generator.random((size, 20)).astype(np.float32)) for size in (6, 9))
    rows = np.stack([generator.permutation(9)[:4] for _ in range(6)]).astype(np.int32)
    rows[0, 2:] = -1  # a query with two neighbours
    found = by_lexicon(Neighbours(np.zeros((6, 4), np.float32), rows), queries, keys)
    products = (queries @ keys.T).toarray()
    for query in range(6):
        there = found.rows[query] >= 0
        assert there.tolist() == sorted(there, reverse=True) and set(found.rows[query]) == set(rows[query])
        np.testing.assert_allclose(found.cosines[query][there], products[query, found.rows[query][there]], rtol=1e-5)
        assert (np.diff(found.cosines[query][there]) <= 0).all()
    assert np.isneginf(found.cosines[0, 2:]).all()


def test_sentences_that_share_nothing_are_not_each_others_best():
    own, other = np.eye(4, dtype=np.float32), np.eye(4, dtype=np.float32)
    other[2:] = 0  # the last two share nothing with any
    rows = np.array([[row, (row + 1) % 4] for row in range(4)], np.int32)
    nearest_by_vectors = Neighbours(np.zeros((4, 2), np.float32), rows)
    both = sparse.csr_matrix(own), sparse.csr_matrix(other)
    found = Proposals(by_lexicon(nearest_by_vectors, *both), by_lexicon(nearest_by_vectors, *both[::-1]))
    arguments = SimpleNamespace(selection="mutual", max_length_ratio=3.0)
    facts = Pool(np.arange(4), np.full(4, 20)), Pool(np.arange(4, 8), np.full(4, 20))
    best = found.best(arguments, facts)
    assert sorted(zip(best.source.tolist(), best.target.tolist(), strict=True)) == [(0, 0), (1, 1)]
