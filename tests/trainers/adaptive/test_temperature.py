"""Temperatures and the fading regulariser, against closed forms."""

import math

import pytest
import torch

from xling_align.trainers.adaptive.arguments import AdaptiveArguments
from xling_align.trainers.adaptive.regulariser import AlignmentRegulariser
from xling_align.trainers.adaptive.similarities import BatchSimilarities
from xling_align.trainers.adaptive.temperature import Temperature
from xling_align.trainers.objectives import PairVectors, symmetric_infonce
from xling_align.trainers.objectives.infonce import easy_as_hard

LIMITS = {"tau_min": 0.02, "tau_max": 0.2, "tau_alpha": 0.5}


def temperature(policy: str, progress: float = 0.0, tau: float = 0.1, **settings) -> Temperature:
    return Temperature(AdaptiveArguments(temperature=policy, **{**LIMITS, **settings}), tau, lambda: progress)


def batch_at(cosine: float) -> BatchSimilarities:
    """Two pairs, each with this cosine and at right angles to the other."""
    rest = (1 - cosine**2) ** 0.5
    source = torch.eye(4)[:2]
    target = torch.tensor([[cosine, 0, rest, 0], [0, cosine, 0, rest]])
    return BatchSimilarities.of(PairVectors.local(source, target))


def test_fixed_is_the_number_itself():
    assert temperature("fixed", 0.7)() == 0.1


@pytest.mark.parametrize(("progress", "expected"), [(0.0, 0.2), (0.5, 0.11), (1.0, 0.02)])
def test_cosine_falls_over_half_a_period(progress, expected):
    assert temperature("cosine", progress)() == pytest.approx(expected)


def test_macl_rises_with_the_batchs_alignment():
    policy = temperature("macl")
    policy.update(batch_at(0.6))
    assert policy() == pytest.approx(0.1 * (1 + 0.5 * 0.6))


def test_macl_takes_the_factor_of_easy_queries_out_of_the_gradient():
    """d/ds of -log P is P - 1 over tau; reweighted it is -1 over tau, whatever P is."""
    for score in (0.1, 3.0):
        logit = torch.tensor(score, requires_grad=True)
        loss = torch.nn.functional.softplus(-logit)  # -log P against one negative at 0
        (gradient,) = torch.autograd.grad(easy_as_hard(loss), logit)
        assert gradient.item() == pytest.approx(-1, rel=1e-5)
    pairs = PairVectors.local(torch.eye(2), torch.eye(2))
    probability = 1 / (1 + math.exp(-1))
    expected = -math.log(probability) / (1 - probability)
    assert symmetric_infonce(pairs, 1.0, reweighted=True).item() == pytest.approx(expected, rel=1e-5)


def test_dynamic_follows_the_running_gap_from_the_first_batchs():
    policy = temperature("dynamic", 0.5)
    assert policy() == pytest.approx(0.11)
    policy.update(batch_at(0.3))
    assert policy() == pytest.approx(0.11)  # gap_0
    policy.update(batch_at(0.8))
    assert policy() == pytest.approx(0.11 * (1 + 0.5 * 0.01 * 0.5), rel=1e-5)
    policy.gap.fill_(100.0)
    assert policy() == 0.2


def test_a_learned_temperature_starts_at_tau_gets_a_gradient_and_stays_within_its_limits():
    policy = temperature("learnable")
    tau = policy()
    assert tau.item() == pytest.approx(0.1)
    torch.manual_seed(0)
    symmetric_infonce(PairVectors.local(torch.randn(4, 3), torch.randn(4, 3)), tau).backward()
    assert policy.logit_scale.grad.abs() > 1e-3
    with torch.no_grad():
        policy.logit_scale.fill_(99.0)
    policy.clamp()
    assert policy().item() == pytest.approx(0.02)


@pytest.mark.parametrize("policy", ["macl", "dynamic"])
def test_a_restored_temperature_goes_on_as_the_old_one_would(policy):
    old, new = temperature(policy, 0.3), temperature(policy, 0.3)
    old.update(batch_at(0.2))
    old.update(batch_at(0.9))
    new.load_state_dict(old.state_dict())
    for each in (old, new):
        each.update(batch_at(0.5))
    assert old() == new() != temperature(policy, 0.3)()


def test_the_regulariser_fades_as_pairs_come_near():
    regulariser = AlignmentRegulariser(AdaptiveArguments(alignment_regulariser=2.0, alignment_gamma=2.0))
    regulariser.update(batch_at(0.5))
    assert regulariser.strength == pytest.approx(2 * 0.5**2)
    regulariser.update(batch_at(0.9))
    cosine = 0.99 * 0.5 + 0.01 * 0.9
    assert regulariser.strength == pytest.approx(2 * (1 - cosine) ** 2)
    pairs = PairVectors.local(torch.eye(2), torch.tensor([[0.0, 1.0], [0.0, 2.0]]), None, torch.tensor([3.0, 1.0]))
    assert regulariser(pairs).item() == pytest.approx(regulariser.strength * 0.75)
    again = AlignmentRegulariser(AdaptiveArguments(alignment_regulariser=2.0, alignment_gamma=2.0))
    again.load_state_dict(regulariser.state_dict())
    assert again.strength == regulariser.strength
