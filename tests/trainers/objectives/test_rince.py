"""RINCE against closed forms."""

import math

import pytest
import torch

from xling_align.trainers.objectives import PairVectors, rince, symmetric_infonce


def random_pairs(dtype: torch.dtype = torch.float32, **more) -> PairVectors:
    torch.manual_seed(0)
    return PairVectors.local(torch.randn(4, 6, dtype=dtype), torch.randn(4, 6, dtype=dtype), **more)


@pytest.mark.parametrize(("q", "lam", "tau"), [(0.5, 0.025, 0.5), (1.0, 0.5, 1.0), (0.1, 0.01, 0.2)])
def test_the_published_formula_term_by_term(q, lam, tau):
    pairs = random_pairs()
    cosine = torch.cosine_similarity(pairs.source.unsqueeze(1), pairs.target.unsqueeze(0), dim=2)
    total = 0.0
    for scores in (cosine, cosine.T):
        s = torch.exp(scores / tau)
        for row in range(4):
            total += (-(s[row, row] ** q) / q + (lam * s[row].sum()) ** q / q).item()
    assert rince(pairs, q, lam, tau).item() == pytest.approx(total / 8 * math.exp(-q / tau), rel=1e-4)


def test_towards_q_of_zero_its_gradient_is_that_of_infonce():
    pairs = random_pairs()
    pairs.source.requires_grad_()
    (one,) = torch.autograd.grad(rince(pairs, q=1e-4, lam=1.0, tau=0.5), pairs.source)
    (other,) = torch.autograd.grad(symmetric_infonce(pairs, tau=0.5), pairs.source)
    torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-2)


def test_a_pair_that_looks_wrong_has_a_smaller_gradient_than_under_infonce():
    cosine = torch.tensor([0.9, -0.9])
    source = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    target = torch.stack([torch.tensor([0.9, 0.0, 0.19**0.5]), torch.tensor([0.0, -0.9, 0.19**0.5])])
    torch.testing.assert_close(torch.cosine_similarity(source, target), cosine)

    def share_of_the_wrong_one(loss) -> float:
        moved = target.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(PairVectors.local(source, moved)), moved)
        return (gradient[1].norm() / gradient.norm(dim=1).sum()).item()

    assert share_of_the_wrong_one(lambda pairs: rince(pairs, 0.5, 0.025, 0.5)) < 0.5
    assert share_of_the_wrong_one(lambda pairs: symmetric_infonce(pairs, 0.5)) > 0.5


def test_rows_of_one_meaning_are_not_negatives():
    pairs = random_pairs()
    masked = PairVectors.local(pairs.source[:2], pairs.target[:2], torch.tensor([3, 3]))
    alone = [PairVectors.local(pairs.source[row : row + 1], pairs.target[row : row + 1]) for row in (0, 1)]
    torch.testing.assert_close(rince(masked), (rince(alone[0]) + rince(alone[1])) / 2)


def test_a_small_temperature_stays_finite():
    pairs = random_pairs()
    pairs.source.requires_grad_()
    value = rince(pairs, 0.5, 0.025, 0.01)
    value.backward()
    assert value.isfinite() and pairs.source.grad.isfinite().all()
