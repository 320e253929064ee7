"""Tokenised pairs, the sampler and the collator."""

import numpy as np
import pytest
import torch

from tests.conftest import LANGUAGES, encoder_config, make_tokenizer
from xling_align.modeling_xling import InputError, XLingAlignModel
from xling_align.trainers.data.batches import LengthBucketSampler, PairCollator
from xling_align.trainers.data.tokenized import join_pairs, token_ids, tokenize_pairs


def pair(source: str, target: str, code: str = "de", **more) -> dict:
    return {"source": source, "target": target, "source_language": "en", "target_language": code, **more}


@pytest.fixture(scope="module")
def config():
    return XLingAlignModel.from_encoder(encoder_config("bert"), LANGUAGES).config


def test_tokenised_pairs_hold_what_the_tokenizer_says(config):
    tokenizer = make_tokenizer()
    rows = [pair("good morning", "guten morgen"), pair("sun", "bonjour sonne mond", "fr", pair_id=9)]
    pairs = tokenize_pairs(rows, tokenizer, config)
    assert len(pairs) == 2
    for index, row in enumerate(rows):
        assert pairs[index]["source"].tolist() == tokenizer(row["source"])["input_ids"]
        assert pairs[index]["target"].tolist() == tokenizer(row["target"])["input_ids"]
    assert [pairs[1]["source_language"], pairs[1]["target_language"], pairs[1]["pair_id"]] == [1, 3, 9]
    assert pairs.lengths.tolist() == [4, 5]


def test_same_source_text_is_the_same_meaning(config):
    rows = [pair("Good morning!", "guten morgen"), pair("good morning", "bonjour", "fr"), pair("sun", "sonne")]
    ids = tokenize_pairs(rows, make_tokenizer(), config).pair_ids
    assert ids[0] == ids[1] != ids[2]


def test_texts_are_cut_at_the_models_limit(config):
    pairs = tokenize_pairs([pair("sun " * 99, "rot")], make_tokenizer(), config)
    assert pairs.lengths.tolist() == [config.max_position_embeddings]


def test_token_counts_by_language(config):
    tokenizer = make_tokenizer()
    counts = tokenize_pairs([pair("sun sun", "sonne")], tokenizer, config).token_counts(3, config.vocab_size)
    assert counts.shape == (4, config.vocab_size)
    assert counts[1, tokenizer.convert_tokens_to_ids("sun")] == 2
    assert counts[2, tokenizer.convert_tokens_to_ids("sonne")] == 1
    assert counts[3].sum() == counts[0].sum() == 0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no pairs"),
        ([pair("sun", " ")], "no pairs"),
        ([pair("sun", "soleil", "xx")], "language 'xx' is not one of"),
        ([{"source": "sun", "traget": "x", "source_language": "en", "target_language": "de"}], "mean 'traget'"),
    ],
)
def test_unusable_pairs_are_one_line(config, rows, message):
    with pytest.raises(InputError, match=message):
        tokenize_pairs(rows, make_tokenizer(), config)


def sampler(pairs: int = 2000, batch_size: int = 16, meanings: int = 700) -> LengthBucketSampler:
    generator = np.random.default_rng(0)
    lengths, ids = generator.integers(3, 60, pairs), generator.integers(0, meanings, pairs)
    return LengthBucketSampler(lengths, ids, batch_size, seed=5)


def test_no_batch_holds_a_meaning_twice():
    batches = sampler()
    order = np.array(list(batches)).reshape(-1, 16)
    assert all(len(set(batches.pair_ids[row])) == 16 for row in order)


def test_pairs_of_one_meaning_can_stand_together_but_never_fill_a_batch():
    generator = np.random.default_rng(0)
    lengths, ids = generator.integers(3, 60, 8000), np.arange(8000) % 1000
    batches = LengthBucketSampler(lengths, ids, 16, seed=5, together=True)
    order = np.array(list(batches)).reshape(-1, 16)
    most = [max(np.unique(ids[row], return_counts=True)[1]) for row in order]
    assert max(most) == 4 and np.mean(most) > 3.5
    assert len(np.unique(order)) > 7600


def test_batches_are_of_like_length_and_cover_nearly_all_pairs():
    batches = sampler(meanings=10**9)
    order = np.array(list(batches))
    spread = np.ptp(batches.lengths[order].reshape(-1, 16), axis=1)
    assert np.median(spread) <= 3
    assert len(set(order.tolist())) == len(order) >= 2000 - 16


