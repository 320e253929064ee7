"""Eq. 13 in chunks against dense distributions."""

import math

import pytest
import torch
from torch import nn

from xling_align.trainers.objectives import vocabulary, word_distribution, word_distribution_per_token
from xling_align.trainers.objectives.word_distribution import smoothed_frequencies

VOCAB, DIM = 61, 8
LENGTHS = [4, 1, 7, 2, 5]  # positions of each sentence
WORDS = [[5, 6, 5], [9], [7, 8, 9, 10, 11, 60], [12, 12], [3, 13, 0]]  # what each is to predict


@pytest.fixture(autouse=True)
def small_steps(monkeypatch):
    """Cut even the tiny vocabulary of the tests into several products and scores."""
    monkeypatch.setattr(vocabulary, "COLUMNS", 16)
    monkeypatch.setattr(vocabulary, "SCORED", 3 * VOCAB)


def words() -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and their rows, in no order."""
    pairs = [(token, row) for row, tokens in enumerate(WORDS) for token in tokens]
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(1)).tolist()
    return tuple(torch.tensor([pairs[i][part] for i in order]) for part in (0, 1))


def decoder(dtype: torch.dtype = torch.float32) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(DIM, VOCAB, dtype=dtype)


def state_rows() -> torch.Tensor:
    return torch.arange(len(LENGTHS)).repeat_interleave(torch.tensor(LENGTHS))


def dense_target(alpha: float, special: tuple[int, ...] = ()) -> torch.Tensor:
    """p_true (rows, vocab)."""
    target = torch.zeros(len(WORDS), VOCAB)
    for row, tokens in enumerate(WORDS):
        kept = [token for token in tokens if token not in special]
        for token in range(VOCAB):
            target[row, token] = (kept.count(token) + alpha) / (len(kept) + alpha * VOCAB)
    return target


def naive_kl(log_q: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return nn.functional.kl_div(log_q, target, reduction="batchmean")


def assert_same(ours: torch.Tensor, naive: torch.Tensor, states: torch.Tensor, layer: nn.Linear) -> None:
    torch.testing.assert_close(ours, naive, atol=1e-5, rtol=1e-5)
    inputs = states, layer.weight, layer.bias
    expected = torch.autograd.grad(naive, inputs)
    torch.testing.assert_close(torch.autograd.grad(ours, inputs), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("alpha", [0.0, 1e-5, 1.0])
@pytest.mark.parametrize("chunk", [1, 2, None])
def test_equals_the_dense_form_in_value_and_gradient(alpha, chunk):
    layer, states = decoder(), torch.randn(5, DIM, requires_grad=True)
    ours = word_distribution(states, layer, *words(), alpha=alpha, chunk=chunk)
    assert_same(ours, naive_kl(layer(states).log_softmax(1), dense_target(alpha)), states, layer)


@pytest.mark.parametrize("alpha", [0.0, 1e-5, 1.0])
@pytest.mark.parametrize("chunk", [1, 6, None])
def test_per_token_equals_the_dense_form_in_value_and_gradient(alpha, chunk):
    layer, states = decoder(), torch.randn(sum(LENGTHS), DIM, requires_grad=True)
    ours = word_distribution_per_token(states, layer, state_rows(), *words(), alpha=alpha, chunk=chunk)
    q = torch.stack([part.mean(0) for part in layer(states).softmax(1).split(LENGTHS)])
    assert_same(ours, naive_kl(q.log(), dense_target(alpha)), states, layer)


def test_sentences_of_one_position_make_both_forms_equal():
    layer, states = decoder(), torch.randn(5, DIM)
    per_token = word_distribution_per_token(states, layer, torch.arange(5), *words())
    torch.testing.assert_close(per_token, word_distribution(states, layer, *words()))


def test_smoothed_frequencies_are_a_distribution_with_the_counts_in_it():
    targets = smoothed_frequencies(*words(), rows=5, vocab=VOCAB, alpha=0.1)
    torch.testing.assert_close(targets.mass(VOCAB), torch.ones(5))
    first = targets.part(0, 1)
    assert first.tokens.tolist() == [5, 6]
    torch.testing.assert_close(first.weights, torch.tensor([2.0, 1.0]) / (3 + 0.1 * VOCAB))


def test_special_tokens_are_smoothed_and_not_counted():
    layer, states = decoder(), torch.randn(5, DIM)
    ours = word_distribution(states, layer, *words(), alpha=0.1, special=torch.tensor([0, 3, 60]))
    naive = naive_kl(layer(states).log_softmax(1), dense_target(0.1, (0, 3, 60)))
    torch.testing.assert_close(ours, naive, atol=1e-5, rtol=1e-5)


def test_divergence_is_zero_where_the_prediction_is_right():
    layer = nn.Linear(VOCAB, VOCAB, bias=False)
    nn.init.eye_(layer.weight)
    for alpha in (1e-5, 1.0):
        right = dense_target(alpha).log()
        assert word_distribution(right, layer, *words(), alpha=alpha).item() == pytest.approx(0.0, abs=1e-5)


def test_uniform_prediction_of_one_word_costs_log_of_the_vocabulary():
    layer, state = nn.Linear(DIM, VOCAB, bias=False), torch.zeros(1, DIM)
    word, row = torch.tensor([9]), torch.tensor([0])
    assert word_distribution(state, layer, word, row, alpha=0.0).item() == pytest.approx(math.log(VOCAB), abs=1e-5)


def test_rows_without_a_token_count_as_zero():
    layer, states = decoder(), torch.randn(2, DIM, requires_grad=True)
    word, row = torch.tensor([9, 0]), torch.tensor([0, 1])
    both = word_distribution(states, layer, word, row, special=torch.tensor([0]))
    torch.testing.assert_close(2 * both, word_distribution(states[:1], layer, word[:1], row[:1]))
    assert torch.autograd.grad(both, states)[0][1].abs().max() == 0


def test_rows_without_a_position_count_as_zero():
    layer, states = decoder(), torch.randn(3, DIM)
    words, word_rows = torch.tensor([9, 8, 7, 6]), torch.tensor([0, 1, 2, 3])
    for state_rows in ([0, 0, 2], [2, 2, 2], [0, 0, 0]):
        found = word_distribution_per_token(states, layer, torch.tensor(state_rows), words, word_rows)
        alone = [
            word_distribution_per_token(
                part, layer, torch.zeros(len(part), dtype=torch.long), words[row : row + 1], word_rows[:1]
            )
            for row in set(state_rows)
            if len(part := states[torch.tensor(state_rows) == row])
        ]
        torch.testing.assert_close(4 * found, torch.stack(alone).sum())


def test_no_rows_and_no_positions_give_zero():
    none = torch.zeros(0, dtype=torch.long)
    assert word_distribution(torch.zeros(0, DIM), decoder(), none, none).item() == 0
    assert word_distribution_per_token(torch.zeros(0, DIM), decoder(), none, none, none).item() == 0
    word = torch.tensor([3])
    assert word_distribution_per_token(torch.zeros(0, DIM), decoder(), none, word, word).item() == 0


@pytest.mark.parametrize("size", [1.0, 1e3])
def test_bf16_and_far_off_predictions_stay_finite(size):
    layer = decoder(torch.bfloat16)
    states = (size * torch.randn(5, DIM)).bfloat16().requires_grad_()
    per_token = (size * torch.randn(sum(LENGTHS), DIM)).bfloat16().requires_grad_()
    loss = word_distribution(states, layer, *words())
    loss = loss + word_distribution_per_token(per_token, layer, state_rows(), *words())
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    for gradient in (states.grad, per_token.grad, layer.weight.grad):
        assert gradient.isfinite().all()
        assert gradient.abs().max() > 0


def test_autocast_gives_fp32_near_the_exact_value():
    layer, states = decoder(), torch.randn(5, DIM)
    with torch.autocast("cpu", torch.bfloat16):
        found = word_distribution(states, layer, *words())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, word_distribution(states, layer, *words()), atol=0.02, rtol=0)
