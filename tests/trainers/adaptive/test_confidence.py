"""Pair weights: margins, thresholds of their own for each language pair, and the mixture, against closed forms."""

import math
from types import SimpleNamespace

import pytest
import torch

from xling_align.trainers.adaptive.arguments import AdaptiveArguments
from xling_align.trainers.adaptive.confidence import PairConfidence, pair_weights
from xling_align.trainers.adaptive.mixture import MarginMixture
from xling_align.trainers.adaptive.moments import PRIOR, RunningMoments
from xling_align.trainers.adaptive.similarities import BatchSimilarities
from xling_align.trainers.adaptive.threshold import ScoreThreshold
from xling_align.trainers.objectives import PairVectors


def values_of(mean: float, deviation: float, count: int = 4000) -> torch.Tensor:
    """Values of exactly this mean and deviation."""
    values = torch.linspace(-1, 1, count, dtype=torch.float64)
    return mean + deviation * values / values.std(unbiased=False)


def test_margins_are_those_of_the_formula():
    torch.manual_seed(0)
    source, target = torch.randn(6, 4), torch.randn(6, 4)
    found = BatchSimilarities.of(PairVectors.local(source, target)).ratio_margins(k=2)
    cosine = torch.cosine_similarity(source.unsqueeze(1), target.unsqueeze(0), dim=2)
    for row in range(6):
        for column in range(6):
            means = cosine[row].topk(2).values.mean() + cosine[:, column].topk(2).values.mean()
            expected = cosine[row, column] / (means / 2).clamp(min=0.05)
            assert found[row, column].item() == pytest.approx(expected.item(), rel=1e-4)


def test_other_texts_of_the_same_meaning_are_no_neighbours():
    torch.manual_seed(0)
    source, target = torch.randn(5, 4), torch.randn(5, 4)
    doubled = [torch.cat([side, side[:1]]) for side in (source, target)]
    ids = torch.tensor([0, 1, 2, 3, 4, 0])
    found = BatchSimilarities.of(PairVectors.local(*doubled, ids)).neighbour_means(2)
    alone = BatchSimilarities.of(PairVectors.local(source, target)).neighbour_means(2)
    torch.testing.assert_close(found[0][0], alone[0][0])
    torch.testing.assert_close(found[1][0], alone[1][0])


def test_gap_is_the_pairs_cosine_less_that_of_the_hardest_others():
    target = torch.nn.functional.normalize(torch.tensor([[1.0, 0.5, 0], [0, 1, 0], [0, 0, 1]]), dim=1)
    batch = BatchSimilarities.of(PairVectors.local(torch.eye(3), target))
    cosine = 1 / 1.25**0.5
    hardest = (0 + cosine / 2 + 0) + (cosine / 2 + 0 + 0)  # of sources, and of targets
    assert batch.gap(1).item() == pytest.approx((cosine + 2) / 3 - hardest / 6, abs=1e-6)


def test_running_moments_are_those_of_the_group():
    moments = RunningMoments(10)
    moments.update(torch.cat([values_of(1.1, 0.05), values_of(0.8, 0.2)]), torch.tensor([6] * 4000 + [7] * 4000))
    mean, deviation = moments.of(torch.tensor([6, 7, 0]))
    assert mean[:2].tolist() == pytest.approx([1.1, 0.8], abs=2e-3)
    assert deviation[:2].tolist() == pytest.approx([0.05, 0.2], rel=0.05)
    assert mean[2].item() == pytest.approx(0.95)  # of all, where a group has no value yet


def test_few_values_are_drawn_to_those_of_all_and_old_ones_fade():
    moments = RunningMoments(2)
    moments.update(torch.cat([values_of(1.0, 0.1), torch.tensor([2.0])]), torch.tensor([0] * 4000 + [1]))
    assert moments.of(torch.tensor([1]))[0].item() == pytest.approx((2.0 + PRIOR * 1.0) / (1 + PRIOR), abs=1e-3)
    fading = RunningMoments(1)
    fading.update(torch.zeros(1), torch.zeros(1, dtype=torch.long))
    fading.update(torch.ones(1), torch.zeros(1, dtype=torch.long))
    assert fading.of(torch.tensor([0]))[0].item() == pytest.approx(1 / 1.99)


