"""The noisy-pairs benchmark: what it shuffles, and that its figures are of the pairs that were trained on."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import LANGUAGES, encoder_config, make_tokenizer
from tests.trainers.test_trainer import arguments, fresh_model
from xling_align.modeling_xling import XLingAlignModel
from xling_align.trainers import XLingAlignTrainer
from xling_align.trainers.data.tokenized import TokenizedPairs, tokenize_pairs

WORDS = ["morning", "night", "day", "sun", "moon", "red", "green", "blue"]


@pytest.fixture(scope="module")
def program():
    path = Path(__file__).parents[2] / "benchmarks" / "noisy_pairs.py"
    spec = importlib.util.spec_from_file_location("noisy_pairs", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pairs() -> TokenizedPairs:
    config = XLingAlignModel.from_encoder(encoder_config("bert"), LANGUAGES).config
    rows = [
        {"source": f"{one} {other}", "target": f"{other} {one}", "source_language": "en", "target_language": code}
        for code in ("de", "fr")
        for one in WORDS
        for other in WORDS
        if one != other
    ]
    return tokenize_pairs(rows, make_tokenizer(), config)


def test_a_share_of_each_languages_targets_is_anothers(program, pairs):
    found, wrong = program.shuffled(pairs, 0.25, seed=1)
    assert [wrong[pairs.groups == group].sum() for group in np.unique(pairs.groups)] == [14, 14]
    assert np.array_equal(found.pair_ids, pairs.pair_ids) and np.array_equal(found.languages, pairs.languages)
    for row in range(len(pairs)):
        assert found[row]["source"].tolist() == pairs[row]["source"].tolist()
        assert (found[row]["target"].tolist() != pairs[row]["target"].tolist()) == wrong[row]
    for code in np.unique(pairs.groups):
        rows = np.flatnonzero(pairs.groups == code)
        targets = [sorted(tuple(side[row]["target"].tolist()) for row in rows) for side in (found, pairs)]
        assert targets[0] == targets[1]


def test_nothing_shuffled_is_the_pairs_as_they_are(program, pairs):
    found, wrong = program.shuffled(pairs, 0.0, seed=1)
    assert not wrong.any()
    assert np.array_equal(found.tokens, pairs.tokens) and np.array_equal(found.ends, pairs.ends)


def test_the_separation_is_that_of_the_pairs_seen(program, pairs, tmp_path):
    """Weights that know the truth separate perfectly; that fails if they are matched with other pairs."""
    mixed, wrong = program.shuffled(pairs, 0.5, seed=1)
    settings = {"pair_weights": "adaptive", "few_pairs": 0, "max_steps": 8, "save_strategy": "no"}
    args = arguments(tmp_path, per_device_train_batch_size=8, weight_warmup=0.0, **settings)
    trainer = XLingAlignTrainer(fresh_model(), args, mixed, processing_class=make_tokenizer())
    seen = program.SeenWeights(trainer.policies.confidence)
    trainer.policies.confidence.update = seen
    trainer.train()
    found = program.separation(trainer, seen, wrong)
    assert found["languages"].keys() == {"de", "fr"}
    trainer.train_sampler.set_epoch(0)
    order = np.array(list(trainer.train_sampler))[: 8 * 8]
    seen.seen = [
        (~wrong[rows] * 1.0, scores) for rows, (_, scores) in zip(order.reshape(8, 8), seen.seen, strict=True)
    ]
    told = program.separation(trainer, seen, wrong)
    assert told["weights"] == told["clean"] == 1.0 and told["shuffled"] == 0.0
    assert told["scores"] == found["scores"] < 1.0


def test_the_separation_before_training_is_that_of_all_pairs(program, pairs, monkeypatch):
    mixed, wrong = program.shuffled(pairs, 0.5, seed=1)
    odds = np.where(wrong, -1.0, np.inf)
    monkeypatch.setattr(program, "pair_evidence", lambda given: odds)
    assert program.separation_before(mixed, wrong, LANGUAGES) == {"weights": 1.0, "languages": {"de": 1.0, "fr": 1.0}}
    odds[mixed.languages[1::2] == 3] *= -1
    assert program.separation_before(mixed, wrong, LANGUAGES)["languages"] == {"de": 1.0, "fr": 0.0}
    assert program.separation_before(mixed, np.zeros(len(wrong), bool), LANGUAGES) == {}