def test_every_epoch_has_as_many_batches_in_another_order_and_the_same_one_again():
    batches = sampler()
    orders = []
    for epoch in (0, 1, 7, 1):
        batches.set_epoch(epoch)
        orders.append(list(batches))
    assert {len(order) for order in orders} == {len(batches)}
    assert orders[1] == orders[3]
    assert orders[0] != orders[1] != orders[2]


def test_a_batch_without_negatives_is_refused():
    with pytest.raises(InputError, match="no negative"):
        LengthBucketSampler(np.ones(5), np.arange(5), 1)
    with pytest.raises(InputError, match="needs as many different meanings, and the data has 3"):
        LengthBucketSampler(np.ones(9), np.arange(9) % 3, 4)


def test_collator_puts_translations_n_rows_below():
    rows = [
        {
            "source": np.array([0, 5, 2]),
            "target": np.array([0, 7, 8, 9, 2]),
            "source_language": 1,
            "target_language": 2,
        },
        {"source": np.array([0, 6, 2]), "target": np.array([0, 2]), "source_language": 1, "target_language": 3},
    ]
    batch = PairCollator(pad_token_id=1, multiple_of=8)([{**row, "pair_id": i} for i, row in enumerate(rows)])
    assert batch["input_ids"].shape == (4, 8)
    assert batch["input_ids"][0].tolist() == [0, 5, 2, 1, 1, 1, 1, 1]
    assert batch["input_ids"][2].tolist() == [0, 7, 8, 9, 2, 1, 1, 1]
    assert torch.equal(batch["attention_mask"], (batch["input_ids"] != 1).long())
    assert batch["language_ids"].tolist() == [1, 1, 2, 3]
    assert batch["pair_ids"].tolist() == [0, 1]


def test_collator_never_pads_past_the_limit():
    text = {"source": np.arange(21), "target": np.arange(3), "source_language": 1, "target_language": 2, "pair_id": 0}
    assert PairCollator(1, multiple_of=8, max_length=23)([text])["input_ids"].shape == (2, 23)


def test_scores_are_kept_where_there_are_any_and_laid_out_where_they_are_wanted(config):
    rows = [pair("sun", "sonne", score=1.25), pair("moon", "mond")]
    tokenizer = make_tokenizer()
    scored, plain = tokenize_pairs(rows, tokenizer, config), tokenize_pairs(rows[1:], tokenizer, config)
    assert plain.scores is None and "score" not in plain[0]
    np.testing.assert_array_equal(scored.scores, np.array([1.25, np.nan], np.float32))
    joined = join_pairs([plain, scored])
    np.testing.assert_array_equal(joined.scores, np.array([np.nan, 1.25, np.nan], np.float32))
    batch = PairCollator(1, with_scores=True)([joined[row] for row in range(3)])
    np.testing.assert_array_equal(batch["scores"].numpy(), joined.scores)
    assert "scores" not in PairCollator(1)([joined[1]])


@pytest.mark.parametrize("side", ["right", "left"])
def test_token_ids_are_the_tokenizers_own_and_leave_it_as_it_was(side):
    tokenizer = make_tokenizer()
    tokenizer.truncation_side = side
    texts = ["good morning red sun", "blue", "green day good night red moon blue sun", ""]
    pairs = [("good morning", "guten morgen"), ("red sun blue moon green day", "bonjour")]
    for given in (texts, pairs):
        expected = tokenizer(given, truncation=True, max_length=5)["input_ids"]
        assert token_ids(tokenizer, given, 5) == expected
    tokenizer.backend_tokenizer.enable_truncation(3)
    tokenizer.backend_tokenizer.enable_padding(length=9)
    assert token_ids(tokenizer, texts, 5) == tokenizer(texts, truncation=True, max_length=5)["input_ids"]
    tokenizer.backend_tokenizer.enable_truncation(3)
    tokenizer.backend_tokenizer.enable_padding(length=9)
    before = tokenizer.backend_tokenizer.to_str()
    token_ids(tokenizer, texts, 5)
    assert tokenizer.backend_tokenizer.to_str() == before


def test_a_tokenizer_of_another_library_is_called_itself():
    class Own:
        def __call__(self, texts, truncation, max_length):
            return {"input_ids": [[len(text)][:max_length] for text in texts]}

    assert token_ids(Own(), ["a", "bcd"], 4) == [[1], [3]]
