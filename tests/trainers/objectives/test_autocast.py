"""Every loss over sentences is computed in fp32, also where its caller computes in bf16."""

import pytest
import torch

from tests.trainers.objectives.pair_losses import LOSSES, batch
from xling_align.trainers.objectives import PairVectors, momentum_contrast


def momentum(pairs: PairVectors) -> torch.Tensor:
    return momentum_contrast(pairs.source, pairs.target, pairs.source.roll(1, 0), hardest=2)


@pytest.mark.parametrize("loss", [*LOSSES, momentum])
def test_autocast_changes_neither_value_nor_gradient(loss):
    source, target, ids = batch()
    pairs = PairVectors.local(source, target, ids)
    plain = loss(pairs)
    with torch.autocast("cpu", torch.bfloat16):
        cast = loss(pairs)
    assert cast.dtype == torch.float32 and torch.equal(cast, plain)
    assert torch.equal(torch.autograd.grad(cast, source)[0], torch.autograd.grad(plain, source)[0])
