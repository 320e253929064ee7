"""How two languages lie in one space: similarity of translations, uniformity, hubs, isomorphism; rank correlation."""

import numpy as np

from xling_align.eval.metrics.neighbours import top_k, unit
from xling_align.modeling_xling import InputError


def pair_similarity(source: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """Mean cosine of translations beside that of all pairs that are none.

    The first alone can be gamed by a space in which everything is near.

    >>> scores = pair_similarity(np.eye(2), np.array([[1.0, 0.0], [0.6, 0.8]]))
    >>> {name: round(score, 3) for name, score in scores.items()}
    {'translations': 0.9, 'others': 0.3}

    Args:
        source: Vectors in one language, (N, d), N > 1.
        target: Vectors of their translations, (N, d).

    Returns:
        `translations` and `others`, the mean cosines.
    """
    source, target = _aligned(source, target)
    count = len(source)
    right = float(np.einsum("nd,nd->", source, target))
    every = float(source.sum(axis=0) @ target.sum(axis=0))  # the sum over all N * N pairs
    return {"translations": right / count, "others": (every - right) / (count * (count - 1))}


def alignment(source: np.ndarray, target: np.ndarray) -> float:
    """Mean squared distance of translations on the unit sphere, 0 to 4, lower is better.

    Reference: Wang and Isola (2020), section 4.1, with alpha = 2.

    >>> alignment(np.eye(2), np.eye(2)), alignment(np.eye(2), -np.eye(2))
    (0.0, 4.0)
    """
    source, target = _aligned(source, target)
    return float(((source - target) ** 2).sum(axis=1).mean())


def uniformity(vectors: np.ndarray) -> float:
    """Logarithm of the mean of exp(-2 d^2) over all pairs on the unit sphere, lower is more evenly spread.

    0 where all vectors are one. Reference: Wang and Isola (2020), section 4.1, with t = 2.

    >>> uniformity(np.array([[1.0, 0.0], [-1.0, 0.0]]))  # d = 2
    -8.0
    """
    vectors = unit(vectors)
    count = len(vectors)
    squared = 2 - 2 * vectors @ vectors.T  # (N, N)
    np.fill_diagonal(squared, np.inf)
    return float(np.log(np.exp(-2 * squared).sum() / (count * (count - 1))))


def mean_offset(source: np.ndarray, target: np.ndarray) -> float:
    """How far two languages' centres lie apart, beside how far their sentences lie from their own centre (ours).

    0 where the centres are one; 1 where they are as far apart as a sentence is from its centre. Needs no translations.

    >>> mean_offset(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([[0.0, 1.0], [0.0, -1.0]]))
    0.0
    >>> round(mean_offset(np.array([[0.6, 0.8], [0.6, -0.8]]), np.array([[-0.6, 0.8], [-0.6, -0.8]])), 6)  # 1.2 / 0.8
    1.5

    Args:
        source: Vectors in one language, (N, d).
        target: Vectors in the other, (M, d).

    Returns:
        The ratio; 0 where the sentences of each language are all one and the centres as well.
    """
    source, target = unit(source), unit(target)
    centres = source.mean(axis=0), target.mean(axis=0)
    spread = np.mean(
        [np.linalg.norm(side - centre, axis=1).mean() for side, centre in zip((source, target), centres, strict=True)]
    )
    return float(np.linalg.norm(centres[0] - centres[1]) / max(spread, 1e-12))


def hubness(source: np.ndarray, target: np.ndarray, k: int = 10) -> float:
    """Skewness of how often each target is among the k nearest of a source; 0 is even, far above it means hubs.

    Reference: Radovanovic et al. (2010), Hubs in Space, equation 1.

    >>> hubness(np.eye(4), np.eye(4), k=1)
    0.0
    >>> round(hubness(np.eye(4), np.vstack([np.ones(4), -np.eye(4)[:3]]), k=1), 3)  # counts 4, 0, 0, 0
    1.155

    Args:
        source: Vectors in one language, (N, d).
        target: Vectors in the other, (M, d).
        k: Neighbours of each source.

    Returns:
        The skewness; 0 where all targets are found equally often.
    """
    _, rows = top_k(unit(source), unit(target), k)
    counts = np.bincount(rows.ravel(), minlength=len(target)).astype(np.float64)
    deviations = counts - counts.mean()
    spread = np.sqrt((deviations**2).mean())
    return float((deviations**3).mean() / spread**3) if spread else 0.0


def isomorphism(source: np.ndarray, target: np.ndarray) -> float:
    """Relational similarity: the correlation between the cosines within one language and those within the other.

    1 where one space is a rotation of the other, whether or not they lie in one place. Reference: RSIM of Vulic et al.
    (2020), Are All Good Word Vector Spaces Isomorphic?, over all pairs of rows instead of a sample.

    >>> turned = np.array([[0.0, 1.0], [-1.0, 0.0], [-0.6, 0.8]])
    >>> round(isomorphism(np.array([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]]), turned), 6)
    1.0

    Args:
        source: Vectors in one language, (N, d), N > 2.
        target: Vectors of their translations, (N, d).

    Returns:
        Pearson correlation; 0 where all cosines of a side are equal.
    """
    source, target = _aligned(source, target)
    above = np.triu_indices(len(source), 1)
    return pearson((source @ source.T)[above], (target @ target.T)[above])


def pearson(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation of two lists of numbers; 0 where a side is constant.

    >>> round(pearson(np.array([1.0, 2.0, 3.0]), np.array([6.0, 4.0, 2.0])), 6)
    -1.0
    """
    first, second = (np.asarray(side, dtype=np.float64) for side in (first, second))
    first, second = first - first.mean(), second - second.mean()
    scale = np.sqrt((first @ first) * (second @ second))
    return float(first @ second / scale) if scale > 1e-12 * len(first) else 0.0


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation of two lists of numbers by rank, ties by their mean rank; 0 where a side is constant.

    >>> round(spearman(np.array([0.1, 0.2, 0.9]), np.array([1.0, 10.0, 11.0])), 6)
    1.0

    Args:
        first: Numbers, (N,).
        second: Numbers, (N,).

    Returns:
        The correlation, -1 to 1.

    Raises:
        InputError: They differ in number, or there are fewer than two.
    """
    if len(first) != len(second) or len(first) < 2:
        raise InputError(
            f"a rank correlation needs two lists of one length, 2 or more; got {len(first)}, {len(second)}"
        )
    return pearson(_ranks(first), _ranks(second))


def _ranks(numbers: np.ndarray) -> np.ndarray:
    _, places, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]


def _aligned(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    source, target = unit(source), unit(target)
    if source.shape != target.shape or len(source) < 2:
        raise InputError(
            f"translations need two (N, d) arrays of one shape, N > 1; got {source.shape}, {target.shape}"
        )
    return source, target
