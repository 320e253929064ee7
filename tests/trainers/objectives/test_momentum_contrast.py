"""Contrast against a queue, against closed forms."""

import math

import pytest
import torch

from xling_align.trainers.objectives import momentum_contrast


def test_equal_vectors_give_log_of_the_queue_and_one():
    found = momentum_contrast(torch.ones(3, 4), torch.ones(3, 4), torch.ones(7, 4))
    assert found.item() == pytest.approx(math.log(8), abs=1e-6)


def test_infoxlm_formula_term_by_term():
    torch.manual_seed(0)
    queries, keys, queue = torch.randn(3, 4), torch.randn(3, 4), torch.randn(5, 4)
    total = 0.0
    for query, key in zip(queries, keys, strict=True):
        positive = math.exp((query @ key).item() / 0.25)
        total -= math.log(positive / (positive + sum(math.exp(s / 0.25) for s in (queue @ query).tolist())))
    found = momentum_contrast(queries, keys, queue, 0.25, normalized=False)
    assert found.item() == pytest.approx(total / 3, rel=1e-5)


def test_by_cosine_length_does_not_matter():
    torch.manual_seed(0)
    queries, keys, queue = torch.randn(3, 4), torch.randn(3, 4), torch.randn(5, 4)
    scaled = momentum_contrast(2 * queries, 3 * keys, 4 * queue)
    torch.testing.assert_close(scaled, momentum_contrast(queries, keys, queue))


def test_masked_keys_are_as_if_they_were_not_there():
    torch.manual_seed(0)
    queries, keys, queue = torch.randn(3, 4), torch.randn(3, 4), torch.randn(5, 4)
    masked = torch.zeros(3, 5, dtype=torch.bool)
    masked[:, 2:] = True
    torch.testing.assert_close(
        momentum_contrast(queries, keys, queue, masked=masked), momentum_contrast(queries, keys, queue[:2])
    )


def test_only_queries_get_a_gradient():
    queries, keys, queue = (torch.randn(3, 4, requires_grad=True) for _ in range(3))
    momentum_contrast(queries, keys, queue).backward()
    assert queries.grad.abs().max() > 0
    assert keys.grad is None
    assert queue.grad is None


def test_an_empty_queue_and_bf16_are_finite():
    queries = torch.randn(3, 4, dtype=torch.bfloat16, requires_grad=True)
    loss = momentum_contrast(queries, queries, torch.zeros(0, 4, dtype=torch.bfloat16))
    loss.backward()
    assert loss.item() == 0
    assert loss.dtype == torch.float32
    assert queries.grad.isfinite().all()
