"""What the tests of all losses over pairs share: the losses, and a batch in which one meaning occurs twice."""

import torch

from xling_align.trainers.objectives import (
    additive_margin,
    intra_similarity,
    multi_positive,
    paper_infonce,
    paper_intra_similarity,
    rince,
    sigmoid_loss,
    symmetric_infonce,
)

LOSSES = [
    symmetric_infonce,
    additive_margin,
    sigmoid_loss,
    multi_positive,
    rince,
    intra_similarity,
    paper_infonce,
    paper_intra_similarity,
]


def batch(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    source, target = (torch.randn(6, 5, dtype=dtype, requires_grad=True) for _ in range(2))
    return source, target, torch.tensor([1, 2, 3, 1, 4, 5])
