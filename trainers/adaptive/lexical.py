"""Translations in two plain texts by their words alone, where nothing is known of a language (ours).

An encoder that has seen no pair of a language can't tell its sentences' translations from others. What two texts share
can: names, numbers and loans, seen as groups of letters in Latin script (Artetxe et al. 2017 start from numerals
alike). The sentences that find each other by these show which words go together, as in the lexicon of
`trainers/lexicon.py`; translated by that, more sentences find each other, and so on, a little more each time. Words
are the model's own and, since these may be mere syllables, the first letters of those between spaces.

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
    latin = [list(map(load_lexical().anyascii, side)) for side in texts]
    letters = tuple(unit(rare(each, COMMON_LETTERS)) for each in letter_groups(latin))
    own, other = (rare(joined(*each), COMMON_WORD) for each in zip(words, first_letters(latin), strict=True))
    words = tuple((each > 0).astype(np.float32) for each in (own, other))
    both = (words[0].sum(0) > 0) & (words[1].sum(0) > 0)
    shared = sparse.diags(np.asarray(both, np.float32).ravel()).tocsr()
    parts = np.random.default_rng(0).integers(0, PARTS, len(texts[1]))
    found = neighbours(letters, k)
    for _ in tqdm(range(rounds), "learning words", unit=" rounds", disable=None):
        pairs, translated = best_pairs(*found), sparse.csr_matrix(other.shape, dtype=np.float32)
        for part in range(PARTS):
            translations = learned(words, pairs.at(parts[pairs.target] != part), shared)
            translated += sparse.diags((parts == part).astype(np.float32)) @ other @ translations
        found = neighbours((joined(letters[0], unit(own)), joined(letters[1], unit(translated))), k)
    return found


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
