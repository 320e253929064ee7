"""Translations in two plain texts by their words alone, where nothing is known of a language (ours).

An encoder that has seen no pair of a language can't tell its sentences' translations from others. What two texts share
can: names, numbers and loans, seen as groups of letters in Latin script (Artetxe et al. 2017 start from numerals
alike). The sentences that find each other by these show which words go together, as in the lexicon of
`trainers/lexicon.py`; translated by that, more sentences find each other, and so on, a little more each time. Words
are the model's own and, since these may be mere syllables, the first letters of those between spaces.

In the rounds that follow, with a model, letters and words are a view of their own: do they say, translated by what the
last round's pairs show, that of two sentences each is the other's best?

Every pair speaks for its own words, and once taken would be found again whatever it is. So the sentences are in four
parts, and what tells a sentence's words is learned from the others: without that the first mistakes stay.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import sparse
from tqdm.auto import tqdm

from xling_align.eval.metrics.mining import Candidates, best_candidates, united
from xling_align.eval.metrics.neighbours import Neighbours
from xling_align.modeling_xling import InputError

from ..lexicon import SHARPNESS, associations
from .words import reordered

Sparse = Any  # `scipy.sparse.csr_matrix`; its types don't say what operations on it give

ROUNDS = 12
LEAST_MARGIN = 1.2  # of pairs that speak for words
PARTS = 4
TRANSLATIONS = 5  # of a word, at most
CERTAIN = 0.3  # association from which on a word stands for its translations altogether
SHRINK = 4  # pairs that an association is held against: few of them prove little
LETTERS = (3, 4)  # of a group
FIRST_LETTERS = 6  # of a word between spaces
COMMON_LETTERS = 0.02  # share of a side's texts from which on a group of letters says nothing
COMMON_WORD = 0.1  # likewise of a word
FEW = 10  # texts that are never a large share


class Bags(NamedTuple):
    """What the sentences of a source and of a target side hold, by how rare it is.

    Attributes:
        letters: Groups of letters in Latin script, rows of length 1 (sentences, groups).
        words: Of the model's vocabulary, and by their first letters (sentences, words).
    """

    letters: tuple[Sparse, Sparse]
    words: tuple[Sparse, Sparse]


class Libraries(NamedTuple):
    """What the search needs beside the core: `anyascii`, scikit-learn's `CountVectorizer`, `sp_matmul_topn`."""

    anyascii: Any
    vectorizer: Any
    topn: Any


def load_lexical() -> Libraries:
    """Import them.

    Returns:
        The libraries.

    Raises:
        InputError: One of them is not installed.
    """
    try:
        from anyascii import anyascii
        from sklearn.feature_extraction.text import CountVectorizer
        from sparse_dot_topn import sp_matmul_topn
    except ImportError as error:
        raise InputError(
            f'pairs by words alone need {error.name}: pip install "xling-align[mining]"; or leave them out by '
            "--lexical_rounds 0"
        ) from error
    return Libraries(anyascii, CountVectorizer, sp_matmul_topn)


def lexical_neighbours(
    texts: tuple[Sequence[str], Sequence[str]],
    words: tuple[Sparse, Sparse],
    k: int = 8,
    rounds: int = ROUNDS,
) -> tuple[Neighbours, Neighbours]:
    """Nearest sentences both ways by letters and, as far as the rounds find them, by translations of the words.

    Args:
        texts: Distinct sentences of the source language and of another.
        words: Which words of the model's vocabulary each holds (sentences, vocab).
        k: Neighbours of each sentence.
        rounds: How often translations are learned.

    Returns:
        Nearest targets of every source, and nearest sources of every target; `cosines` are the sum of that of the
        letters and that of the words.
    """
    bags = bags_of(texts, words)
    found = neighbours(bags.letters, k)
    for _ in tqdm(range(rounds), "learning words", unit=" rounds", disable=None):
        found = neighbours(with_translations(bags, best_pairs(*found)), k)
    return found


def bags_of(texts: tuple[Sequence[str], Sequence[str]], words: tuple[Sparse, Sparse]) -> Bags:
    """What sentences hold; at its peak five kilobytes each.

    Args:
        texts: Sentences of both sides.
        words: As `lexical_neighbours`.

    Returns:
        Their letters and words.
    """
    latin = [list(map(load_lexical().anyascii, side)) for side in texts]
    one, other = (unit(rare(each, COMMON_LETTERS)) for each in letter_groups(latin))
    own, theirs = (rare(joined(*each), COMMON_WORD) for each in zip(words, first_letters(latin), strict=True))
    return Bags((one, other), (own, theirs))


def with_translations(bags: Bags, pairs: Candidates) -> tuple[Sparse, Sparse]:
    """Both sides' letters and words, those of the target side translated by what pairs of other parts show.

    Args:
        bags: Of both sides' sentences.
        pairs: Sentences that speak for words.

    Returns:
        Rows of both sides, of length 1 in letters and in words, whose products tell how alike sentences are.
    """
    own, other = bags.words
    there = (own > 0).astype(np.float32), (other > 0).astype(np.float32)
    both = (there[0].sum(0) > 0) & (there[1].sum(0) > 0)
    shared = sparse.diags(np.asarray(both, np.float32).ravel()).tocsr()
    parts = np.random.default_rng(0).integers(0, PARTS, other.shape[0])
    found = sparse.csr_matrix(other.shape, dtype=np.float32)
    for part in range(PARTS):
        translations = learned(there, pairs.at(parts[pairs.target] != part), shared)
        found += sparse.diags((parts == part).astype(np.float32)) @ other @ translations
    return joined(bags.letters[0], unit(own)), joined(bags.letters[1], unit(found))


