"""Sentence level: pairs near each other (eq. 7), and both languages' similarities alike (eq. 8)."""

from dataclasses import replace

from torch import Tensor

from ..adaptive.policies import Policies
from ..adaptive.temperature import Temperature
from ..arguments import XLingAlignTrainingArguments
from ..distributed import gather
from ..objectives import (
    PairVectors,
    additive_margin,
    intra_similarity,
    multi_positive,
    paper_infonce,
    paper_intra_similarity,
    rince,
    sigmoid_loss,
    symmetric_infonce,
)
from .encoded import Step


def inter_loss(pairs: PairVectors, args: XLingAlignTrainingArguments, temperature: Temperature) -> Tensor:
    """The chosen form of the inter-sentence loss.

    Args:
        pairs: The pairs of the batch.
        args: `inter_loss`, `margin`, `temperature`, `rince_q`, `rince_lambda`, `rince_warmup`.
        temperature: Temperature and bias, and the share of the training that is done.

    Returns:
        A scalar.
    """
    tau, progress = temperature(), temperature.progress()
    reweighted = args.temperature == "macl"
    if args.inter_loss == "additive_margin":
        return additive_margin(pairs, args.margin, tau, reweighted)
    if args.inter_loss == "infonce" or args.inter_loss == "rince" and progress < args.rince_warmup:
        return symmetric_infonce(pairs, tau, reweighted)
    if args.inter_loss == "paper":
        return paper_infonce(pairs)
    if args.inter_loss == "sigmoid":
        return sigmoid_loss(pairs, 1 / tau, temperature.bias)
    if args.inter_loss == "rince":
        return rince(pairs, args.rince_q, args.rince_lambda / len(pairs.all_target), tau)
    return multi_positive(pairs, tau)


def sentence_losses(
    step: Step, names: list[str], args: XLingAlignTrainingArguments, policies: Policies
) -> dict[str, Tensor]:
    """Those of `inter`, `intra` and the alignment regulariser that are on.

    Args:
        step: The batch.
        names: All losses that are on.
        args: Their forms and settings.
        policies: Temperature and regulariser.

    Returns:
        Scalars by name.
    """
    losses: dict[str, Tensor] = {}
    if not {"inter", "intra"} & set(names) and policies.regulariser is None:
        return losses
    pairs = step.pairs if step.weights is None else replace(step.pairs, all_weights=gather(step.weights))
    if "inter" in names:
        losses["inter"] = inter_loss(pairs, args, policies.temperature)
    if "intra" in names:
        printed = args.intra_loss == "paper"
        losses["intra"] = paper_intra_similarity(pairs) if printed else intra_similarity(pairs, args.intra_tau)
    if policies.regulariser is not None:
        losses["alignment"] = policies.regulariser(pairs)
    return losses
