"""The pairwise sigmoid loss against closed forms."""

import math

import pytest
import torch

from xling_align.trainers.objectives import PairVectors, sigmoid_loss


def test_siglip_formula_term_by_term():
    torch.manual_seed(0)
    source, target = torch.randn(3, 4), torch.randn(3, 4)
    cosine = torch.cosine_similarity(source.unsqueeze(1), target.unsqueeze(0), dim=2)
    total = 0.0
    for i in range(3):
        for j in range(3):
            z = 1 if i == j else -1
            total -= math.log(1 / (1 + math.exp(-z * (2 * cosine[i, j].item() - 0.5))))
    pairs = PairVectors.local(source, target)
    assert sigmoid_loss(pairs, logit_scale=2.0, bias=-0.5).item() == pytest.approx(total / 3, rel=1e-5)


def test_rows_of_one_meaning_are_left_out():
    vectors = torch.eye(2)
    alone = PairVectors.local(vectors, vectors, torch.tensor([4, 4]))
    assert sigmoid_loss(alone, 1.0, 0.0).item() == pytest.approx(math.log(1 + math.exp(-1)), abs=1e-6)


def test_swapping_the_sides_changes_nothing():
    torch.manual_seed(0)
    source, target = torch.randn(5, 4), torch.randn(5, 4)
    there, back = PairVectors.local(source, target), PairVectors.local(target, source)
    torch.testing.assert_close(sigmoid_loss(there), sigmoid_loss(back))


def test_scale_and_bias_get_gradients():
    torch.manual_seed(0)
    scale, bias = torch.tensor(10.0, requires_grad=True), torch.tensor(-10.0, requires_grad=True)
    sigmoid_loss(PairVectors.local(torch.randn(5, 4), torch.randn(5, 4)), scale, bias).backward()
    assert bias.grad < -0.5  # the positives ask for a higher one
    assert scale.grad.abs() > 1e-3
