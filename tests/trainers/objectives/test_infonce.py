"""InfoNCE against closed forms."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from xling_align.trainers.objectives import PairVectors, infonce, paper_infonce, symmetric_infonce

local = PairVectors.local


def test_equal_vectors_give_log_of_the_batch():
    vectors = torch.ones(8, 4)
    assert symmetric_infonce(local(vectors, vectors)).item() == pytest.approx(math.log(8), abs=1e-6)


def test_two_orthogonal_pairs_by_hand():
    vectors = torch.eye(2)
    expected = math.log(1 + math.exp(-1 / 0.5))
    assert symmetric_infonce(local(vectors, vectors), tau=0.5).item() == pytest.approx(expected, abs=1e-6)


def test_length_of_vectors_does_not_matter():
    torch.manual_seed(0)
    source, target = torch.randn(6, 5), torch.randn(6, 5)
    scaled = symmetric_infonce(local(3 * source, 0.1 * target))
    torch.testing.assert_close(scaled, symmetric_infonce(local(source, target)))


def test_both_directions_count():
    source = torch.tensor([[1.0, 0.0], [1.0, 0.1]])
    target = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    row = torch.arange(2)
    forward, backward = (infonce(*sides, row, 0.1).mean() for sides in ((source, target), (target, source)))
    assert forward.item() != pytest.approx(backward.item(), abs=1e-3)
    torch.testing.assert_close(symmetric_infonce(local(source, target), 0.1), (forward + backward) / 2)


def test_rows_of_one_meaning_are_not_negatives():
    torch.manual_seed(0)
    source, target = torch.randn(3, 4), torch.randn(3, 4)
    masked = symmetric_infonce(local(source, target, torch.tensor([7, 7, 8])))
    logits = normalize(source, dim=1) @ normalize(target, dim=1).T / 0.05
    rows = [[0, 2], [1, 2], [0, 1, 2]]
    total = 0.0
    for scores in (logits, logits.T):
        total += sum(scores[i, kept].logsumexp(0) - scores[i, i] for i, kept in enumerate(rows))
    torch.testing.assert_close(masked, total / 6)


def test_the_temperature_gets_a_gradient():
    torch.manual_seed(0)
    tau = torch.tensor(0.1, requires_grad=True)
    symmetric_infonce(local(torch.randn(4, 3), torch.randn(4, 3)), tau).backward()
    assert tau.grad.abs() > 0.1


def test_the_papers_form_term_by_term():
    torch.manual_seed(0)
    source, target = torch.randn(3, 4), torch.randn(3, 4)
    dots, total = (source @ target.T).tolist(), 0.0
    for i in range(3):
        total -= math.log(math.exp(dots[i][i]) / sum(math.exp(dots[i][j]) for j in range(3)))
        total -= math.log(math.exp(dots[i][i]) / sum(math.exp(dots[j][i]) for j in range(3)))
    assert paper_infonce(local(source, target)).item() == pytest.approx(total / 3, rel=1e-5)
