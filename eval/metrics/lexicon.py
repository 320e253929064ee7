"""Bilingual lexicon induction: how far up among all words does a translation stand?"""

from collections.abc import Collection, Sequence

import numpy as np

from xling_align.eval.metrics.retrieval import TIE
from xling_align.modeling_xling import InputError


def translation_ranks(similarity: np.ndarray, translations: Sequence[Collection[int]]) -> np.ndarray:
    """Rank the best translation of each word among all that are none, from 1; ties rank last.

    The other translations of a word are neither hits to be counted twice nor in the way of the best one.

    >>> similarity = np.array([[0.9, 0.8, 0.1], [0.5, 0.5, 0.4]])
    >>> translation_ranks(similarity, [{1, 2}, {0}]).tolist()
    [2, 2]
    >>> precision_at(translation_ranks(similarity, [{0, 1}, {0}]), 1)
    0.5

    Args:
        similarity: Of each word (row) to each candidate (column), (N, M).
        translations: Columns of the right translations of each word, one or more.

    Returns:
        A rank per word, (N,).

    Raises:
        InputError: A word has no translation, or their number is not that of the rows.
    """
    if len(translations) != len(similarity):
        raise InputError(f"lexicon: translations of {len(translations)} words for {len(similarity)} rows")
    ranks = np.empty(len(similarity), dtype=np.int64)
    for row, right in enumerate(translations):
        if not right:
            raise InputError(f"lexicon: word {row} has no translation")
        columns = list(right)
        at_least = similarity[row] >= similarity[row, columns].max() - TIE
        ranks[row] = 1 + at_least.sum() - at_least[columns].sum()
    return ranks


def precision_at(ranks: np.ndarray, k: int) -> float:
    """Return the share of ranks that are k or better."""
    return float(np.mean(ranks <= k))
