"""Losses: one per file, tensors in, scalar out, fp32 inside."""

from .infonce import false_negatives, infonce, symmetric_infonce
from .masked_lm import masked_lm

__all__ = ["false_negatives", "infonce", "masked_lm", "symmetric_infonce"]
