"""Resource levels: the plan, and each language's share of the batches."""

import logging

import numpy as np
import pytest

from tests.conftest import LANGUAGES, encoder_config, make_tokenizer
from xling_align.modeling_xling import XLingAlignModel
from xling_align.trainers.data.batches import LengthBucketSampler
from xling_align.trainers.data.resources import balanced_order, group_shares, resource_plan, tell_plan
from xling_align.trainers.data.tokenized import tokenize_pairs

GROUPS = np.repeat([5, 9, 2], [900, 90, 10])


def test_shares_are_powers_of_the_counts():
    counts = np.array([900, 90, 10])
    np.testing.assert_allclose(group_shares(counts, 1.0), counts / 1000)
    np.testing.assert_allclose(group_shares(counts, 3.0), counts ** (1 / 3) / (counts ** (1 / 3)).sum())
    np.testing.assert_allclose(group_shares(counts, 1e9), 1 / 3, rtol=1e-6)


def test_an_order_holds_each_group_by_its_share_and_its_pairs_equally_often():
    order = balanced_order(GROUPS, 2.0, np.random.default_rng(0))
    found = np.bincount(order, minlength=1000)
    shares = group_shares(np.array([10, 900, 90]), 2.0)  # of groups 2, 5, 9
    for group, share in zip((2, 5, 9), shares, strict=True):
        members = found[group == GROUPS]
        assert members.sum() == round(share * 1000)
        assert np.ptp(members) <= 1


def test_the_sampler_balances_and_keeps_batches_distinct_and_epochs_exact():
    lengths = np.random.default_rng(0).integers(3, 60, 1000)
    plain, balanced = (
        LengthBucketSampler(lengths, np.arange(1000), 16, 5, GROUPS, temperature) for temperature in (1.0, 5.0)
    )
    assert list(plain) == list(LengthBucketSampler(lengths, np.arange(1000), 16, 5))
    order = np.array(list(balanced)).reshape(-1, 16)
    assert all(len(set(batch)) == 16 for batch in order.tolist())
    assert np.isin(order, np.flatnonzero(GROUPS == 2)).mean() > 5 * 0.01
    balanced.set_epoch(3)
    later = list(balanced)
    balanced.set_epoch(3)
    assert list(balanced) == later != order.ravel().tolist()
    assert np.median(np.ptp(lengths[order], axis=1)) <= 12  # of 56; ten pairs that fill a sixth of the batches wait


def test_the_plan_names_every_language_but_the_source(caplog):
    config = XLingAlignModel.from_encoder(encoder_config("bert"), [*LANGUAGES, "it"]).config
    rows = [
        {"source": f"sun {number}", "target": "sonne", "source_language": "en", "target_language": code}
        for code, count in (("de", 12), ("fr", 3))
        for number in range(count)
    ]
    plans = resource_plan(tokenize_pairs(rows, make_tokenizer(), config), config, temperature=1.0)
    assert [(plan.language, plan.pairs) for plan in plans] == [("de", 12), ("fr", 3), ("it", 0)]
    assert [plan.share for plan in plans] == pytest.approx([0.8, 0.2, 0])
    with caplog.at_level(logging.INFO, logger="xling_align"):
        tell_plan(plans, few=5)
        tell_plan(plans[:1], few=None)
    assert caplog.messages == [
        "de          12 pairs, 80.0 % of the batches, weighed",
        "fr           3 pairs, 20.0 % of the batches, as they are: too few to weigh",
        "no pairs, not trained on: it (xling self_train mines pairs from plain text)",
        "de          12 pairs, 80.0 % of the batches",
    ]
