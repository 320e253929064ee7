"""Sentences should be as alike within one language as within the other (multi_level_alignment.txt eq. 8)."""

import math

import torch
from torch import Tensor

from .infonce import LOWEST, cosines
from .pair_vectors import PairVectors


def intra_similarity(pairs: PairVectors, tau: float | Tensor = 0.1) -> Tensor:
    """Distance of the two languages' similarity distributions, in a form that keeps its gradient (ours).

    P and Q are softmaxes over a row's cosines with the other texts of its own language. Against the paper: vectors are
    normalised and have a temperature, a text is not compared with itself, and rows are averaged. With raw dot products
    and the diagonal kept, both softmaxes are one-hot at 768 dimensions, and nothing is learned. Rows of one meaning
    stay in: they are neighbours in both languages. Pairs of weight 0 are left out of rows and columns.

    Args:
        pairs: The pairs of the batch.
        tau: Temperature.

    Returns:
        The mean over local rows of the sum over all columns, a scalar in fp32, 0 or more.

    Example:
        >>> vectors = torch.randn(8, 4)
        >>> intra_similarity(PairVectors.local(vectors, 2 * vectors)).item()
        0.0
    """
    own = pairs.positives.unsqueeze(1)
    sides = ((pairs.source, pairs.all_source), (pairs.target, pairs.all_target))
    logits = ((cosines(local, every) / tau).scatter(1, own, LOWEST) for local, every in sides)
    p, q = (values.masked_fill(pairs.dropped, LOWEST).softmax(1) for values in logits)
    return pairs.mean(negative_log_cosine(p - q).sum(1))


def negative_log_cosine(gap: Tensor, floor: float = 1e-4) -> Tensor:
    """-log cos(pi/2 gap) for gaps in [-1, 1], elementwise, in fp32.

    Written as -log sin(pi/2 (1 - |gap|)): the same number, and exact near |gap| = 1, where the cosine's argument is
    rounded to values whose cosine is negative. Value and gradient are finite throughout.

    Args:
        gap: Differences of two probabilities.
        floor: Least sine; at smaller ones, |gap| above 1 - 6e-5, the value stands and the gradient is 0.

    Returns:
        Values in [0, -log floor], in the shape of `gap`.

    Example:
        >>> [round(value, 4) for value in negative_log_cosine(torch.tensor([0.5, -0.5, 1.0])).tolist()]
        [0.3466, 0.3466, 9.2103]
    """
    sine = torch.sin(math.pi / 2 * (1 - gap.float().abs()))
    return -sine.clamp(min=floor).log()


def paper_intra_similarity(pairs: PairVectors) -> Tensor:
    """Eq. 8 as printed: raw dot products, each text compared with itself too, summed over rows and columns.

    |P - Q| is kept one rounding step below 1, where the printed form is NaN.

    Args:
        pairs: The pairs of the batch.

    Returns:
        The sum over all rows and columns, a scalar in fp32; over several processes, their mean is that sum.

    Example:
        >>> pairs = PairVectors.local(torch.tensor([[0.0], [0.0]]), torch.tensor([[99.0], [0.0]]))
        >>> round(paper_intra_similarity(pairs).item(), 4)  # first rows (1/2, 1/2) and (1, 0): 2 log sqrt 2
        0.6931
    """
    sides = ((pairs.source, pairs.all_source), (pairs.target, pairs.all_target))
    logits = (local.float() @ every.float().T for local, every in sides)
    p, q = (values.masked_fill(pairs.dropped, LOWEST).softmax(1) for values in logits)
    most = 1 - torch.finfo(torch.float32).eps
    return len(pairs.all_source) * pairs.mean(-torch.cos(math.pi / 2 * (p - q).clamp(-most, most)).log().sum(1))
