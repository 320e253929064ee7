"""Several positives against closed forms."""

import math

import pytest
import torch

from xling_align.trainers.objectives import PairVectors, multi_positive, symmetric_infonce


def test_with_distinct_meanings_and_one_side_it_is_infonce():
    torch.manual_seed(0)
    pairs = PairVectors.local(torch.randn(6, 5), torch.randn(6, 5))
    torch.testing.assert_close(multi_positive(pairs, 0.05, both_sides=False), symmetric_infonce(pairs, 0.05))


def test_supcon_formula_term_by_term():
    torch.manual_seed(0)
    ids = [3, 4, 3, 5]
    source, target = torch.randn(4, 6), torch.randn(4, 6)
    texts, meanings = torch.nn.functional.normalize(torch.cat([source, target]), dim=1), ids + ids
    logits = (texts @ texts.T / 0.2).tolist()
    total = 0.0
    for i, meaning in enumerate(meanings):
        keys = [k for k in range(8) if k != i]
        log_sum = math.log(sum(math.exp(logits[i][k]) for k in keys))
        positives = [k for k in keys if meanings[k] == meaning]
        total -= sum(logits[i][k] - log_sum for k in positives) / len(positives)
    pairs = PairVectors.local(source, target, torch.tensor(ids))
    assert multi_positive(pairs, tau=0.2).item() == pytest.approx(total / 8, rel=1e-5)


def test_vectors_that_show_only_the_meaning_reach_log_of_the_positives():
    vectors = torch.eye(2)[[0, 0, 1]]
    pairs = PairVectors.local(vectors, vectors, torch.tensor([7, 7, 8]))
    expected = 2 / 3 * math.log(3)  # three positives each share the mass; the third pair has one, and all of it
    assert multi_positive(pairs, tau=0.01).item() == pytest.approx(expected, abs=1e-5)
