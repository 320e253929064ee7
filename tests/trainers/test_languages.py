"""Rows for more languages."""

import pytest
import torch

from tests.conftest import make_tokenizer
from xling_align.modeling_xling import InputError
from xling_align.trainers.languages import add_languages, start_languages

TEXTS = ["guten morgen sonne", "guten tag", "nacht mond rot blau"]


def test_old_languages_give_the_same_vectors(model, batch):
    before = {code: model(**batch, language_ids=code).pooler_output for code in (None, "en", "fr")}
    add_languages(model, ["nl", "sv"])
    start_languages(model, make_tokenizer(), {"nl": TEXTS})
    assert model.config.languages == ["en", "de", "fr", "nl", "sv"]
    for code, vectors in before.items():
        assert torch.equal(model(**batch, language_ids=code).pooler_output, vectors)


def test_an_added_language_starts_at_its_text(model):
    add_languages(model, ["nl"])
    tokenizer = make_tokenizer()
    start_languages(model, tokenizer, {"nl": TEXTS})
    ids = [row for text in TEXTS for row in tokenizer(text)["input_ids"]]
    mean = model.get_input_embeddings().weight[ids].mean(0)
    torch.testing.assert_close(model.language.embedding.weight[4], mean)
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    states = model(**inputs, language_ids="nl").language_state
    assert model.language.count[4] == 3
    torch.testing.assert_close(model.language.mean[4], states.mean(0), atol=1e-4, rtol=1e-4)


def test_a_language_that_is_there_is_refused(model):
    with pytest.raises(InputError, match="has de already"):
        add_languages(model, ["nl", "de"])


def test_text_that_is_longer_than_the_model_takes_is_cut(model):
    add_languages(model, ["nl"])
    longest = model.config.max_position_embeddings
    start_languages(model, make_tokenizer(), {"nl": ["guten " * 2 * longest]}, max_length=4 * longest)
    assert model.language.count[4] == 1
