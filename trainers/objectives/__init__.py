"""Losses: one per file, tensors in, scalar out, fp32 inside."""

from .infonce import false_negatives, infonce, symmetric_infonce

__all__ = ["false_negatives", "infonce", "symmetric_infonce"]
