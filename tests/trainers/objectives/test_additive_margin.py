"""The additive margin softmax against closed forms."""

import math

import pytest
import torch

from xling_align.trainers.objectives import PairVectors, additive_margin, symmetric_infonce


def random_pairs() -> PairVectors:
    torch.manual_seed(0)
    return PairVectors.local(torch.randn(6, 5), torch.randn(6, 5), torch.tensor([1, 2, 3, 1, 4, 5]))


def test_without_a_margin_it_is_infonce():
    pairs = random_pairs()
    torch.testing.assert_close(additive_margin(pairs, margin=0.0, tau=0.05), symmetric_infonce(pairs, tau=0.05))


def test_two_orthogonal_pairs_by_hand():
    pairs = PairVectors.local(torch.eye(2), torch.eye(2))
    expected = math.log(1 + math.exp(-(1 - 0.3) / 0.1))
    assert additive_margin(pairs).item() == pytest.approx(expected, rel=1e-4)


def test_labse_formula_term_by_term():
    pairs = random_pairs()
    unit = torch.nn.functional.normalize
    cosine = unit(pairs.source, dim=1) @ unit(pairs.target, dim=1).T
    total = 0.0
    for scores in (cosine, cosine.T):
        for i in range(6):
            positive = math.exp((scores[i, i].item() - 0.3) / 0.1)
            others = [n for n in range(6) if pairs.pair_ids[n] != pairs.pair_ids[i]]
            total -= math.log(positive / (positive + sum(math.exp(scores[i, n].item() / 0.1) for n in others)))
    assert additive_margin(pairs, 0.3, 0.1).item() == pytest.approx(total / 12, rel=1e-5)


def test_a_margin_costs_at_most_margin_over_tau():
    pairs = random_pairs()
    cost = additive_margin(pairs, 0.3, 0.1) - additive_margin(pairs, 0.0, 0.1)
    assert 0 < cost.item() < 0.3 / 0.1
