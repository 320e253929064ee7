"""Word embeddings that start at those of their translations."""

import logging

import numpy as np
import pytest
import torch

from tests.conftest import LANGUAGES, encoder_config, make_tokenizer
from xling_align.modeling_xling import XLingAlignModel
from xling_align.trainers import align
from xling_align.trainers import lexicon as lexicon_file
from xling_align.trainers.arguments import DataArguments, ModelArguments, XLingAlignTrainingArguments
from xling_align.trainers.data.tokenized import TokenizedPairs, join_pairs
from xling_align.trainers.lexicon import (
    associations,
    found_share,
    lexicon,
    occurrences,
    sampled,
    start_from_translations,
    start_words,
    translated,
)

ENGLISH, GERMAN, FRENCH = 1, 2, 3  # rows of the languages
WORDS = np.arange(10, 20)  # of English; German says WORDS + 10, French WORDS + 20


def made_up(count: int, language: int, shift: int, first: bool = True, seed: int = 0) -> TokenizedPairs:
    """Pairs of five words; the other language says each word `shift` ids further on."""
    generator = np.random.default_rng(seed)
    sources = [np.array([0, *generator.choice(WORDS, 5, replace=False), 1]) for _ in range(count)]
    targets = [np.where(text > 1, text + shift, text)[[0, 5, 3, 1, 4, 2, 6]] for text in sources]
    sides = [sources, targets] if first else [targets, sources]
    texts = [text for pair in zip(*sides, strict=True) for text in pair]
    languages = np.tile([ENGLISH, language] if first else [language, ENGLISH], count)
    return TokenizedPairs(
        np.concatenate(texts).astype(np.int32), np.cumsum([len(text) for text in texts]), languages, np.arange(count)
    )


ENGLISH_WORDS = ["good", "morning", "night", "day", "sun", "moon"]
GERMAN_WORDS = ["guten", "morgen", "nacht", "tag", "sonne", "mond"]


def spoken(generator: np.random.Generator, count: int = 120) -> TokenizedPairs:
    """Pairs of three words each, in the words of the tiny tokenizer."""
    tokenizer, texts = make_tokenizer(), []
    for _ in range(count):
        chosen = generator.permutation(len(ENGLISH_WORDS))[:3]
        for words in (ENGLISH_WORDS, GERMAN_WORDS):
            texts.append(tokenizer(" ".join(words[each] for each in chosen))["input_ids"])
    ends = np.cumsum([len(text) for text in texts])
    return TokenizedPairs(np.concatenate(texts).astype(np.int32), ends, np.tile([1, 2], count), np.arange(count))


@pytest.fixture
def model(family) -> XLingAlignModel:
    """A model of each family with as many words as the pairs have."""
    config = encoder_config(family)
    config.vocab_size = 50
    return XLingAlignModel.from_encoder(config, LANGUAGES)


def test_association_is_the_dice_coefficient_of_the_pairs_beyond_chance():
    own = occurrences(made_up(200, GERMAN, 10), np.arange(0, 400, 2), 50)
    other = occurrences(made_up(200, GERMAN, 10), np.arange(1, 400, 2), 50)
    counts = [np.asarray(side.sum(0)).ravel() for side in (own, other)]
    words, partners, found = associations(own, other, *counts)
    one, two = own.toarray() > 0, other.toarray() > 0
    assert len(found) >= 10
    for word, partner, value in zip(words, partners, found, strict=True):
        shared = (one[:, partner] & two[:, word]).sum()
        uses = one[:, partner].sum(), two[:, word].sum()
        assert value == pytest.approx(2 * (shared - uses[0] * uses[1] / 200) / sum(uses), rel=1e-5)
    best = {word: found[words == word].max() for word in set(words)}
    assert all(found[(words == word) & (partners == word - 10)] == value for word, value in best.items())


@pytest.mark.parametrize("first", [True, False])
def test_each_word_is_translated_whichever_side_the_source_language_is_on(first):
    weights, certainty = lexicon(made_up(300, GERMAN, 10, first), ENGLISH, 50)
    np.testing.assert_array_equal(np.flatnonzero(certainty), WORDS + 10)
    assert (certainty[WORDS + 10] == 1).all()
    found = weights[WORDS + 10].toarray()
    np.testing.assert_array_equal(found.argmax(1), WORDS)
    assert found.max(1).min() > 0.9
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)


def test_pairs_without_the_source_language_say_nothing():
    pairs = made_up(300, GERMAN, 10)
    weights, certainty = lexicon(pairs, FRENCH, 50)
    assert weights.nnz == 0 and not certainty.any()


def test_what_the_source_language_says_as_often_stays():
    _, certainty = lexicon(made_up(300, GERMAN, 0), ENGLISH, 50)
    assert not certainty.any()


