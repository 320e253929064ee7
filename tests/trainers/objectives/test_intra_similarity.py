"""Eq. 8: closed forms, the paper's expression, and gradients up to the end."""

import math

import pytest
import torch

from xling_align.trainers.objectives import PairVectors, intra_similarity, paper_intra_similarity
from xling_align.trainers.objectives.intra_similarity import negative_log_cosine


def test_languages_with_the_same_geometry_have_distance_zero():
    torch.manual_seed(0)
    source = torch.randn(6, 5)
    turned = source @ torch.linalg.qr(torch.randn(5, 5)).Q
    assert intra_similarity(PairVectors.local(source, turned)).item() == pytest.approx(0.0, abs=1e-6)
    assert intra_similarity(PairVectors.local(source, torch.randn(6, 5))).item() > 0.1


def test_three_texts_by_hand():
    source, target = torch.eye(3), torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    share = 1 / (1 + math.exp(-1))  # of the equal neighbour, at tau 1; among orthogonal ones each has a half
    row = -2 * math.log(math.cos(math.pi / 2 * (share - 0.5)))
    found = intra_similarity(PairVectors.local(source, target), tau=1.0)
    assert found.item() == pytest.approx(2 / 3 * row, rel=1e-5)  # the third row is (1/2, 1/2) in both


def test_stable_form_is_the_papers_expression_on_the_same_distributions():
    torch.manual_seed(0)
    p, q = (3 * torch.randn(2, 12, 12, dtype=torch.float64)).softmax(2)
    expected = -torch.cos(math.pi / 2 * (p - q)).log()
    assert (p - q).abs().max() > 0.5
    torch.testing.assert_close(negative_log_cosine(p - q).double(), expected, atol=1e-6, rtol=1e-5)


def test_value_and_gradient_are_finite_at_every_gap():
    gap = torch.cat([torch.linspace(-1, 1, 2001), torch.tensor([1 - 2**-24, -1 + 2**-24])]).requires_grad_()
    value = negative_log_cosine(gap)
    value.sum().backward()
    assert value.isfinite().all()
    assert gap.grad.isfinite().all()


def test_gradient_grows_up_to_the_floor():
    gap = torch.tensor([0.1, 0.5, 0.9, 0.99, 0.999, 0.9999], requires_grad=True)
    negative_log_cosine(gap).sum().backward()
    expected = math.pi / 2 * torch.tan(math.pi / 2 * gap.detach().double())
    torch.testing.assert_close(gap.grad.double(), expected, rtol=1e-3, atol=0)


def test_opposite_one_hot_distributions_stay_finite_in_both_forms():
    source = 100 * torch.eye(3)[[0, 0, 1, 1]]
    target = 100 * torch.eye(3)[[0, 1, 0, 1]]
    for loss in (lambda pairs: intra_similarity(pairs, tau=1e-3), paper_intra_similarity):
        sides = source.clone().requires_grad_(), target.clone().requires_grad_()
        value = loss(PairVectors.local(*sides))
        value.backward()
        assert value.isfinite()
        assert value > 0.5
        assert all(side.grad.isfinite().all() for side in sides)


def test_the_papers_largest_gap_is_finite_where_its_printed_form_is_not():
    pairs = PairVectors.local(torch.tensor([[99.0, 0.0], [0.0, 99.0]]), torch.tensor([[0.0, 99.0], [99.0, 0.0]]))
    assert paper_intra_similarity(pairs).item() == pytest.approx(0.0, abs=1e-6)  # the diagonal wins in both
    one_sided = PairVectors.local(torch.tensor([[9.0], [999.0]]), torch.tensor([[999.0], [9.0]]))
    assert torch.cos(torch.tensor(math.pi / 2)).log().isnan()
    assert paper_intra_similarity(one_sided).isfinite()


def test_rows_of_one_meaning_stay_neighbours():
    torch.manual_seed(0)
    source, target = torch.randn(4, 3), torch.randn(4, 3)
    same = PairVectors.local(source, target, torch.zeros(4, dtype=torch.long))
    torch.testing.assert_close(intra_similarity(same), intra_similarity(PairVectors.local(source, target)))


def test_in_high_dimensions_ours_learns_where_the_papers_form_is_dead():
    torch.manual_seed(0)
    sides = [torch.randn(32, 768, requires_grad=True) for _ in range(2)]
    pairs = PairVectors.local(*sides)
    ours = torch.autograd.grad(intra_similarity(pairs), sides[0])[0].abs().max()
    papers = torch.autograd.grad(paper_intra_similarity(pairs), sides[0])[0].abs().max()
    assert papers < 1e-9 < 1e-6 < ours