def by_lexicon(found: Neighbours, queries: Sparse, keys: Sparse) -> Neighbours:
    """The same neighbours by the products of their rows, best first.

    Args:
        found: Nearest keys of every query; a row of -1 stands for none.
        queries: Rows of the queries, as `with_translations` gives them.
        keys: Likewise of the keys.

    Returns:
        The neighbours; `cosines` are the products.
    """
    products = np.empty(found.rows.shape, np.float32)
    for place, rows in enumerate(found.rows.T):
        products[:, place] = np.asarray(queries.multiply(keys[rows]).sum(1)).ravel()
    return reordered(Neighbours(np.where(found.rows < 0, -np.inf, products), found.rows))


def letter_groups(texts: Sequence[Sequence[str]]) -> tuple[Sparse, Sparse]:
    """Which groups of letters both sides' texts hold (sentences, groups)."""
    return counted(texts, analyzer="char_wb", ngram_range=LETTERS)


def first_letters(texts: Sequence[Sequence[str]]) -> tuple[Sparse, Sparse]:
    """Which words, by their first letters, both sides' texts hold (sentences, words)."""
    return counted(texts, token_pattern=rf"\b([a-z]{{1,{FIRST_LETTERS}}})[a-z]*")


def counted(texts: Sequence[Sequence[str]], **settings: Any) -> tuple[Sparse, Sparse]:
    """Features of texts in Latin script, over one vocabulary."""
    vectorizer = load_lexical().vectorizer(binary=True, dtype=np.float32, **settings)
    try:
        every = vectorizer.fit_transform(chain(*texts))
    except ValueError:  # there are no letters
        every = sparse.csr_matrix((len(texts[0]) + len(texts[1]), 0), dtype=np.float32)
    return every[: len(texts[0])], every[len(texts[0]) :]


def rare(counts: Sparse, common: float) -> Sparse:
    """Weigh features by how rare they are, log((n + 1) / (texts with it + 1)); common ones weigh nothing."""
    size, texts = counts.get_shape()[0], np.asarray(counts.sum(0)).ravel()
    weights = np.where(texts > max(common * size, FEW), 0, np.log((size + 1) / (texts + 1)))
    weighed = (counts @ sparse.diags(weights.astype(np.float32))).tocsr()
    weighed.eliminate_zeros()
    return weighed


def unit(rows: Sparse) -> Sparse:
    """Rows of length 1; empty ones stay."""
    lengths = np.sqrt(np.asarray(rows.multiply(rows).sum(1)).ravel())
    return (sparse.diags(1 / np.maximum(lengths, 1e-9)).astype(np.float32) @ rows).tocsr()


def joined(one: Sparse, other: Sparse) -> Sparse:
    """Features beside one another: the product of such rows is the sum of both products."""
    return sparse.hstack([one, other]).tocsr()


def neighbours(bags: tuple[Sparse, Sparse], k: int) -> tuple[Neighbours, Neighbours]:
    """Nearest targets of every source and nearest sources of every target, best first."""
    return nearest(bags[0], bags[1], k), nearest(bags[1], bags[0], k)


def nearest(queries: Sparse, keys: Sparse, k: int) -> Neighbours:
    """The k keys with the largest products for each query; where fewer have any, the first key with a product of 0."""
    found = load_lexical().topn(queries, keys.T.tocsr(), top_n=k, sort=True, n_threads=torch.get_num_threads())
    place = np.arange(found.nnz) - np.repeat(found.indptr[:-1], np.diff(found.indptr))
    query = np.repeat(np.arange(found.shape[0]), np.diff(found.indptr))
    cosines, rows = np.zeros((found.shape[0], k), np.float32), np.zeros((found.shape[0], k), np.int32)
    cosines[query, place], rows[query, place] = found.data, found.indices
    return Neighbours(cosines, rows)


def best_pairs(forward: Neighbours, backward: Neighbours) -> Candidates:
    """Pairs of sentences that are each other's best by ratio margin, where it is large enough; best first."""
    every, mutual = united(*best_candidates(forward, backward))
    return every.at(mutual & (every.margin >= LEAST_MARGIN))


def learned(words: tuple[Sparse, Sparse], pairs: Candidates, shared: Sparse) -> Sparse:
    """Translations of the target side's words that pairs show.

    Args:
        words: Which words each sentence holds (sentences, vocab).
        pairs: Sentences that speak for words.
        shared: What a word stands for as far as nothing is known of it: itself, where both sides have it.

    Returns:
        Words of the source side by word of the target side (vocab, vocab).
    """
    own, other = words[0][pairs.source], words[1][pairs.target]
    counts = [np.asarray(each.sum(0)).ravel() for each in (own, other)]
    word, partner, association = associations(own, other, *counts, shrink=SHRINK)
    order = np.lexsort((-association, word))
    word, partner, association = word[order], partner[order], association[order]
    first = np.searchsorted(word, word)
    kept = np.arange(len(word)) - first < TRANSLATIONS
    word, partner, association = word[kept], partner[kept], association[kept]
    weights = sparse.csr_matrix((association**SHARPNESS, (word, partner)), shape=shared.shape, dtype=np.float32)
    certain = np.zeros(shared.shape[0], np.float32)
    np.maximum.at(certain, word, np.minimum(association / CERTAIN, 1))
    totals = np.asarray(weights.sum(1)).ravel()
    means = sparse.diags(np.divide(certain, totals, out=np.zeros_like(certain), where=totals > 0)) @ weights
    return (means + sparse.diags(1 - certain) @ shared).tocsr()