def test_a_threshold_rises_from_keeping_all_to_its_end():
    done = [0.0]
    args = AdaptiveArguments(weight_warmup=0.2, weight_z=-0.5, weight_width=0.1)
    policy = ScoreThreshold(args, 1, lambda: done[0])
    policy.update(torch.cat([values_of(5.0, 2.0), torch.tensor([math.nan])]), torch.zeros(4001, dtype=torch.long))
    for progress, z in ((0.0, -3.0), (0.2, -3.0), (0.3, -1.75), (0.4, -0.5), (1.0, -0.5)):
        done[0] = progress
        theta, width = policy.border(torch.tensor([0]))
        assert theta.item() == pytest.approx(5 + 2 * z)
        assert width.item() == pytest.approx(0.2)


def test_weights_are_a_step_whose_foot_is_cut_off():
    border = torch.full((4,), 2.0), torch.full((4,), 0.5)
    weights = pair_weights(torch.tensor([2.5, 2.0, 0.4, math.nan]), border)
    assert weights.tolist() == pytest.approx([1 / (1 + math.exp(-1)), 0.5, 0.0, 1.0])


def batches(wrong_share: float, count: int = 60):
    """Batches of 64 pairs of two language pairs, in which a share of the targets belong to other sources."""
    generator = torch.Generator().manual_seed(0)
    groups = torch.arange(64) % 2
    for _ in range(count):
        source = torch.randn(64, 16, generator=generator)
        target = source + 0.8 * torch.randn(64, 16, generator=generator)
        wrong = torch.rand(64, generator=generator) < wrong_share
        target[wrong] = torch.randn(int(wrong.sum()), 16, generator=generator)
        yield BatchSimilarities.of(PairVectors.local(source, target)), groups, wrong


@pytest.mark.parametrize("wrong_share", [0.0, 0.3, 0.5])
def test_the_mixture_finds_how_many_pairs_are_wrong_and_which(wrong_share):
    mixture, right, wrong = MarginMixture(2), [], []
    for number, (batch, groups, is_wrong) in enumerate(batches(wrong_share)):
        scores = mixture.update(batch, groups, groups)
        weights = pair_weights(scores, mixture.border(groups, caution=1.0))
        if number >= 30:
            right.append(weights[~is_wrong])
            wrong.append(weights[is_wrong])
    assert (1 - mixture.share_right(torch.tensor([0, 1]))).tolist() == pytest.approx([wrong_share] * 2, abs=0.12)
    assert torch.cat(right).mean() > 0.9
    if wrong_share:
        assert torch.cat(wrong).mean() < 0.15


def test_a_mixture_that_cannot_tell_weighs_all_pairs_alike():
    mixture = MarginMixture(2)
    for batch, groups, _ in batches(1.0, 20):  # as of a language that the model does not know
        scores = mixture.update(batch, groups, groups)
        weights = pair_weights(scores, mixture.border(groups, caution=1.0))
    assert weights.min() > 0 and weights.std() < 0.1


def test_each_language_pair_keeps_its_share_of_the_training():
    """Half of one language's pairs are wrong, none of the other's: both weigh as much in sum."""
    args = SimpleNamespace(pair_weights="scores", weight_warmup=0.0, weight_z=0.0, weight_width=0.1, device=None)
    policy = PairConfidence(args, 4, lambda: 1.0)  # pyright: ignore[reportArgumentType]
    languages = torch.tensor([1] * 100 + [2] * 50 + [3] * 50)
    for number in range(30):
        torch.manual_seed(number)
        scores = 5 + torch.randn(100)
        scores[:25] -= 100.0
        step = SimpleNamespace(inputs={"language_ids": languages}, scores=scores, weights=None)
        figures = policy.update(step, None)  # pyright: ignore[reportArgumentType]
    assert step.weights[:25].sum() == 0
    assert step.weights.mean().item() == pytest.approx(1)
    assert step.weights[:50].mean().item() == pytest.approx(step.weights[50:].mean().item(), rel=0.25)
    assert figures["pairs_dropped"] > 0.12
