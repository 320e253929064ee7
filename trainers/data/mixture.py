"""A training set drawn from several sets of pairs, so that a small set is not drowned by a large one."""

from collections.abc import Sequence

import numpy as np

from .tokenized import TokenizedPairs, join_pairs


def drawn_rows(count: int, number: int, generator: np.random.Generator) -> np.ndarray:
    """Rows (number,) in random order, each of the `count` as often as any other, give or take one.

    >>> sorted(drawn_rows(2, 5, np.random.default_rng(0)).tolist())[1:4]
    [0, 0, 1]
    """
    passes = [generator.permutation(count) for _ in range(-(-number // count))]
    return np.concatenate(passes)[:number]


def counts_of(shares: Sequence[float], number: int) -> np.ndarray:
    """Whole numbers that add up to `number`, by shares that add up to 1.

    >>> counts_of([0.5, 0.25, 0.25], 10).tolist()
    [5, 3, 2]
    """
    return np.diff(np.round(np.cumsum(shares) * number).astype(int), prepend=0)


def mixture(parts: Sequence[TokenizedPairs], shares: Sequence[float], number: int, seed: int) -> TokenizedPairs:
    """Draw a training set.

    Args:
        parts: Sets of pairs.
        shares: Share of the training set that comes from each; they add up to 1.
        number: Pairs in all.
        seed: Of the draw.

    Returns:
        The pairs, part by part.
    """
    generator = np.random.default_rng(seed)
    drawn = zip(parts, counts_of(shares, number), strict=True)
    return join_pairs([part.take(drawn_rows(len(part), count, generator)) for part, count in drawn if count])
