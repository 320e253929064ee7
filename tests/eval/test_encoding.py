from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from tests.conftest import stir
from xling_align.eval import encoding
from xling_align.eval.encoding import TextEncoder, WordEncoder, pool
from xling_align.modeling_xling import InputError, XLingAlignModel, load_tokenizer

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefgh"]
TEXTS = ["a", "b c d e f", "c c", "h g f e d c b a", "d e", "b", "a b c"]


@pytest.fixture(scope="module")
def tokenizer():
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    words.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return BertModel(BertConfig(vocab_size=len(WORDS), max_position_embeddings=12, **sizes))


class Recorder(torch.nn.Module):
    """Its state at position t is (the token's id, t); it remembers the languages that it was given."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.config = SimpleNamespace(max_position_embeddings=32)
        self.languages, self.shapes = [], []

    def forward(self, input_ids, attention_mask, token_type_ids=None, language_ids="not given"):
        self.languages.append(language_ids)
        self.shapes.append(tuple(input_ids.shape))
        positions = torch.arange(input_ids.shape[1]).expand_as(input_ids)
        return SimpleNamespace(last_hidden_state=torch.stack([input_ids, positions], dim=-1).double())


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("batch_size", [2, 3, 100])
def test_batches_give_the_same_vectors_as_one_text_at_a_time(model, tokenizer, pooling, batch_size):
    vectors = TextEncoder(model, tokenizer, pooling, batch_size)(TEXTS)
    alone = np.concatenate([TextEncoder(model, tokenizer, pooling)([text]) for text in TEXTS])
    np.testing.assert_allclose(vectors, alone, atol=1e-5)
    assert vectors.dtype == np.float32
    assert np.abs(alone[0] - alone[5]).max() > 1e-3  # not vacuous: different texts, different vectors


def test_vectors_equal_a_plain_forward_pass(model, tokenizer):
    with torch.no_grad():
        states = model.eval()(**tokenizer(["b c d"], return_tensors="pt")).last_hidden_state[0]
    np.testing.assert_allclose(TextEncoder(model, tokenizer, "cls")(["b c d"])[0], states[0], atol=1e-6)
    np.testing.assert_allclose(TextEncoder(model, tokenizer, "mean")(["b c d"])[0], states.mean(0), atol=1e-6)


def test_mean_leaves_padding_out_and_cls_is_the_first_token(tokenizer):
    mean = TextEncoder(Recorder(), tokenizer, "mean")(["a", "b c d e f"])
    assert mean[0].tolist() == [(2 + 4 + 3) / 3, 1.0]  # [CLS] a [SEP] at positions 0, 1, 2
    assert TextEncoder(Recorder(), tokenizer, "cls")(["a", "b c d e f"]).tolist() == [[2, 0], [2, 0]]


def test_a_tokenizer_that_pads_on_the_left_changes_nothing(model, tokenizer):
    right = TextEncoder(model, tokenizer)(TEXTS)
    tokenizer.padding_side = "left"
    try:
        np.testing.assert_array_equal(TextEncoder(model, tokenizer)(TEXTS), right)
    finally:
        tokenizer.padding_side = "right"


def test_a_tokenizer_that_names_segments_serves_a_model_without_them(encoder_folders, monkeypatch):
    encode = TextEncoder.from_folder(encoder_folders["distilbert"])
    expected = encode(["good morning"])
    monkeypatch.setattr(encode.tokenizer, "model_input_names", ["input_ids", "token_type_ids", "attention_mask"])
    assert "token_type_ids" in encode.tokenizer("good morning")
    np.testing.assert_array_equal(encode(["good morning"]), expected)
    assert WordEncoder(encode)([["good", "morning"]])[0].shape == (2, 32)


def test_texts_of_similar_length_share_a_batch(tokenizer):
    model = Recorder()
    TextEncoder(model, tokenizer, batch_size=2)(["a", "a b c d e f", "b", "a b c d e g"])
    assert model.shapes == [(2, 8), (2, 3)]


def test_the_language_reaches_only_models_that_take_one(model, tokenizer):
    recorder = Recorder()
    encode = TextEncoder(recorder, tokenizer)
    encode(["a"], language="de")
    encode(["a"])
    assert recorder.languages == ["de", None]
    np.testing.assert_array_equal(
        TextEncoder(model, tokenizer)(["a"], language="de"), TextEncoder(model, tokenizer)(["a"])
    )


def test_the_training_mode_of_every_part_is_restored(model, tokenizer):
    model.train()
    model.embeddings.eval()
    modes = [module.training for module in model.modules()]
    first = TextEncoder(model, tokenizer)(TEXTS)
    np.testing.assert_array_equal(TextEncoder(model, tokenizer)(TEXTS), first)  # dropout was off
    assert [module.training for module in model.modules()] == modes
    assert any(modes) and not all(modes)
    with pytest.raises(TypeError):
        TextEncoder(model, tokenizer)([3, 4])
    assert [module.training for module in model.modules()] == modes


def test_normalized_vectors_have_length_one_and_the_same_direction(model, tokenizer):
    plain, unit = (TextEncoder(model, tokenizer, normalize=given)(TEXTS) for given in (False, True))
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(unit * np.linalg.norm(plain, axis=1, keepdims=True), plain, atol=1e-5)


def test_bf16_stays_near_float32(model, tokenizer):
    exact, rounded = (TextEncoder(model, tokenizer, "mean", bf16=given)(TEXTS) for given in (False, True))
    assert rounded.dtype == np.float32
    assert 0 < np.abs(exact - rounded).max() < 0.1


def test_long_texts_are_cut_to_what_the_model_takes(model, tokenizer):
    encode = TextEncoder(model, tokenizer)
    assert encode.max_length == 12
    np.testing.assert_array_equal(encode(["a b " * 50]), encode(["a b " * 5]))
    assert TextEncoder(model, tokenizer, max_length=5).max_length == 5


@pytest.mark.parametrize(("limit", "expected"), [(50, 12), (6, 6)])
def test_the_smaller_limit_of_tokenizer_and_model_holds(model, tokenizer, monkeypatch, limit, expected):
    monkeypatch.setattr(tokenizer, "model_max_length", limit)
    assert TextEncoder(model, tokenizer).max_length == expected


def test_positions_that_an_encoder_keeps_for_padding_hold_no_text(encoder_folders):
    encode = TextEncoder.from_folder(encoder_folders["xlm-roberta"])
    encode.tokenizer.model_max_length = 10**9
    limited = TextEncoder(encode.model, encode.tokenizer)
    assert limited.model.config.max_position_embeddings == limited.max_length + 2 == encode.max_length + 2
    assert np.isfinite(limited(["good " * 50])).all()


@pytest.mark.parametrize("done", [3, 6])
def test_blocks_are_the_same_whatever_came_before_them(model, tokenizer, monkeypatch, done):
    monkeypatch.setattr(encoding, "BLOCK", 3)
    encode = TextEncoder(model, tokenizer, batch_size=2)
    blocks = list(encode.blocks(iter(TEXTS)))
    assert [len(block) for block in blocks] == [3, 3, 1]
    np.testing.assert_allclose(np.concatenate(blocks), encode(TEXTS), atol=1e-5)
    np.testing.assert_array_equal(np.concatenate(list(encode.blocks(TEXTS[done:]))), np.concatenate(blocks)[done:])


def test_word_states_that_are_not_read_are_not_fused(encoder_folders):
    torch.manual_seed(0)
    ours = XLingAlignModel.from_encoder(encoder_folders["bert"], ["en", "de"]).eval()
    stir(ours)
    words, fused = load_tokenizer(encoder_folders["bert"]), []
    assert ours.word_fusion is not None
    ours.word_fusion.register_forward_hook(lambda *_: fused.append(1))
    vectors = TextEncoder(ours, words, "cls")(["good morning"], "de")
    assert not fused
    expected = ours(**words(["good morning"], return_tensors="pt"), language_ids="de")
    np.testing.assert_allclose(vectors, expected.pooler_output.detach(), atol=1e-6)
    TextEncoder(ours, words, "mean")(["good morning"], "de")
    assert len(fused) == 2


def test_a_saved_folder_gives_the_same_vectors(model, tokenizer, tmp_path):
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = TextEncoder.from_folder(tmp_path, pooling="mean", device="cpu")
    np.testing.assert_allclose(loaded(TEXTS), TextEncoder(model, tokenizer, "mean")(TEXTS), atol=1e-6)


def test_unusable_input_is_refused_in_one_line(model, tokenizer, tmp_path):
    refused = [
        lambda: TextEncoder(model, tokenizer, "max"),
        lambda: TextEncoder(model, tokenizer, batch_size=0),
        lambda: TextEncoder(model, tokenizer)("one string"),
        lambda: TextEncoder(model, tokenizer)([]),
        lambda: TextEncoder.from_folder(tmp_path),
    ]
    for call in refused:
        with pytest.raises(InputError) as error:
            call()
        assert "\n" not in str(error.value)


def test_mean_of_an_empty_mask_is_zero():
    assert pool(torch.ones(1, 2, 3), torch.zeros(1, 2), "mean").tolist() == [[0, 0, 0]]
