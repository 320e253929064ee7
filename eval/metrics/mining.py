"""Bitext mining: pairs by ratio margin, and the threshold that separates translations from the rest."""

from typing import NamedTuple

import numpy as np

from xling_align.eval.metrics.f1 import f1
from xling_align.eval.metrics.neighbours import top_k, unit
from xling_align.modeling_xling import InputError

Pair = tuple[int, int]


class Mined(NamedTuple):
    """Pairs of rows and the margin of each, the largest first."""

    pairs: list[Pair]
    margins: np.ndarray


def mine(source: np.ndarray, target: np.ndarray, k: int = 4) -> Mined:
    """Pair up the rows of two languages by ratio margin.

    The margin of a pair is its cosine over the mean cosine of both sides' k nearest neighbours. Each row proposes its
    best partner of these; the proposals of both sides are taken from the largest margin down, and each row is used
    once ("max" retrieval). Reference: Artetxe and Schwenk (2019), Margin-based Parallel Corpus Mining, equation 2.

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
    forward, to_target = top_k(source, target, k)  # (N, k)
    backward, to_source = top_k(target, source, k)  # (M, k)
    means = forward.mean(axis=1), backward.mean(axis=1)
    forward = _margin(forward, means[0][:, None], means[1][to_target])
    backward = _margin(backward, means[1][:, None], means[0][to_source])
    every_source, every_target = np.arange(len(source)), np.arange(len(target))
    sources = np.concatenate([every_source, to_source[every_target, backward.argmax(axis=1)]])
    targets = np.concatenate([to_target[every_source, forward.argmax(axis=1)], every_target])
    return _greedy(sources, targets, np.concatenate([forward.max(axis=1), backward.max(axis=1)]))


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


def _margin(cosines: np.ndarray, own_mean: np.ndarray, other_mean: np.ndarray) -> np.ndarray:
    return cosines / np.maximum((own_mean + other_mean) / 2, 1e-6)


def _greedy(sources: np.ndarray, targets: np.ndarray, margins: np.ndarray) -> Mined:
    used_sources, used_targets, kept = set(), set(), []
    for row in np.argsort(-margins, kind="stable"):
        source, target = int(sources[row]), int(targets[row])
        if source not in used_sources and target not in used_targets:
            used_sources.add(source)
            used_targets.add(target)
            kept.append(row)
    return Mined([(int(sources[row]), int(targets[row])) for row in kept], margins[kept])
