"""Quick dropout has the law of the plain one."""

import pytest
import torch
from torch import nn

from xling_align.trainers.fast_cpu import QuickDropout, quick_dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_share_of_zeros_scale_and_gradient_are_those_of_dropout(p):
    torch.manual_seed(0)
    states = torch.randn(333, 301, requires_grad=True)
    out = quick_dropout(states, p)
    kept = out != 0
    torch.testing.assert_close(kept.float().mean().item(), 1 - p, atol=6e-3, rtol=0)
    torch.testing.assert_close(out[kept], states[kept] / (1 - p), atol=1e-4, rtol=1e-3)
    out.sum().backward()
    torch.testing.assert_close(states.grad, kept / (1 - p), atol=1e-4, rtol=1e-3)


def test_places_are_drawn_independently():
    torch.manual_seed(0)
    kept = (quick_dropout(torch.ones(1000, 64), 0.3) != 0).double()
    assert torch.corrcoef(kept.T).triu(1).abs().max() < 0.15
    assert (kept.mean(0) - 0.7).abs().max() < 0.07


def test_extreme_rates_and_evaluation():
    states = torch.randn(5, 3)
    assert quick_dropout(states, 0.0) is states
    assert quick_dropout(states, 0.5, training=False) is states
    assert not quick_dropout(states, 1.0).any()


def test_the_context_replaces_dropout_of_modules_and_follows_the_seed():
    module = nn.Sequential(nn.Dropout(0.25), nn.Linear(4, 4, bias=False))
    nn.init.eye_(module[1].weight)
    states = torch.ones(64, 4)
    with QuickDropout():
        torch.manual_seed(3)
        first = module(states)
        torch.manual_seed(3)
        second = module(states)
    torch.manual_seed(3)
    expected = quick_dropout(states, 0.25)
    assert torch.equal(first, second)
    assert torch.equal(first, expected)
    assert torch.equal(module.eval()(states), states)
