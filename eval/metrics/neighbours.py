"""Cosines and nearest neighbours, for the metrics that are made of them."""

from typing import NamedTuple

import numpy as np

from xling_align.modeling_xling import InputError

BLOCK = 2048


class Neighbours(NamedTuple):
    """The nearest keys of each query, best first.

    Attributes:
        cosines: Of each (queries, k); -inf where an approximate search found fewer than k.
        rows: Rows of the keys (queries, k); -1 where there is none.
    """

    cosines: np.ndarray
    rows: np.ndarray

    def mean(self) -> np.ndarray:
        """Mean cosine to the neighbours that were found (queries,); 0 where there is none."""
        found = self.rows >= 0
        return np.where(found, self.cosines, 0).sum(1) / found.sum(1).clip(min=1)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Scale vectors (N, d) to length 1 in float64; a zero vector stays zero.

    >>> unit(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6, 0.8], [0.0, 0.0]]

    Args:
        vectors: One per row, (N, d).

    Returns:
        The same directions, (N, d) float64.

    Raises:
        InputError: It is no (N, d) array with N > 0, or a value is not finite.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    if vectors.ndim != 2 or not len(vectors):
        raise InputError(f"vectors must be an (N, d) array, N > 0; got {vectors.shape}")
    if not np.isfinite(vectors).all():
        raise InputError("vectors hold NaN or infinity; look for a diverged model or a half-precision overflow")
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)


def top_k(queries: np.ndarray, candidates: np.ndarray, k: int) -> Neighbours:
    """Find the k candidates with the largest dot product, by blocks of `BLOCK` queries.

    >>> similarity, rows = top_k(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]]), 2)
    >>> similarity.tolist(), rows.tolist()
    ([[1.0, 0.5]], [[1, 2]])

    Args:
        queries: Vectors, (N, d).
        candidates: Vectors, (M, d).
        k: How many; all where there are fewer.

    Returns:
        Dot products in falling order and the candidates' rows, (N, k) each.
    """
    k = min(k, len(candidates))
    values, rows = [], []
    for start in range(0, len(queries), BLOCK):
        products = queries[start : start + BLOCK] @ candidates.T  # (block, M)
        nearest = np.argpartition(-products, k - 1, axis=1)[:, :k]
        near = np.take_along_axis(products, nearest, axis=1)
        order = np.argsort(-near, axis=1, kind="stable")
        values.append(np.take_along_axis(near, order, axis=1))
        rows.append(np.take_along_axis(nearest, order, axis=1))
    return Neighbours(np.concatenate(values), np.concatenate(rows))


def csls(similarity: np.ndarray, k: int = 10) -> np.ndarray:
    """Cross-domain similarity local scaling: 2 cos(x, y) - r(x) - r(y), r the mean cosine of the k nearest.

    It takes from hubs, which are near to everything, what makes them everyone's neighbour. Reference: Conneau et al.
    (2018), Word Translation Without Parallel Data, equation 3.

    >>> csls(np.array([[0.9, 0.1], [0.8, 0.7]]), k=1).round(2).tolist()  # r = 0.9, 0.8 by row; 0.9, 0.7 by column
    [[0.0, -1.4], [-0.1, -0.1]]

    Args:
        similarity: Cosines between the words of two languages, (N, M).
        k: Neighbours that make a word's neighbourhood; all where there are fewer.

    Returns:
        Scaled similarities, (N, M).
    """
    rows, columns = (
        np.partition(side, -min(k, side.shape[1]), axis=1)[:, -min(k, side.shape[1]) :].mean(axis=1)
        for side in (similarity, similarity.T)
    )
    return 2 * similarity - rows[:, None] - columns[None, :]
