"""Masked language modelling in chunks against the naive form."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from xling_align.trainers.objectives import masked_lm, vocabulary

VOCAB, DIM = 61, 8


@pytest.fixture(autouse=True)
def small_steps(monkeypatch):
    """Cut even the tiny vocabulary of the tests into several products and scores."""
    monkeypatch.setattr(vocabulary, "COLUMNS", 16)
    monkeypatch.setattr(vocabulary, "SCORED", 3 * VOCAB)


def problem(rows: int = 23, bias: bool = True, dtype: torch.dtype = torch.float32):
    torch.manual_seed(0)
    states = torch.randn(rows, DIM, dtype=dtype, requires_grad=True)
    return states, nn.Linear(DIM, VOCAB, bias=bias, dtype=dtype), torch.randint(0, VOCAB, (rows,))


def gradients(loss, states, decoder):
    return torch.autograd.grad(loss, (states, *decoder.parameters()))


@pytest.mark.parametrize("chunk", [1, 7, 23, 100, None])
@pytest.mark.parametrize("bias", [True, False])
def test_equals_the_naive_form_in_value_and_gradient(chunk, bias):
    states, decoder, tokens = problem(bias=bias)
    ours, naive = masked_lm(states, decoder, tokens, chunk=chunk), cross_entropy(decoder(states), tokens)
    torch.testing.assert_close(ours, naive, atol=1e-5, rtol=1e-5)
    expected = gradients(naive, states, decoder)
    torch.testing.assert_close(gradients(3 * ours, states, decoder), tuple(3 * g for g in expected), atol=1e-5, rtol=0)


def test_under_autocast_the_loss_is_fp32_and_as_near_the_truth_as_the_naive_form():
    states, decoder, tokens = problem(200)
    exact = gradients(cross_entropy(decoder(states), tokens), states, decoder)
    with torch.autocast("cpu", torch.bfloat16):
        ours = masked_lm(states, decoder, tokens, chunk=50)
        naive = cross_entropy(decoder(states).float(), tokens)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, naive, atol=1e-3, rtol=0)
    found, theirs = gradients(ours, states, decoder), gradients(naive, states, decoder)
    for mine, other, truth in zip(found, theirs, exact, strict=True):
        assert mine.dtype == torch.float32
        assert (mine - truth).norm() <= 1.1 * (other - truth).norm()


def test_a_bf16_model_gets_bf16_gradients():
    states, decoder, tokens = problem(dtype=torch.bfloat16)
    found = gradients(masked_lm(states, decoder, tokens), states, decoder)
    assert {gradient.dtype for gradient in found} == {torch.bfloat16}
    assert all(gradient.isfinite().all() for gradient in found)


def test_processes_that_divide_by_the_total_sum_up_to_the_mean():
    states, decoder, tokens = problem()
    parts = [masked_lm(states[rows], decoder, tokens[rows], total=23) for rows in (slice(0, 9), slice(9, 23))]
    torch.testing.assert_close(sum(parts), masked_lm(states, decoder, tokens))
    expected = gradients(masked_lm(states, decoder, tokens), states, decoder)
    torch.testing.assert_close(gradients(sum(parts), states, decoder), expected)


def test_nothing_masked_is_zero_with_zero_gradients():
    states, decoder, _ = problem(0)
    loss = masked_lm(states, decoder, torch.zeros(0, dtype=torch.long))
    assert loss.item() == 0
    assert all((gradient == 0).all() for gradient in gradients(loss, states, decoder))


def test_a_frozen_decoder_passes_the_gradient_on():
    states, decoder, tokens = problem()
    decoder.requires_grad_(False)
    found = torch.autograd.grad(masked_lm(states, decoder, tokens), states)
    expected = torch.autograd.grad(cross_entropy(decoder(states), tokens), states)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_a_kept_graph_gives_the_same_gradients_again():
    states, decoder, tokens = problem()
    loss = masked_lm(states, decoder, tokens)
    first = torch.autograd.grad(2 * loss, (states, *decoder.parameters()), retain_graph=True)
    loss.backward(retain_graph=True)
    loss.backward()
    torch.testing.assert_close((states.grad, decoder.weight.grad, decoder.bias.grad), first)


def test_the_gradient_of_the_weight_is_handed_on_without_a_copy():
    states, decoder, tokens = problem()
    with torch.profiler.profile(profile_memory=True) as profile:
        masked_lm(states, decoder, tokens).backward()
    changes = [event.nbytes() for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    assert changes.count(4 * VOCAB * DIM) == 1


def test_no_tensor_is_larger_than_a_chunk_of_logits_or_the_weight():
    rows, chunk = 200, 10
    states, decoder, tokens = problem(rows)
    with torch.profiler.profile(profile_memory=True) as profile:
        masked_lm(states, decoder, tokens, chunk=chunk).backward()
    sizes = [event.nbytes() for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    assert max(sizes) <= 4 * max(chunk * VOCAB, VOCAB * DIM, rows * DIM) + 64
    assert max(sizes) < 4 * rows * VOCAB / 3


def test_without_gradient_no_gradient_is_held():
    states, decoder, tokens = problem()
    with torch.no_grad(), torch.profiler.profile(profile_memory=True) as profile:
        loss = masked_lm(states, decoder, tokens, chunk=1)
    sizes = [event.nbytes() for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    assert max(sizes) < 4 * VOCAB * DIM
    torch.testing.assert_close(loss, cross_entropy(decoder(states), tokens))
