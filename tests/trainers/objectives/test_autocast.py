"""Every loss over sentences is computed in fp32, also where its caller computes in bf16."""

import pytest
import torch

from xling_align.trainers.objectives import (
    PairVectors,
    additive_margin,
    intra_similarity,
    momentum_contrast,
    multi_positive,
    paper_infonce,
    paper_intra_similarity,
    rince,
    sigmoid_loss,
    symmetric_infonce,
)


def momentum(pairs: PairVectors) -> torch.Tensor:
    return momentum_contrast(pairs.source, pairs.target, pairs.source.roll(1, 0), hardest=2)


LOSSES = [
    symmetric_infonce,
    additive_margin,
    sigmoid_loss,
    multi_positive,
    rince,
    intra_similarity,
    paper_infonce,
    paper_intra_similarity,
    momentum,
]


@pytest.mark.parametrize("loss", LOSSES)
def test_autocast_changes_neither_value_nor_gradient(loss):
    torch.manual_seed(0)
    source, target = (torch.randn(6, 5, requires_grad=True) for _ in range(2))
    pairs = PairVectors.local(source, target, torch.tensor([1, 2, 3, 1, 4, 5]))
    plain = loss(pairs)
    with torch.autocast("cpu", torch.bfloat16):
        cast = loss(pairs)
    assert cast.dtype == torch.float32 and torch.equal(cast, plain)
    assert torch.equal(torch.autograd.grad(cast, source)[0], torch.autograd.grad(plain, source)[0])
