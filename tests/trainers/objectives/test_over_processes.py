"""Every loss over pairs: two processes with half the batch each average to one process with all of it."""

import pytest
import torch

from tests.trainers.objectives.pair_losses import LOSSES, batch
from xling_align.trainers.objectives import PairVectors


def half(source: torch.Tensor, target: torch.Tensor, ids: torch.Tensor, first: int) -> PairVectors:
    rows = slice(first, first + 3)
    return PairVectors(source[rows], target[rows], ids[rows], source, target, ids, first)


@pytest.mark.parametrize("loss", LOSSES)
def test_halves_average_to_the_whole_with_the_same_gradient(loss):
    source, target, ids = batch()
    whole = loss(PairVectors.local(source, target, ids))
    mean = (loss(half(source, target, ids, 0)) + loss(half(source, target, ids, 3))) / 2
    torch.testing.assert_close(mean, whole)
    expected = torch.autograd.grad(whole, (source, target))
    torch.testing.assert_close(torch.autograd.grad(mean, (source, target)), expected)
    assert expected[0].abs().max() > 1e-4


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_input_gives_a_finite_fp32_loss(loss, dtype):
    source, target, ids = batch(dtype)
    value = loss(PairVectors.local(source, target, ids))
    value.backward()
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert source.grad.isfinite().all()
    assert target.grad.isfinite().all()


@pytest.mark.parametrize("loss", LOSSES)
def test_one_pair_and_one_meaning_give_a_finite_gradient(loss):
    for pairs, ids in ((1, None), (4, torch.zeros(4, dtype=torch.long))):
        source, target = (torch.randn(pairs, 5, requires_grad=True) for _ in range(2))
        value = loss(PairVectors.local(source, target, ids))
        value.backward()
        assert value.isfinite()
        assert source.grad.isfinite().all()
