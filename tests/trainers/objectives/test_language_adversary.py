"""Eq. 1 in its forms."""

import math

import pytest
import torch

from xling_align.trainers.objectives import (
    binary_language_logits,
    language_confusion,
    language_cross_entropy,
    reversal_strength,
)


def test_binary_cross_entropy_is_the_papers_equation():
    scores = torch.tensor([0.3, -1.2, 2.0])  # f_D of a source text and of two target texts
    logits = torch.stack([scores, torch.zeros(3)], 1)
    log_sigmoid = torch.nn.functional.logsigmoid
    expected = -(log_sigmoid(scores[0]) + log_sigmoid(-scores[1]) + log_sigmoid(-scores[2])) / 3
    torch.testing.assert_close(language_cross_entropy(logits, torch.tensor([0, 1, 1])), expected)


def test_folding_keeps_the_source_languages_probability():
    torch.manual_seed(0)
    logits = torch.randn(5, 7)
    folded = binary_language_logits(logits, source_row=3).softmax(1)
    torch.testing.assert_close(folded[:, 0], logits.softmax(1)[:, 3])


def test_confusion_is_zero_only_where_all_allowed_languages_are_equally_likely():
    allowed = torch.tensor([False, True, True, False])
    uniform = torch.tensor([[-60.0, 5.0, 5.0, -60.0]])
    assert language_confusion(uniform, allowed).item() == pytest.approx(0.0, abs=1e-6)
    torch.manual_seed(0)
    for _ in range(20):
        assert language_confusion(torch.randn(3, 4), allowed).item() > 0.01


def test_confusion_is_the_divergence_from_uniform():
    torch.manual_seed(0)
    logits, allowed = torch.randn(3, 4), torch.tensor([False, True, True, True])
    q = logits.softmax(1)[:, 1:]
    expected = (1 / 3 * ((1 / 3) / q).log()).sum(1).mean()
    torch.testing.assert_close(language_confusion(logits, allowed), expected)


def test_confusion_pulls_towards_the_unlikely_languages():
    logits = torch.tensor([[0.0, 3.0, 0.0]], requires_grad=True)
    language_confusion(logits, torch.tensor([False, True, True])).backward()
    unknown, likely, unlikely = logits.grad[0].tolist()
    assert unlikely < 0 < unknown < likely


def test_a_batch_of_one_language_is_finite_in_bf16():
    logits = torch.randn(4, 3, dtype=torch.bfloat16, requires_grad=True)
    allowed = torch.tensor([False, True, False])
    binary = binary_language_logits(logits, 1)
    loss = language_cross_entropy(logits, torch.ones(4, dtype=torch.long)) + language_confusion(logits, allowed)
    loss = loss + language_confusion(binary, torch.tensor([True, True]))
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


def test_reversal_grows_from_nothing():
    assert reversal_strength(0.5) == pytest.approx(math.tanh(2.5))  # the same function
    strengths = [reversal_strength(step / 10) for step in range(11)]
    assert strengths[0] == 0
    assert strengths == sorted(strengths)
