"""Neighbours looked at word by word."""

import numpy as np
import torch

from tests.conftest import make_tokenizer
from xling_align.eval.encoding import TextEncoder
from xling_align.eval.metrics.neighbours import Neighbours
from xling_align.trainers.adaptive import words
from xling_align.trainers.adaptive.words import by_words, word_similarities, word_states

TEXTS = ["good morning", "sun moon red green", "night", "guten tag mond"]


def test_words_are_the_models_states_without_special_tokens(model, tmp_path, monkeypatch):
    monkeypatch.setattr(words, "BLOCK", 3)
    encoder = TextEncoder(model, make_tokenizer(), batch_size=2, normalize=True)
    states = word_states(tmp_path / "words", TEXTS, encoder, "en")
    for row, text in enumerate(TEXTS):
        inputs = make_tokenizer()([text], return_tensors="pt")
        inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        with torch.inference_mode():
            expected = model(**inputs, language_ids="en").last_hidden_state[0, 1:-1]
        expected = torch.nn.functional.normalize(expected, dim=-1).numpy()
        np.testing.assert_allclose(states.of(row), expected, atol=2e-3)


def test_what_is_encoded_is_not_encoded_again(model, tmp_path):
    encoder = TextEncoder(model, make_tokenizer(), normalize=True)
    first = word_states(tmp_path / "words", TEXTS, encoder, "en")
    again = word_states(tmp_path / "words", [], encoder, "en")
    assert (first.states == again.states).all()


def test_neighbours_are_sorted_by_their_words_and_absent_ones_stay_last(model, tmp_path):
    encoder = TextEncoder(model, make_tokenizer(), normalize=True)
    queries = word_states(tmp_path / "queries", TEXTS, encoder, "en")
    keys = word_states(tmp_path / "keys", TEXTS[::-1], encoder, "en")
    rows = np.array([[0, 1, 3], [0, 2, -1], [1, -1, -1], [3, 2, 0]], np.int32)
    found = by_words(Neighbours(np.zeros(rows.shape, np.float32), rows), queries, keys)
    assert found.rows[0, 0] == 3 and found.rows[1].tolist() == [2, 0, -1] and found.rows[3, 0] == 0  # the same texts
    np.testing.assert_allclose(found.cosines[[0, 1, 3], 0], 1, atol=2e-3)
    assert (np.diff(np.where(found.rows < 0, -9, found.cosines), axis=1) <= 0).all()
    expected = word_similarities(queries.of(2), [keys.of(1)])
    assert found.cosines[2, 0] == expected[0] and found.cosines[2, 1] == -np.inf
