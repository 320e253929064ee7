"""Word alignment: links out of word vectors, and their error against gold links."""

import re
from collections.abc import Sequence, Set
from typing import NamedTuple

import numpy as np

from xling_align.eval.metrics.f1 import f1
from xling_align.modeling_xling import InputError

Link = tuple[int, int]


class Links(NamedTuple):
    """Gold links between the words of two sentences; the sure ones are among the possible ones."""

    sure: frozenset[Link]
    possible: frozenset[Link]


def parse_links(text: str, rows: int | None = None, columns: int | None = None) -> Links:
    """Read links as they are written in gold files: `i-j` is sure, `ipj` possible, both from 0.

    >>> links = parse_links("0-0 1p2")
    >>> sorted(links.sure), sorted(links.possible)
    ([(0, 0)], [(0, 0), (1, 2)])

    Args:
        text: Links, separated by spaces.
        rows: Words of the first sentence, if known.
        columns: Words of the second.

    Returns:
        The links.

    Raises:
        InputError: One is written otherwise, or names a word that there is not.
    """
    sure, possible = set(), set()
    for written in text.split():
        match = re.fullmatch(r"([0-9]+)([-p])([0-9]+)", written)
        if not match:
            raise InputError(f"{written!r} is no link; write i-j where it is sure and ipj where it is possible")
        link = int(match[1]), int(match[3])
        if (rows is not None and link[0] >= rows) or (columns is not None and link[1] >= columns):
            raise InputError(f"the link {written} leaves sentences of {rows} and {columns} words, counted from 0")
        possible.add(link)
        if match[2] == "-":
            sure.add(link)
    return Links(frozenset(sure), frozenset(possible))


def alignment_scores(predicted: Sequence[Set[Link]], gold: Sequence[Links]) -> dict[str, float]:
    """Score links, counted over all sentences.

    With A the links found, S the sure and P the possible ones: precision |A & P| / |A|, recall |A & S| / |S|,
    alignment error rate 1 - (|A & S| + |A & P|) / (|A| + |S|). Where all gold links are sure, it is 1 - F1.
    Reference: Och and Ney (2003), A Systematic Comparison of Various Statistical Alignment Models, section 6.

    >>> gold = [parse_links("0-0 1-1 2p1 2p2")]
    >>> alignment_scores([{(0, 0), (2, 2), (0, 1)}], gold)["aer"]  # 1 - (1 + 2) / (3 + 2)
    0.4

    Args:
        predicted: Links of each sentence pair.
        gold: Gold links of each.

    Returns:
        `aer`, `precision`, `recall` and `f1`, the harmonic mean of precision and recall.

    Raises:
        InputError: They differ in number, or no gold link is sure.
    """
    if len(predicted) != len(gold):
        raise InputError(f"word alignment: links of {len(predicted)} sentence pairs for {len(gold)}")
    sure = sum(len(links.sure) for links in gold)
    if not sure:
        raise InputError("word alignment: no gold link is sure, so there is nothing to recall")
    found = sum(map(len, predicted))
    right_sure = sum(len(links & given.sure) for links, given in zip(predicted, gold, strict=True))
    right = sum(len(links & given.possible) for links, given in zip(predicted, gold, strict=True))
    precision, recall = (right / found if found else 0.0), right_sure / sure
    error = 1 - (right_sure + right) / (found + sure)
    return {"aer": error, "precision": precision, "recall": recall, "f1": f1(precision, recall)}


def mutual_argmax(similarity: np.ndarray) -> set[Link]:
    """Link words that are each other's most similar one; of equals the first counts.

    Reference: SimAlign (Jalili Sabet et al., 2020), "argmax" of section 2.

    >>> sorted(mutual_argmax(np.array([[0.9, 0.8], [0.7, 0.1], [0.2, 0.85]])))
    [(0, 0), (2, 1)]

    Args:
        similarity: Of each word (row) to each word of the translation (column), (I, J).

    Returns:
        Links (row, column).
    """
    columns, rows = similarity.argmax(axis=1), similarity.argmax(axis=0)
    return {(row, int(column)) for row, column in enumerate(columns) if rows[column] == row}


def softmax_links(products: np.ndarray, threshold: float = 1e-3) -> set[Link]:
    """Link words whose softmax probability is above a threshold in both directions.

    Reference: awesome-align (Dou and Neubig, 2021), section 2.1; there the products are those of sub-words.

    >>> sorted(softmax_links(np.array([[5.0, 0.0], [5.0, 5.0]]), threshold=0.3))
    [(0, 0), (1, 0), (1, 1)]

    Args:
        products: Dot products of the words' states, (I, J).
        threshold: Least probability.

    Returns:
        Links (row, column).
    """
    exponents = [np.exp(products - products.max(axis=axis, keepdims=True)) for axis in (0, 1)]
    forward, backward = (each / each.sum(axis=axis, keepdims=True) for axis, each in enumerate(exponents))
    return {(int(row), int(column)) for row, column in np.argwhere((forward > threshold) & (backward > threshold))}


def diagonal(rows: int, columns: int) -> set[Link]:
    """Link each word of the first sentence to the one in the same place of the second: what position alone gives.

    >>> sorted(diagonal(3, 5))
    [(0, 0), (1, 2), (2, 4)]
    """
    return {(row, round(row * (columns - 1) / max(rows - 1, 1))) for row in range(rows)}
