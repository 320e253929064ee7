"""Masked language modelling (multi_level_alignment.txt eq. 12), with logits at the masked positions only."""

import torch
from torch import Tensor
from torch.nn import Linear

from .vocabulary import TokenTargets, chunk_sizes, cross_entropy_score, vocabulary_loss


def masked_lm(
    states: Tensor,
    decoder: Linear,
    tokens: Tensor,
    total: float | Tensor | None = None,
    weights: Tensor | None = None,
    chunk: int | None = None,
) -> Tensor:
    """Cross-entropy of the tokens that were masked; no more logits are held at once than those of a chunk.

    Args:
        states: States of the masked positions, ready for the decoder (positions, embedding_dim).
        decoder: Gives logits over the vocabulary (positions, vocab).
        tokens: What stood at the masked positions (positions,).
        total: What the sum is divided by, the number of positions unless given. Over several processes give the number
            of positions of all: then the processes' values sum up to the mean. (DDP takes the mean of gradients; for
            an exact one, give the number of positions of all over that of processes.)
        weights: How much each position counts (positions,), 1 unless given; `total` is then their sum.
        chunk: Positions in a chunk; 2^26 logits' worth unless given.

    Returns:
        The mean over positions, a scalar in fp32; 0 where nothing was masked.

    Example:
        >>> round(masked_lm(torch.zeros(2, 4), Linear(4, 8, bias=False), torch.tensor([0, 5])).item(), 4)  # log 8
        2.0794
    """
    rows = torch.arange(len(tokens), device=tokens.device)
    ones = torch.ones(len(tokens), device=states.device)
    mass = ones if weights is None else weights.float()
    score = cross_entropy_score(TokenTargets(rows, tokens, mass, torch.zeros_like(ones), smoothed=weights is not None))
    loss = vocabulary_loss(states, decoder, score, chunk_sizes(len(tokens), decoder.out_features, chunk))
    return loss / (mass.sum().clamp(min=1e-6) if total is None else total)
