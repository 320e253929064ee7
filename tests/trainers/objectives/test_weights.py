"""Weights of the pairs: sum w l / sum w, a weight of 0 is no positive, and all alike is as without weights."""

import pytest
import torch
from torch.nn import Linear

from tests.trainers.objectives.pair_losses import LOSSES, batch
from xling_align.trainers.objectives import (
    PairVectors,
    additive_margin,
    infonce,
    intra_similarity,
    masked_lm,
    momentum_contrast,
    multi_positive,
    paper_intra_similarity,
    rince,
    sigmoid_loss,
    symmetric_infonce,
    word_distribution,
    word_distribution_per_token,
)

WEIGHTS = torch.tensor([0.5, 0.0, 1.0, 0.2, 0.0, 0.7])


@pytest.mark.parametrize("loss", LOSSES)
def test_equal_weights_are_as_none(loss):
    torch.testing.assert_close(
        loss(PairVectors.local(*batch(), torch.full((6,), 0.3))), loss(PairVectors.local(*batch()))
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_halves_average_to_the_whole_with_the_same_gradient(loss):
    source, target, ids = batch()
    weights = WEIGHTS / WEIGHTS.mean()

    def half(first: int) -> PairVectors:
        rows = slice(first, first + 3)
        return PairVectors(source[rows], target[rows], ids[rows], source, target, ids, first, weights)

    whole = loss(PairVectors.local(source, target, ids, WEIGHTS))
    mean = (loss(half(0)) + loss(half(3))) / 2
    torch.testing.assert_close(mean, whole)
    expected = torch.autograd.grad(whole, (source, target))
    torch.testing.assert_close(torch.autograd.grad(mean, (source, target)), expected)
    assert not torch.allclose(whole, loss(PairVectors.local(source, target, ids)))


def test_infonce_is_the_weighted_mean_of_its_queries():
    source, target, ids = batch()
    pairs = PairVectors.local(source, target, ids, WEIGHTS)
    sides = ((source, target), (target, source))
    each = sum(infonce(queries, keys, torch.arange(6), 0.05, pairs.masked) for queries, keys in sides) / 2
    torch.testing.assert_close(symmetric_infonce(pairs), (WEIGHTS * each).sum() / WEIGHTS.sum())


@pytest.mark.parametrize("loss", [symmetric_infonce, additive_margin, sigmoid_loss, rince])
def test_a_dropped_pair_stays_a_negative_of_other_meanings_only(loss):
    source, target, ids = batch()
    (gradient,) = torch.autograd.grad(loss(PairVectors.local(source, target, ids, WEIGHTS)), target)
    assert gradient[1].abs().sum() > 0
    same = torch.zeros(6, dtype=torch.long)
    only_first = torch.tensor([1.0, 0, 0, 0, 0, 0])
    (gradient,) = torch.autograd.grad(loss(PairVectors.local(source, target, same, only_first)), target)
    assert gradient[1:].abs().sum() == 0


@pytest.mark.parametrize("loss", [intra_similarity, paper_intra_similarity])
def test_similarities_within_a_language_leave_dropped_pairs_out(loss):
    source, target, ids = batch()
    kept = torch.tensor([0, 2, 3])
    weights = torch.zeros(6).index_fill(0, kept, 1.0)
    torch.testing.assert_close(
        loss(PairVectors.local(source, target, ids, weights)),
        loss(PairVectors.local(source[kept], target[kept], ids[kept])),
    )


def test_a_dropped_translation_is_no_positive_and_no_negative_of_its_meaning():
    source, target, _ = batch()
    ids, weights = torch.tensor([1, 1, 2]), torch.tensor([1.0, 0.0, 1.0])
    pairs = PairVectors.local(source[:3], target[:3], ids, weights)
    moved = target[:3].detach().clone()
    moved[1] = -moved[1]  # its own query's weight is 0, and row 0 does not see it
    only_row_0 = PairVectors.local(source[:3], moved, ids, torch.tensor([1.0, 0.0, 0.0]))
    before = PairVectors.local(source[:3], target[:3], ids, torch.tensor([1.0, 0.0, 0.0]))
    torch.testing.assert_close(multi_positive(only_row_0), multi_positive(before))
    assert multi_positive(pairs).isfinite()


def test_all_pairs_dropped_is_a_loss_of_zero():
    source, target, ids = batch()
    for loss in (symmetric_infonce, additive_margin, intra_similarity, rince):
        whole = PairVectors(source, target, ids, source, target, ids, 0, torch.zeros(6))
        value = loss(whole)
        assert value.item() == 0
        assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(value, (source, target)))


def test_momentum_contrast_weighs_its_queries():
    torch.manual_seed(0)
    queries, keys, queue = torch.randn(3, 4), torch.randn(3, 4), torch.randn(5, 4)
    weights = torch.tensor([2.0, 0.0, 1.0])
    found = momentum_contrast(queries, keys, queue, weights=weights)
    each = [momentum_contrast(queries[row : row + 1], keys[row : row + 1], queue) for row in range(3)]
    torch.testing.assert_close(found, (2 * each[0] + each[2]) / 3)


def test_only_the_hardest_negatives_that_are_not_too_near_count():
    query = torch.tensor([[1.0, 0.0]])
    angles = torch.tensor([0.1, 0.5, 1.0, 1.5, 3.0])
    queue = torch.stack([angles.cos(), angles.sin()], 1)
    key = torch.tensor([[0.9, 0.19**0.5]])  # cosine 0.9: above 0.855 is too near, which takes 0.1 and 0.5 out
    found = momentum_contrast(query, key, queue, 1.0, hardest=2)
    torch.testing.assert_close(found, momentum_contrast(query, key, queue[2:4], 1.0))
    assert momentum_contrast(query, key, queue, 1.0, hardest=9) < momentum_contrast(query, key, queue, 1.0)


def test_a_masked_word_counts_by_its_weight():
    torch.manual_seed(0)
    states, decoder, tokens = torch.randn(3, 4, requires_grad=True), Linear(4, 8), torch.tensor([1, 5, 7])
    weights = torch.tensor([2.0, 0.0, 0.5])
    found = masked_lm(states, decoder, tokens, weights=weights)
    logits = decoder(states)
    each = torch.nn.functional.cross_entropy(logits, tokens, reduction="none")
    expected = (weights * each).sum() / weights.sum()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, states), torch.autograd.grad(expected, states))


@pytest.mark.parametrize("per_token", [False, True])
def test_a_word_distribution_counts_by_its_weight(per_token):
    torch.manual_seed(0)
    states, decoder = torch.randn(2, 4, requires_grad=True), Linear(4, 8)
    tokens, token_rows, weights = torch.tensor([1, 5, 7]), torch.tensor([0, 1, 1]), torch.tensor([1.5, 0.5])

    def loss(**more):
        if per_token:
            return word_distribution_per_token(states, decoder, torch.arange(2), tokens, token_rows, 0.1, **more)
        return word_distribution(states, decoder, tokens, token_rows, 0.1, **more)

    each = [loss(weights=torch.eye(2)[row]) for row in range(2)]
    torch.testing.assert_close(each[0] + each[1], loss())
    weighted = loss(weights=weights)
    torch.testing.assert_close(weighted, 1.5 * each[0] + 0.5 * each[1])
    (gradient,) = torch.autograd.grad(weighted, states)
    parts = [torch.autograd.grad(part, states)[0] for part in each]
    torch.testing.assert_close(gradient, 1.5 * parts[0] + 0.5 * parts[1])
    assert parts[0][1].abs().sum() == 0
