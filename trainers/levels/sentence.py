"""Sentence level: pairs near each other (eq. 7), and both languages' similarities alike (eq. 8)."""

from torch import Tensor

from ..arguments import XLingAlignTrainingArguments
from ..distributed import gather, rank
from ..objectives import (
    PairVectors,
    additive_margin,
    intra_similarity,
    multi_positive,
    paper_intra_similarity,
    sigmoid_loss,
    symmetric_infonce,
)
from .encoded import Step


def gathered(step: Step) -> PairVectors:
    """The batch's pairs, held against those of all processes."""
    source, target = step.encoded.vectors.float().chunk(2)
    everyone = gather(source), gather(target), gather(step.pair_ids)
    return PairVectors(source, target, step.pair_ids, *everyone, first=rank() * len(source))


def inter_loss(pairs: PairVectors, args: XLingAlignTrainingArguments) -> Tensor:
    """The chosen form of the inter-sentence loss.

    Args:
        pairs: The pairs of the batch.
        args: `inter_loss`, `tau`, `margin`.

    Returns:
        A scalar.
    """
    if args.inter_loss == "additive_margin":
        return additive_margin(pairs, args.margin, args.tau)
    if args.inter_loss == "sigmoid":
        return sigmoid_loss(pairs, 1 / args.tau, -1 / args.tau)  # SigLIP starts with as much of a bias
    return {"infonce": symmetric_infonce, "multi_positive": multi_positive}[args.inter_loss](pairs, args.tau)


def sentence_losses(step: Step, names: list[str], args: XLingAlignTrainingArguments) -> dict[str, Tensor]:
    """Those of `inter` and `intra` that are on.

    Args:
        step: The batch.
        names: All losses that are on.
        args: Their forms and settings.

    Returns:
        Scalars by name.
    """
    if not {"inter", "intra"} & set(names):
        return {}
    pairs, losses = gathered(step), {}
    if "inter" in names:
        losses["inter"] = inter_loss(pairs, args)
    if "intra" in names:
        printed = args.intra_loss == "paper"
        losses["intra"] = paper_intra_similarity(pairs) if printed else intra_similarity(pairs, args.intra_tau)
    return losses
