"""Pairwise sigmoid loss (SigLIP, Zhai et al. 2023, arXiv 2303.15343)."""

from torch import Tensor
from torch.nn.functional import softplus

from .infonce import cosines
from .pair_vectors import PairVectors


def sigmoid_loss(pairs: PairVectors, logit_scale: float | Tensor = 10.0, bias: float | Tensor = -10.0) -> Tensor:
    """Every source with every target is a yes-or-no question: -1/N sum_ij log sigmoid(z_ij (t cos_ij + b)).

    z is +1 for a pair and -1 for the others; rows of one meaning that are no pair are left out. Local sources are held
    against all targets, which is symmetric as it stands. Weights of the pairs are for the questions whose answer is
    yes; those questions are averaged by them, and the others as they are.

    Args:
        pairs: The pairs of the batch.
        logit_scale: t; SigLIP learns it from 10.
        bias: b; SigLIP learns it from -10, which offsets the many negatives at the start.

    Returns:
        The mean over local pairs of the sum over all targets, a scalar in fp32.

    Example:
        >>> pairs = PairVectors.local(torch.eye(2), torch.eye(2))
        >>> round(sigmoid_loss(pairs, logit_scale=0.0, bias=0.0).item(), 4)  # 2 log 2
        1.3863
    """
    logits = logit_scale * cosines(pairs.source, pairs.all_target) + bias
    own = pairs.positives.unsqueeze(1)
    wrong = logits.scatter(1, own, -logits.gather(1, own))  # -z (t cos + b)
    losses = softplus(wrong)
    return pairs.mean(losses.gather(1, own).squeeze(1)) + losses.masked_fill(pairs.same_meaning, 0.0).sum(1).mean()
