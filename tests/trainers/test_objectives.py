"""Losses against closed forms."""

import math

import pytest
import torch

from xling_align.trainers.objectives import false_negatives, infonce, symmetric_infonce


def test_equal_vectors_give_log_of_the_batch():
    vectors = torch.ones(8, 4)
    assert symmetric_infonce(vectors, vectors).item() == pytest.approx(math.log(8), abs=1e-6)


def test_two_orthogonal_pairs_by_hand():
    vectors = torch.eye(2)
    expected = math.log(1 + math.exp(-1 / 0.5))
    assert symmetric_infonce(vectors, vectors, tau=0.5).item() == pytest.approx(expected, abs=1e-6)


def test_length_of_vectors_does_not_matter():
    torch.manual_seed(0)
    source, target = torch.randn(6, 5), torch.randn(6, 5)
    scaled = symmetric_infonce(3 * source, 0.1 * target)
    torch.testing.assert_close(scaled, symmetric_infonce(source, target))


def test_both_directions_count():
    source = torch.tensor([[1.0, 0.0], [1.0, 0.1]])
    target = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    row = torch.arange(2)
    forward, backward = infonce(source, target, row, 0.1), infonce(target, source, row, 0.1)
    assert forward.item() != pytest.approx(backward.item(), abs=1e-3)
    torch.testing.assert_close(symmetric_infonce(source, target, 0.1), (forward + backward) / 2)


def test_rows_of_one_meaning_are_not_negatives():
    torch.manual_seed(0)
    source, target = torch.randn(3, 4), torch.randn(3, 4)
    masked = symmetric_infonce(source, target, pair_ids=torch.tensor([7, 7, 8]))
    normal = torch.nn.functional.normalize
    logits = normal(source, dim=1) @ normal(target, dim=1).T / 0.05
    rows = [[0, 2], [1, 2], [0, 1, 2]]
    total = 0.0
    for scores in (logits, logits.T):
        total += sum(scores[i, kept].logsumexp(0) - scores[i, i] for i, kept in enumerate(rows))
    torch.testing.assert_close(masked, total / 6)


def test_false_negatives_spare_the_positive():
    found = false_negatives(torch.tensor([1, 1, 2]), torch.tensor([1, 1, 2]), torch.arange(3))
    assert found.tolist() == [[False, True, False], [True, False, False], [False, False, False]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_input_gives_a_finite_fp32_loss(dtype):
    torch.manual_seed(0)
    source = torch.randn(16, 8, dtype=dtype, requires_grad=True)
    loss = symmetric_infonce(source, source.detach(), tau=0.01)
    loss.backward()
    assert loss.dtype == torch.float32
    assert source.grad.isfinite().all()


def test_local_rows_against_all_columns_average_to_the_whole_batch():
    torch.manual_seed(0)
    source, target = torch.randn(6, 5, requires_grad=True), torch.randn(6, 5, requires_grad=True)
    ids = torch.tensor([1, 2, 3, 1, 4, 5])
    whole = symmetric_infonce(source, target, pair_ids=ids)
    halves = [
        symmetric_infonce(source[i : i + 3], target[i : i + 3], 0.05, ids[i : i + 3], source, target, ids, first=i)
        for i in (0, 3)
    ]
    torch.testing.assert_close(sum(halves) / 2, whole)
    expected = torch.autograd.grad(whole, (source, target))
    torch.testing.assert_close(torch.autograd.grad(sum(halves) / 2, (source, target)), expected)
