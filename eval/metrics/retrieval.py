"""Translation retrieval: does the nearest sentence of the other language mean the same?"""

import numpy as np

from xling_align.eval.metrics.neighbours import unit
from xling_align.modeling_xling import InputError

BLOCK = 2048
# Vectors that differ by rounding alone are ties; a cosine moves with the square of that noise.
TIE = 1e-9


def retrieval_scores(source: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """Score how often the cosine-nearest neighbour of a sentence is its translation.

    Row i of both arrays means the same. A tie counts against the model: the translation is ranked behind every
    other sentence that is as near, so an encoder that maps everything to one vector scores accuracy 0 and MRR 1/N.
    Two blocks of `BLOCK` rows are compared at a time, so memory does not grow with N squared.

    >>> source = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> target = np.array([[2.0, 0.1], [1.0, 0.5]])  # both targets lie nearer to the first source
    >>> scores = retrieval_scores(source, target)
    >>> scores["accuracy_forward"], scores["accuracy_backward"], scores["accuracy"], scores["mrr"]
    (1.0, 0.5, 0.75, 0.875)

    Args:
        source: Vectors in one language, (N, d).
        target: Vectors of their translations, (N, d).

    Returns:
        `accuracy` (mean of both directions), `accuracy_forward` (source finds target), `accuracy_backward`, and
        `mrr`, the mean reciprocal rank, also averaged over both directions.

    Raises:
        InputError: The shapes differ, there are no rows, or a value is not finite.
    """
    source, target = np.asarray(source), np.asarray(target)
    if source.ndim != 2 or source.shape != target.shape or not len(source):
        raise InputError(f"retrieval needs two (N, d) arrays of one shape, N > 0; got {source.shape}, {target.shape}")
    forward, backward = translation_ranks(unit(source), unit(target))
    accuracies = float(np.mean(forward == 1)), float(np.mean(backward == 1))
    return {
        "accuracy": sum(accuracies) / 2,
        "accuracy_forward": accuracies[0],
        "accuracy_backward": accuracies[1],
        "mrr": float(np.mean(1 / forward) + np.mean(1 / backward)) / 2,
    }


def translation_ranks(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rank each translation among all sentences, from 1, in both directions; ties rank last.

    Args:
        source: Unit vectors, (N, d).
        target: Unit vectors of their translations, (N, d).

    Returns:
        Ranks of the targets for each source and of the sources for each target, (N,) each.
    """
    pair = np.einsum("nd,nd->n", source, target) - TIE
    forward, backward = np.zeros(len(pair), dtype=np.int64), np.zeros(len(pair), dtype=np.int64)
    for row in range(0, len(pair), BLOCK):
        rows = slice(row, row + BLOCK)
        for column in range(0, len(pair), BLOCK):
            columns = slice(column, column + BLOCK)
            cosine = source[rows] @ target[columns].T  # (rows, columns); the pair itself counts as the 1 of its rank
            forward[rows] += (cosine >= pair[rows, None]).sum(axis=1)
            backward[columns] += (cosine >= pair[None, columns]).sum(axis=0)
    return forward, backward
