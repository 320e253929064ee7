"""Mixup contrast."""

from collections import Counter

import torch

from xling_align.trainers.data.mixup import mix_pairs

FIRST, SECOND = ([0, 5, 2], [0, 15, 2]), ([0, 6, 2], [0, 16, 2])


def test_all_eight_ways_occur_equally_often():
    generator = torch.Generator().manual_seed(0)
    found = Counter(str(mix_pairs(FIRST, SECOND, generator, cls=0)) for _ in range(4000))
    assert len(found) == 8
    assert 400 < min(found.values()) <= max(found.values()) < 600


def test_each_side_holds_both_sentences_of_one_language():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        sides = mix_pairs(FIRST, SECOND, generator, cls=0)
        assert sorted(sorted(ids) for ids in sides) == [[0, 2, 2, 5, 6], [0, 2, 2, 15, 16]]
        assert all(ids[0] == 0 and ids[-1] == 2 for ids in sides)


def test_without_cls_the_texts_are_joined_as_they_are():
    mixed = mix_pairs(([1], [2]), ([1], [2]), torch.Generator().manual_seed(0))
    assert sorted(mixed) == [[1, 1], [2, 2]]


def test_the_given_ids_stay_as_they_were():
    pairs = ([0, 5], [0, 6]), ([0, 7], [0, 8])
    mix_pairs(*pairs, torch.Generator().manual_seed(0), cls=0)
    assert pairs == (([0, 5], [0, 6]), ([0, 7], [0, 8]))