def test_rare_words_and_words_at_random_are_not_taken_for_translations():
    pairs = made_up(300, GERMAN, 10)
    targets = np.random.default_rng(1).permutation(300)
    weights, certainty = lexicon(pairs.take(np.arange(300), targets), ENGLISH, 50)
    assert certainty.max() < 1 and certainty.mean() < 0.1
    once = made_up(1, GERMAN, 10)
    assert lexicon(once, ENGLISH, 50)[0].nnz == 0


def test_a_word_of_several_languages_goes_where_most_of_its_uses_say():
    pairs = join_pairs(
        [made_up(900, GERMAN, 10, seed=1), made_up(100, FRENCH, 11, seed=2)]
    )  # French shifts by one more
    weights, _ = lexicon(pairs, ENGLISH, 50)
    row = weights[[15 + 10]].toarray()[0]
    assert row[15] == pytest.approx(0.9, abs=0.05) and row[14] == pytest.approx(0.1, abs=0.05)


def test_embeddings_move_to_their_translations_and_keep_their_length(model):
    table = model.get_input_embeddings().weight
    before = table.detach().clone()
    start_from_translations(model, made_up(300, model.config.language_id("de"), 10))
    after = table.detach()
    kept = np.setdiff1d(np.arange(len(before)), WORDS + 10)
    torch.testing.assert_close(after[kept], before[kept], rtol=0, atol=0)
    torch.testing.assert_close(after[WORDS + 10].norm(dim=1), before[WORDS + 10].norm(dim=1))
    cosines = torch.nn.functional.cosine_similarity(after[WORDS + 10], before[WORDS])
    assert cosines.min() > 0.9


def test_special_ids_stay(model):
    before = model.get_input_embeddings().weight.detach().clone()
    pairs = made_up(300, model.config.language_id("de"), 10)
    start_from_translations(model, pairs, [22, 23])
    torch.testing.assert_close(model.get_input_embeddings().weight.detach()[22:24], before[22:24], rtol=0, atol=0)


def test_little_association_moves_a_word_part_of_the_way(model, monkeypatch):
    before = model.get_input_embeddings().weight.detach().clone()
    pairs = made_up(300, model.config.language_id("de"), 10)
    monkeypatch.setattr("xling_align.trainers.lexicon.CERTAIN", 2.0)
    start_from_translations(model, pairs)
    after = model.get_input_embeddings().weight.detach()
    share = (after - before).norm(dim=1)[WORDS + 10] / (before[WORDS] - before[WORDS + 10]).norm(dim=1)
    assert (
        share.min() > 0.15 and share.max() < 0.45
    )  # a quarter: associations are a half: of 300 pairs every word is in half


def test_without_any_translation_one_line_warns(model, caplog):
    before = model.get_input_embeddings().weight.detach().clone()
    pairs = made_up(1, model.config.language_id("de"), 10)
    with caplog.at_level(logging.WARNING):
        start_from_translations(model, pairs)
    assert "no word goes together with one of 'en'" in caplog.text
    torch.testing.assert_close(model.get_input_embeddings().weight.detach(), before, rtol=0, atol=0)


@pytest.mark.parametrize(
    "start", [start_from_translations, lambda model, pairs: start_words(model, make_tokenizer(), pairs)]
)
def test_the_words_of_a_dual_encoder_stay_and_one_line_says_so(encoder_folders, caplog, start):
    folder = encoder_folders["bert"]
    dual = XLingAlignModel.from_encoder(folder, LANGUAGES, target_encoder=folder)
    before = {name: value.clone() for name, value in dual.state_dict().items()}
    start(dual, spoken(np.random.default_rng(0)))
    assert all(torch.equal(value, before[name]) for name, value in dual.state_dict().items())
    assert sum("the words of a dual encoder start where they are" in said for said in caplog.messages) == 1


@pytest.mark.parametrize("without, starts", [([], True), (["lexicon"], False), (["word"], True), (["intra"], True)])
def test_words_start_at_translations_unless_that_is_taken_out(tmp_path, encoder_folders, monkeypatch, without, starts):
    calls = []
    monkeypatch.setattr(align, "start_words", lambda *given: calls.append(given))
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"the dog {i}\tder Hund {i}\n" for i in range(20)), encoding="utf-8")
    pairs = align.PairData(DataArguments(train_file=[str(path)], target_language="de"))
    args = XLingAlignTrainingArguments(
        output_dir=str(tmp_path / "out"),
        losses=["inter", "intra", "mlm"],
        without=without,
        per_device_train_batch_size=4,
    )
    align.build(ModelArguments(encoder=str(encoder_folders["bert"]), lexicon_start=True), pairs, args)
    assert bool(calls) == starts


