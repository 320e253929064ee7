"""Which rows of a batch are positives, and which are no negatives."""

import torch

from xling_align.trainers.objectives import PairVectors


def test_masked_keys_share_the_meaning_and_spare_the_positive():
    pairs = PairVectors.local(torch.zeros(3, 2), torch.zeros(3, 2), torch.tensor([1, 1, 2]))
    assert pairs.masked.tolist() == [[False, True, False], [True, False, False], [False, False, False]]


def test_rows_of_a_later_process_find_themselves_among_all():
    rows, ids = torch.arange(8.0).view(4, 2), torch.tensor([5, 6, 7, 5])
    pairs = PairVectors(rows[2:], rows[2:], ids[2:], rows, rows, ids, first=2)
    assert pairs.positives.tolist() == [2, 3]
    assert torch.equal(pairs.all_source[pairs.positives], pairs.source)
    assert pairs.masked.tolist() == [[False] * 4, [True, False, False, False]]


def test_without_ids_all_meanings_differ():
    assert not PairVectors.local(torch.zeros(4, 2), torch.zeros(4, 2)).masked.any()
