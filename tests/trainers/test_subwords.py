"""Word embeddings that share their n-grams in training, and are plain again in every saved file."""

import math

import pytest
import torch
from torch import nn

from tests.conftest import LANGUAGES, make_tokenizer
from tests.trainers.test_trainer import PAIRS, StopAt, arguments, embed
from xling_align.modeling_xling import InputError, XLingAlignModel
from xling_align.trainers import XLingAlignTrainer
from xling_align.trainers.subwords import SharedSubwords, ngrams, share_subwords

PIECES = ["", "▁go", "go", "gone", "▁x"]


def test_ngrams_are_the_parts_of_a_piece_without_itself():
    assert ngrams("▁go") == ["g", "go", "o", "▁", "▁g"]
    assert ngrams("x") == ngrams("") == []
    assert ngrams("до") == ["d", "do", "o", "д", "о"]
    assert max(map(len, ngrams("abcdefghij"))) == 5


def test_an_embedding_is_its_own_row_and_its_shared_ngrams_over_the_root_of_their_number():
    shared = SharedSubwords(nn.Embedding(5, 3), PIECES)
    names = [part for piece in PIECES for part in ngrams(piece)]
    known = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    assert set(known) == {"g", "go", "o", "▁"}
    with torch.no_grad():
        shared.ngrams.copy_(torch.randn(len(known), 3))
    rows = dict(zip(known, shared.ngrams.detach(), strict=True))
    own = shared.own.weight.detach()
    out = shared(torch.tensor([[1, 0], [2, 1]])).detach()
    expected = own[1] + (rows["g"] + rows["go"] + rows["o"] + rows["▁"]) / math.sqrt(4)
    torch.testing.assert_close(out[0, 0], expected)
    torch.testing.assert_close(out[1, 1], expected)
    torch.testing.assert_close(out[0, 1], own[0])
    torch.testing.assert_close(out[1, 0], own[2] + (rows["g"] + rows["o"]) / math.sqrt(2))
    torch.testing.assert_close(shared.folded()[torch.tensor([[1, 0], [2, 1]])], out)


def test_what_sounds_alike_shares_across_scripts():
    assert {"kengu", "nguru"} <= set(ngrams("кенгуру")) & set(ngrams("kenguru"))
    assert {"▁ka", "ngaru"} <= set(ngrams("▁カンガルー")) & set(ngrams("▁kangaru"))


def test_without_anyascii_one_line_says_what_to_install(model, monkeypatch):
    monkeypatch.setattr("xling_align.trainers.subwords.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install .xling-align\[subwords\]"):
        share_subwords(model, make_tokenizer())


def test_sharing_changes_nothing_at_first(model, batch):
    with torch.no_grad():
        before = model(**batch, language_ids="de").pooler_output
        share_subwords(model, make_tokenizer())
        after = model(**batch, language_ids="de").pooler_output
    torch.testing.assert_close(after, before, rtol=0, atol=0)


@pytest.mark.parametrize("language_token", ["insert", "pool"])
def test_shared_subwords_learn_are_saved_folded_and_resume_exactly(tmp_path, family, encoder_folders, language_token):
    def run(folder: str, callbacks=(), resume=None):
        torch.manual_seed(0)
        model = XLingAlignModel.from_encoder(encoder_folders[family], LANGUAGES, language_token=language_token)
        share_subwords(model, make_tokenizer())
        args = arguments(tmp_path / folder, max_steps=4, save_steps=2, bf16=False)
        trainer = XLingAlignTrainer(model, args, PAIRS, processing_class=make_tokenizer(), callbacks=list(callbacks))
        trainer.train(resume_from_checkpoint=resume)
        trainer.save_model()
        return model.eval()

    whole = run("whole")
    assert whole.get_input_embeddings().ngrams.abs().max() > 1e-4
    run("halves", [StopAt(2)])
    resumed = run("halves", resume=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    plain = XLingAlignModel.from_pretrained(tmp_path / "whole").eval()
    assert isinstance(plain.get_input_embeddings(), nn.Embedding)
    torch.testing.assert_close(embed(plain, ["good morning"]), embed(whole, ["good morning"]), atol=1e-5, rtol=1e-4)
