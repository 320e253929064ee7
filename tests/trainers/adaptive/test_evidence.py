"""Evidence about pairs before any training: against a plain loop, and on made-up languages with wrong pairs."""

import doctest
from collections import Counter

import numpy as np
import pytest

from tests.conftest import make_tokenizer
from tests.trainers.test_trainer import PAIRS, arguments, fresh_model
from xling_align.trainers import XLingAlignTrainer
from xling_align.trainers.adaptive import evidence
from xling_align.trainers.adaptive.evidence import (
    KEPT_FROM,
    SMOOTHING,
    Combinations,
    Words,
    length_evidence,
    log_odds,
    pair_evidence,
    word_evidence,
)
from xling_align.trainers.data.tokenized import TokenizedPairs


def made_up(number: int, wrong: float, seed: int = 0, words: int = 60) -> tuple[TokenizedPairs, np.ndarray]:
    """Texts of 2 to 9 words whose translations are the same words by other ids, shuffled; some have another's."""
    generator = np.random.default_rng(seed)
    texts = [5 + generator.integers(0, words, generator.integers(2, 10)) for _ in range(number)]
    targets = [generator.permutation(text) + words for text in texts]
    chosen = generator.permutation(number)[: round(wrong * number)]
    for row, other in zip(chosen, np.roll(chosen, 1), strict=True):
        targets[row] = texts[other] + words
    both = [np.array([0, *text, 2], np.int32) for pair in zip(texts, targets, strict=True) for text in pair]
    languages = np.tile(np.array([1, 2], np.int16), number)
    pairs = TokenizedPairs(np.concatenate(both), np.cumsum([*map(len, both)]), languages, np.arange(number))
    mask = np.zeros(number, bool)
    mask[chosen] = True
    return pairs, mask


def test_examples_in_docstrings_hold():
    outcome = doctest.testmod(evidence)
    assert outcome.attempted and not outcome.failed


def test_scores_are_those_of_a_plain_loop():
    pairs, _ = made_up(40, 0.2)
    rows = np.arange(len(pairs))
    source, target = (Words.of(pairs, 2 * rows + side) for side in (0, 1))
    texts = [[set(pairs.text(2 * row + side)[1:-1].tolist()) for side in (0, 1)] for row in rows]
    single = [Counter(word for text in texts for word in text[side]) for side in (0, 1)]
    both = Counter((one, other) for text in texts for one in text[0] for other in text[1])
    expected = []
    for own, others in texts:
        ratio = {
            (one, other): np.log(
                (both[one, other] - 1 + SMOOTHING * single[1][other] / 40)
                / (single[0][one] - 1 + SMOOTHING)
                / (single[1][other] / 40)
            )
            for one in own
            for other in others
        }
        forward = np.mean([max(ratio[one, other] for other in others) for one in own])
        backward = np.mean([max(ratio[one, other] for one in own) for other in others])
        expected.append((forward + backward) / 2)
    together = Combinations(source, target)
    _, place, counts = np.unique(together.keys, return_inverse=True, return_counts=True)
    np.testing.assert_allclose(together.scores(counts[place] - 1, 1), expected, rtol=1e-4)


@pytest.mark.parametrize("wrong", [0.1, 0.3, 0.5])
def test_wrong_pairs_are_told_without_labels(wrong):
    pairs, mask = made_up(3000, wrong)
    odds = pair_evidence(pairs)
    assert ((odds < 0) == mask).mean() > 0.92
    assert (word_evidence(pairs, np.arange(3000), np.random.default_rng(0))[mask] < 0).mean() > 0.9
    lengths = length_evidence(pairs, np.arange(3000), np.random.default_rng(0))
    assert lengths[~mask].mean() > 1 > 0 > lengths[mask].mean()


def test_clean_pairs_are_kept():
    assert (pair_evidence(made_up(3000, 0.0)[0]) >= KEPT_FROM).mean() > 0.98


def test_copies_of_a_pair_do_not_speak_for_it():
    pairs, mask = made_up(1500, 0.3)
    rows = np.concatenate([np.arange(1500), np.flatnonzero(mask), np.arange(1500)])
    odds, once = pair_evidence(pairs.take(rows)), pair_evidence(pairs)
    assert np.array_equal(odds, once[rows]) and (once[mask] < KEPT_FROM).mean() > 0.9


def test_texts_without_a_word_are_taken_as_well():
    pairs, mask = made_up(1300, 0.3)
    empty = [np.array([0, 2], np.int32), np.array([], np.int32)] * 2
    tokens = np.concatenate([pairs.tokens, *empty])
    ends = np.concatenate([pairs.ends, len(pairs.tokens) + np.cumsum([len(text) for text in empty])])
    longer = TokenizedPairs(tokens, ends, np.tile(np.array([1, 2], np.int16), 1302), np.arange(1302))
    odds = pair_evidence(longer)
    assert np.isfinite(odds).all() and ((odds[:1300] < KEPT_FROM) == mask).mean() > 0.85


def test_few_pairs_say_nothing_and_the_evidence_depends_on_the_seed_alone():
    pairs, _ = made_up(999, 0.3)
    assert (pair_evidence(pairs) == np.inf).all()
    pairs, _ = made_up(1200, 0.3)
    assert np.array_equal(pair_evidence(pairs), pair_evidence(pairs))


def test_a_value_beyond_the_means_counts_as_the_mean_where_more_is_better():
    generator = np.random.default_rng(0)
    wrong = generator.normal(0, 2, 4000)
    values = np.concatenate([generator.normal(4, 0.5, 1000), [9.0, -9.0]])
    rising, both_ways = log_odds(values, wrong, rising=True), log_odds(values, wrong)
    assert rising[-2] > both_ways[-2] + 1 and rising[-1] < 0
    assert not log_odds(np.ones(5), wrong).any()


def test_the_trainer_leaves_out_what_the_evidence_speaks_against(tmp_path, monkeypatch):
    monkeypatch.setattr("xling_align.trainers.trainer.pair_evidence", lambda pairs: np.arange(len(pairs)) - 1.0)
    trainer = XLingAlignTrainer(
        fresh_model(), arguments(tmp_path, pair_evidence=True), PAIRS, processing_class=make_tokenizer()
    )
    whole = XLingAlignTrainer(fresh_model(), arguments(tmp_path), PAIRS, processing_class=make_tokenizer())
    assert trainer.kept_pairs.tolist() == list(range(2, len(PAIRS))) and whole.kept_pairs is None
    for row, kept in enumerate(trainer.kept_pairs):
        for name, value in whole.train_dataset[kept].items():
            assert np.array_equal(trainer.train_dataset[row][name], value), name
