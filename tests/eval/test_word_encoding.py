from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AutoModel

from tests.conftest import MAX_WORDS, encoder_config
from xling_align.eval.encoding import TextEncoder, WordEncoder
from xling_align.modeling_xling import InputError

IDS = {"good": 5, "morning": 6, "night": 7, "sun": 9, "red": 11, "-": 3}  # of conftest's tokenizer


class ById(torch.nn.Module):
    """Its state of a token is the token's id, in layer n times 10 to the n; it remembers what it was given."""

    def __init__(self, layers=3):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.config = SimpleNamespace(max_position_embeddings=MAX_WORDS, num_hidden_layers=layers - 1)
        self.calls = []

    def forward(self, input_ids, attention_mask, language_ids="not given", output_hidden_states=False):
        self.calls.append((tuple(input_ids.shape), attention_mask.sum(1).tolist(), language_ids))
        states = input_ids.unsqueeze(-1).float()
        layers = tuple(states * 10**layer for layer in range(self.config.num_hidden_layers + 1))
        return SimpleNamespace(last_hidden_state=-states, hidden_states=layers if output_hidden_states else None)


def by_hand(words):
    """The mean id of each word's pieces, at `-` too."""
    pieces = [[IDS[piece] for piece in word.replace("-", " - ").split()] for word in words]
    return [[np.mean(ids)] for ids in pieces]


def words_of(model, tokenizer, **options):
    return WordEncoder(TextEncoder(model, tokenizer, **options))


def test_a_words_vector_is_the_mean_of_its_subwords(tokenizer):
    sentence = ["morning-good-night", "good", "night-sun", "sun"]
    (vectors,) = words_of(ById(), tokenizer)([sentence])
    np.testing.assert_allclose(-vectors, by_hand(sentence), rtol=1e-6)
    assert vectors.dtype == np.float32


def test_a_layer_can_be_chosen_and_the_last_is_the_models_own(tokenizer):
    encode = words_of(ById(), tokenizer)
    assert encode.layers == [0, 1, 2]
    assert [encode([["good"]], layer=layer)[0].item() for layer in (None, 0, 1, -1)] == [-5, 5, 50, 500]
    with pytest.raises(InputError, match="layer 3 can't be had: the model has layers 0 to 2"):
        encode([["good"]], layer=3)


def test_a_word_without_subwords_has_the_zero_vector(tokenizer):
    found = words_of(ById(), tokenizer)([["good", " ", "night"], [" "]])
    assert [vectors.tolist() for vectors in found] == [[[-5.0], [0.0], [-7.0]], [[0.0]]]


@pytest.mark.parametrize("limit", [4, 5, 9, 24])
def test_long_sentences_go_through_in_windows(tokenizer, limit):
    model = ById()
    sentences = [["good", "night", "morning"] * 17, ["night"], ["sun", "red"] * 9]
    found = words_of(model, tokenizer, max_length=limit)(sentences)
    for words, vectors in zip(sentences, found, strict=True):
        np.testing.assert_allclose(-vectors, by_hand(words))
    assert max(shape[1] for shape, _, _ in model.calls) == limit


def test_batches_are_sorted_by_length_padding_is_masked_and_the_language_is_told(tokenizer):
    model = ById()
    sentences = [["good"], ["night"] * 5, ["sun"], ["red"] * 4]
    found = words_of(model, tokenizer, batch_size=2)(sentences, language="de")
    assert [vectors.ravel().tolist() for vectors in found] == [[-5.0], [-7.0] * 5, [-9.0], [-11.0] * 4]
    assert model.calls == [((2, 7), [7, 6], "de"), ((2, 3), [3, 3], "de")]


def test_words_of_plain_encoders_equal_a_forward_pass(tokenizer):
    torch.manual_seed(0)
    model = AutoModel.from_config(encoder_config("bert")).train()
    encode = words_of(model, tokenizer)
    sentences = [["good", "sun"], ["red", "moon", "blue", "night"]]
    for layer in (None, 0, 1, -1):
        found = encode(sentences, layer=layer)
        assert model.training and len(encode.layers) == 3
        model.eval()
        for words, vectors in zip(sentences, found, strict=True):
            with torch.no_grad():
                output = model(**tokenizer(" ".join(words), return_tensors="pt"), output_hidden_states=True)
            states = output.last_hidden_state if layer is None else output.hidden_states[layer]
            np.testing.assert_allclose(vectors, states[0, 1:-1], atol=1e-5)
        model.train()


def test_ours_gives_fused_words_or_those_of_a_layer(model, tokenizer):
    encode = words_of(model, tokenizer)
    inputs = tokenizer("good sun red", return_tensors="pt")
    with torch.no_grad():
        output = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            language_ids="de",
            output_hidden_states=True,
        )
    words = ["good", "sun", "red"]
    fused, plain = encode([words], language="de")[0], encode([words], language="de", layer=1)[0]
    np.testing.assert_allclose(fused, output.last_hidden_state[0, 1:-1], atol=1e-5)
    np.testing.assert_allclose(plain, output.hidden_states[1][0, 1:-1], atol=1e-5)
    assert np.abs(fused - encode([words], language="fr")[0]).max() > 1e-3


@pytest.mark.parametrize("sentences", [[], [["a"], []], ["a sentence"]])
def test_what_is_no_list_of_words_is_refused(tokenizer, sentences):
    with pytest.raises(InputError, match="lists of one or more words"):
        words_of(ById(), tokenizer)(sentences)
