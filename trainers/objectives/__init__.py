"""Losses: one per file, tensors in, scalar out, fp32 inside."""

from .additive_margin import additive_margin
from .infonce import infonce, paper_infonce, symmetric_infonce
from .intra_similarity import intra_similarity, paper_intra_similarity
from .language_adversary import (
    binary_language_logits,
    language_confusion,
    language_cross_entropy,
    reversal_strength,
)
from .masked_lm import masked_lm
from .momentum_contrast import momentum_contrast
from .multi_positive import multi_positive
from .pair_vectors import PairVectors
from .rince import rince
from .sigmoid import sigmoid_loss
from .word_distribution import word_distribution, word_distribution_per_token

__all__ = [
    "PairVectors",
    "additive_margin",
    "binary_language_logits",
    "infonce",
    "intra_similarity",
    "language_confusion",
    "language_cross_entropy",
    "masked_lm",
    "momentum_contrast",
    "multi_positive",
    "paper_infonce",
    "paper_intra_similarity",
    "reversal_strength",
    "rince",
    "sigmoid_loss",
    "symmetric_infonce",
    "word_distribution",
    "word_distribution_per_token",
]
