"""Masked language modelling (multi_level_alignment.txt eq. 12), with logits at the masked positions only."""

from torch import Tensor
from torch.nn import Linear
from torch.nn.functional import cross_entropy


def masked_lm(states: Tensor, decoder: Linear, tokens: Tensor) -> Tensor:
    """Cross-entropy of the tokens that were masked.

    Args:
        states: States of the masked positions, ready for the decoder (positions, embedding_dim).
        decoder: Gives logits over the vocabulary (positions, vocab).
        tokens: What stood at the masked positions (positions,).

    Returns:
        The mean over positions, a scalar in fp32; 0 where nothing was masked.
    """
    total = cross_entropy(decoder(states).float(), tokens, reduction="sum")
    return total / max(len(tokens), 1)
