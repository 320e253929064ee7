"""Bitext mining: pairs by ratio margin, and the threshold that separates translations from the rest."""

from typing import NamedTuple

import numpy as np

from xling_align.eval.metrics.f1 import f1
from xling_align.eval.metrics.neighbours import Neighbours, top_k, unit
from xling_align.modeling_xling import InputError

Pair = tuple[int, int]
LEAST_MEAN = 0.05  # cosine of neighbours; by smaller ones a margin says nothing


class Mined(NamedTuple):
    """Pairs of rows and the margin of each, the largest first."""

    pairs: list[Pair]
    margins: np.ndarray


def mine(source: np.ndarray, target: np.ndarray, k: int = 4) -> Mined:
    """Pair up the rows of two languages by ratio margin.

    Each row proposes its best partner among its k nearest neighbours; the proposals of both sides are taken from the
    largest margin down, and each row is used once ("max" retrieval of Artetxe & Schwenk 2019).

    >>> mined = mine(np.array([[1.0, 0.0], [0.6, 0.8]]), np.array([[0.8, 0.6], [0.0, 1.0]]), k=2)
    >>> mined.pairs, mined.margins.round(2).tolist()  # cosines 0.8, 0.0 and 0.96, 0.8: by these (1, 0) came first
    ([(0, 0), (1, 1)], [1.25, 1.25])

    Args:
        source: Vectors in one language, (N, d).
        target: Vectors in the other, (M, d).
        k: Neighbours that a margin is taken over.

    Returns:
        The pairs (source row, target row), the best first.
    """
    source, target = unit(source), unit(target)
    candidates, _ = united(*best_candidates(top_k(source, target, k), top_k(target, source, k)))
    taken = candidates.at(first_uses(candidates.source, candidates.target))
    return Mined(list(zip(taken.source.tolist(), taken.target.tolist(), strict=True)), taken.margin)


class Candidates(NamedTuple):
    """Pairs that may be translations, as parallel arrays (candidates,).

    Attributes:
        source: Rows of the source pool.
        target: Rows of the target pool.
        cosine: Of the two vectors.
        margin: Ratio margin.
    """

    source: np.ndarray
    target: np.ndarray
    cosine: np.ndarray
    margin: np.ndarray

    def at(self, rows: np.ndarray) -> "Candidates":
        """Some of the candidates, by row or by mask."""
        return Candidates(*(column[rows] for column in self))


def ratio_margin(cosine: np.ndarray, source_mean: np.ndarray, target_mean: np.ndarray) -> np.ndarray:
    """Ratio margin of pairs: a row that is near to everything gains nothing by it.

    Reference: Artetxe and Schwenk (2019), Margin-based Parallel Corpus Mining, equation 2.

    >>> ratio_margin(np.array([0.9]), np.array([0.5]), np.array([0.7])).round(3).tolist()
    [1.5]

    Args:
        cosine: Of each pair.
        source_mean: Mean cosine of its source to the source's nearest targets.
        target_mean: Mean cosine of its target to the target's nearest sources.

    Returns:
        Margins, 1 for a pair as near as the neighbours are; a mean below `LEAST_MEAN` counts as that.
    """
    return cosine / np.maximum((source_mean + target_mean) / 2, LEAST_MEAN)


def best_candidates(forward: Neighbours, backward: Neighbours) -> tuple[Candidates, Candidates]:
    """Each sentence's best candidate by margin, among its nearest neighbours.

    Args:
        forward: Nearest targets of every source.
        backward: Nearest sources of every target.

    Returns:
        Those of the sources in their order, and those of the targets in theirs; sentences without one are left out.
    """
    proposals = []
    for own, other in ((forward, backward), (backward, forward)):
        margins = ratio_margin(own.cosines, own.mean()[:, None], other.mean()[own.rows])  # (sentences, k)
        best = np.where(own.rows < 0, -np.inf, margins).argmax(1)[:, None]
        cosine, row, margin = (np.take_along_axis(each, best, 1)[:, 0] for each in (*own, margins))
        found = row >= 0
        proposals.append(tuple(each[found] for each in (np.arange(len(row), dtype=np.int32), row, cosine, margin)))
    targets, sources, *scores = proposals[1]
    return Candidates(*proposals[0]), Candidates(sources, targets, *scores)


def united(forward: Candidates, backward: Candidates) -> tuple[Candidates, np.ndarray]:
    """Both sides' candidates by falling margin, each once, and whether each is the best of both its sentences."""
    codes = [each.source.astype(np.int64) << 32 | each.target for each in (forward, backward)]
    mutual = np.isin(codes[0], codes[1])
    new = ~np.isin(codes[1], codes[0])
    every = Candidates(*(np.concatenate(columns) for columns in zip(forward, backward.at(new), strict=True)))
    order = np.lexsort((every.target, every.source, -every.margin))
    return every.at(order), np.concatenate([mutual, np.zeros(new.sum(), bool)])[order]


def first_uses(sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Which pairs are taken when each, in their order, is taken if both its rows are free (pairs,)."""
    taken = np.zeros(len(sources), bool)
    used: tuple[set[int], set[int]] = (set(), set())
    for row, (source, target) in enumerate(zip(sources.tolist(), targets.tolist(), strict=True)):
        if source not in used[0] and target not in used[1]:
            taken[row] = True
            used[0].add(source)
            used[1].add(target)
    return taken


def best_threshold(margins: np.ndarray, right: np.ndarray, gold: int) -> float:
    """Return the margin from which on pairs give the best F1, half-way to the next pair's.

    >>> best_threshold(np.array([1.5, 1.25, 0.75, 0.5]), np.array([True, True, False, False]), gold=2)
    1.0

    Args:
        margins: Of the mined pairs, falling, (N,).
        right: Whether each is a translation, (N,).
        gold: Translations that there are.

    Returns:
        The threshold.

    Raises:
        InputError: There is no pair, or no translation to find.
    """
    if not len(margins) or gold < 1:
        raise InputError(f"a threshold can't be chosen from {len(margins)} pairs with {gold} translations to find")
    hits = np.cumsum(right)
    scores = [f1(hit / found, hit / gold) for found, hit in enumerate(hits, 1)]
    last = np.append(margins[:-1] > margins[1:], True)  # a threshold can't part equal margins
    best = int(np.argmax(np.where(last, scores, -1.0)))
    return float(margins[best] + margins[min(best + 1, len(margins) - 1)]) / 2
