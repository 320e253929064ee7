"""The LM head goes over from stock masked language models of every family, and back."""

import pytest
import torch
from transformers import AutoModel, AutoModelForMaskedLM

from tests.conftest import FAMILIES, LANGUAGES, encoder_config, make_tokenizer
from xling_align.modeling_xling import XLingAlignForPreTraining, XLingAlignModel
from xling_align.trainers.lm_head import load_lm_head, masked_lm_model


def stock(family: str):
    """A masked language model whose every weight is away from its start."""
    torch.manual_seed(3)
    model = AutoModelForMaskedLM.from_config(encoder_config(family)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def ours(folder) -> XLingAlignForPreTraining:
    base = XLingAlignModel.from_encoder(folder, LANGUAGES, language_token="none", fusion_context="none")
    return XLingAlignForPreTraining.from_base(base).eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoints_own_head_gives_its_own_logits(tmp_path, family):
    expected = stock(family)
    expected.save_pretrained(tmp_path)
    model = ours(tmp_path)
    assert load_lm_head(model, tmp_path)
    batch = make_tokenizer()("good morning <mask>", return_tensors="pt")
    batch = {name: batch[name] for name in ("input_ids", "attention_mask")}
    output = model(**batch, lm_positions=torch.ones_like(batch["input_ids"], dtype=torch.bool), fuse_words=False)
    logits = model.lm_head(output.word_states)
    torch.testing.assert_close(logits, expected(**batch).logits, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "distilbert"])
def test_a_pretrained_encoder_is_saved_as_a_stock_masked_language_model(tmp_path, family):
    stock(family).save_pretrained(tmp_path / "first")
    model = ours(tmp_path / "first")
    load_lm_head(model, tmp_path / "first")
    masked_lm_model(model).save_pretrained(tmp_path / "second")
    one, other = (AutoModelForMaskedLM.from_pretrained(tmp_path / name).state_dict() for name in ("first", "second"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_an_encoder_without_a_head_leaves_ours_as_it_is(tmp_path):
    AutoModel.from_config(encoder_config("bert")).save_pretrained(tmp_path)
    model = ours(tmp_path)
    before = model.lm_head.dense.weight.clone()
    assert not load_lm_head(model, tmp_path)
    assert torch.equal(model.lm_head.dense.weight, before)