def test_an_aligned_model_keeps_its_embeddings(tmp_path, encoder_folders, monkeypatch):
    calls = []
    monkeypatch.setattr(align, "start_words", lambda *given: calls.append(given))
    XLingAlignModel.from_encoder(encoder_folders["bert"], ["de", "en"]).save_pretrained(tmp_path / "aligned")
    make_tokenizer().save_pretrained(tmp_path / "aligned")
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"the dog {i}\tder Hund {i}\n" for i in range(20)), encoding="utf-8")
    pairs = align.PairData(DataArguments(train_file=[str(path)], target_language="de"))
    args = XLingAlignTrainingArguments(
        output_dir=str(tmp_path / "out"), losses=["inter"], per_device_train_batch_size=4
    )
    align.build(ModelArguments(encoder=str(tmp_path / "aligned"), lexicon_start=True), pairs, args)
    assert not calls


def test_words_that_another_language_uses_more_stay_when_only_some_languages_move():
    german, french = made_up(300, GERMAN, 10), made_up(300, FRENCH, 10, seed=1)  # French says the same words
    french = french.take(np.arange(300), np.zeros(300, int))  # five of them, in every text
    _, certainty = lexicon(join_pairs([german, french]), ENGLISH, 50, [GERMAN])
    said = np.intersect1d(french.text(1), WORDS + 10)
    assert len(said) == 5 and not certainty[said].any()
    assert (certainty[np.setdiff1d(WORDS + 10, said)] == 1).all()
    assert not lexicon(french, ENGLISH, 50, [GERMAN])[1].any()


def test_words_move_where_more_pairs_find_each_other_then(encoder_folders, caplog):
    torch.manual_seed(0)
    model = XLingAlignModel.from_encoder(encoder_folders["bert"], LANGUAGES, language_token="none")
    pairs, tokenizer = spoken(np.random.default_rng(0)), make_tokenizer()
    sample = sampled(pairs)
    before = found_share(model, tokenizer, pairs, sample)
    with caplog.at_level(logging.INFO):
        start_words(model, tokenizer, pairs)
    after = found_share(model, tokenizer, pairs, sample)
    assert after > before + 0.2 and f"{100 * before:.1f} % before" in caplog.text


def test_the_sample_is_none_of_what_is_counted_until_it_has_told(encoder_folders, monkeypatch):
    model = XLingAlignModel.from_encoder(encoder_folders["bert"], LANGUAGES, language_token="none")
    pairs, counted = spoken(np.random.default_rng(0)), []
    monkeypatch.setattr(lexicon_file, "lexicon", lambda own, *given: counted.append(own) or lexicon(own, *given))
    start_words(model, make_tokenizer(), pairs)
    sample = np.concatenate(sampled(pairs))
    assert 0 < len(sample) <= len(pairs) / 5
    assert set(pairs.pair_ids) - set(counted[0].pair_ids) == set(pairs.pair_ids[sample])
    assert len(counted) == 2 and np.array_equal(counted[1].pair_ids, pairs.pair_ids)


def test_the_pairs_of_the_languages_whose_words_move_decide(encoder_folders, monkeypatch):
    model = XLingAlignModel.from_encoder(encoder_folders["bert"], LANGUAGES, language_token="none")
    german, french = (spoken(np.random.default_rng(seed)) for seed in (0, 1))
    french.languages[1::2] = FRENCH
    pairs, moving = join_pairs([german, french]), []
    monkeypatch.setattr(lexicon_file, "translated", lambda *given: moving.append(given[3]) or translated(*given))
    start_words(model, make_tokenizer(), pairs, ["fr"])
    (sample,) = sampled(pairs, [FRENCH])
    assert len(sample) and (pairs.languages[2 * sample + 1] == FRENCH).all() and moving == [["fr"]] * 2


def test_words_stay_where_the_encoder_knows_better(encoder_folders, caplog, monkeypatch):
    torch.manual_seed(0)
    model = XLingAlignModel.from_encoder(encoder_folders["bert"], LANGUAGES, language_token="none")
    pairs, tokenizer = spoken(np.random.default_rng(0)), make_tokenizer()
    table = model.get_input_embeddings().weight
    english, german = (tokenizer.convert_tokens_to_ids(words) for words in (ENGLISH_WORDS, GERMAN_WORDS))
    table.data[german] = table.data[english]  # an encoder that has all words at their translations
    before = table.detach().clone()

    misled = torch.tensor(german).numpy(), before[english[::-1]]
    monkeypatch.setattr(lexicon_file, "translated", lambda *given: misled)
    start_words(model, tokenizer, pairs)
    torch.testing.assert_close(table.detach(), before, rtol=0, atol=0)
    assert "the words stay where the encoder has them" in caplog.text
