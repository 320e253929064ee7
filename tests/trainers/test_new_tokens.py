"""More pieces for tokenizers of three kinds, and where their embeddings start."""

import doctest

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import BertConfig, PreTrainedTokenizerFast

from tests.conftest import make_tokenizer
from xling_align.modeling_xling import InputError, XLingAlignModel
from xling_align.trainers import new_tokens
from xling_align.trainers.new_tokens import add_embeddings, extended
from xling_align.trainers.tokenizer import train_tokenizer

OLD = ["a small bird sings", "the birds sing small songs", "a song of a bird"] * 3
NEW = ["birdsong birdsong ßßa", "songbirds sing birdsong ßßa", "smallbird songbirds"] * 3


def word_piece() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))  # pyright: ignore
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore
    tokenizer.train_from_iterator(OLD, trainers.WordPieceTrainer(vocab_size=60, special_tokens=["<unk>", "<pad>"]))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>")


def unigram() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()  # pyright: ignore
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()  # pyright: ignore
    special = ["<unk>", "<pad>"]
    tokenizer.train_from_iterator(
        OLD, trainers.UnigramTrainer(vocab_size=30, special_tokens=special, unk_token="<unk>")
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>")


KINDS = {"BPE": lambda: train_tokenizer(OLD, 40), "WordPiece": word_piece, "Unigram": unigram}


def test_examples_in_docstrings_hold():
    outcome = doctest.testmod(new_tokens)
    assert outcome.attempted and not outcome.failed


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_takes_fewer_pieces_and_old_ones_keep_their_ids(kind, tmp_path):
    old = KINDS[kind]()
    new, parts = extended(old, NEW, 12)
    before, after = old.get_vocab(), new.get_vocab()
    assert all(after[piece] == row for piece, row in before.items())
    assert len(after) == len(before) + len(parts) and 0 < len(parts) <= 12
    assert sum(map(len, new(NEW)["input_ids"])) < 0.8 * sum(map(len, old(NEW)["input_ids"]))
    assert old.unk_token_id in old("ß", add_special_tokens=False)["input_ids"]
    assert new.unk_token_id not in new("ßßa", add_special_tokens=False)["input_ids"]
    new.save_pretrained(tmp_path)
    assert PreTrainedTokenizerFast.from_pretrained(tmp_path)(NEW)["input_ids"] == new(NEW)["input_ids"]


@pytest.mark.parametrize("kind", KINDS)
def test_old_texts_take_no_more_pieces_than_before(kind):
    old = KINDS[kind]()
    new, _ = extended(old, NEW, 12)
    for before, after in zip(old(OLD)["input_ids"], new(OLD)["input_ids"], strict=True):
        assert after == before or len(after) < len(before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_piece_spells_its_old_ones(kind):
    old = KINDS[kind]()
    new, parts = extended(old, NEW, 12)
    pieces = {row: piece for piece, row in new.get_vocab().items()}
    for row, own in enumerate(parts, len(old)):
        spelled = "".join(pieces[part].removeprefix("##") for part in own)
        assert pieces[row].removeprefix("##") == spelled or own == [old.unk_token_id]


def test_embeddings_start_at_the_mean_and_the_others_stay():
    config = BertConfig(vocab_size=10, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    model = XLingAlignModel.from_encoder(config, ["en"])
    before = model.get_input_embeddings().weight.detach().clone()
    add_embeddings(model, 10, [[1, 3], [10, 2]])
    after = model.get_input_embeddings().weight
    assert torch.equal(after[:10], before) and len(after) == 12 == model.config.vocab_size
    torch.testing.assert_close(after[10], (before[1] + before[3]) / 2)
    torch.testing.assert_close(after[11], (after[10] + before[2]) / 2)


def test_other_kinds_are_refused():
    with pytest.raises(InputError, match="WordLevel"):
        extended(make_tokenizer(), NEW, 5)
