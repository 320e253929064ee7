"""Train a tokenizer: a Unigram model over whatever scripts the texts are in."""

import json
from collections.abc import Iterable

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from xling_align.modeling_xling import InputError

SPECIAL = {"cls_token": "<s>", "pad_token": "<pad>", "sep_token": "</s>", "unk_token": "<unk>", "mask_token": "<mask>"}


def settled(tokenizer: Tokenizer) -> models.Unigram:
    """The trained model in one fixed form: training lists rare characters, and scores them, in any order."""
    vocabulary = json.loads(tokenizer.to_str())["model"]["vocab"]
    special, pieces = vocabulary[: len(SPECIAL)], vocabulary[len(SPECIAL) :]
    rarest = min((score for piece, score in pieces if len(piece) > 1), default=-20.0)
    pieces = [(piece, round(max(score, rarest), 6)) for piece, score in pieces]
    pieces.sort(key=lambda item: (-item[1], item[0]))
    return models.Unigram([*map(tuple, special), *pieces], unk_id=list(SPECIAL.values()).index("<unk>"))


def train_tokenizer(
    texts: Iterable[str], vocab_size: int, max_length: int = 512, lowercase: bool = False
) -> PreTrainedTokenizerFast:
    """Train a tokenizer in the manner of XLM-R: NFKC, words marked by their leading space, a Unigram model.

    Args:
        texts: Sentences of all languages; what is rare here is split finely later.
        vocab_size: Number of pieces, special tokens included; small texts may give fewer.
        max_length: Longest text in tokens; the tokenizer cuts there.
        lowercase: Fold the case of all text.

    Returns:
        The tokenizer, with `<s> text </s>` and `<s> text </s> pair </s>` as its forms.

    Raises:
        InputError: There is no text, or the vocabulary is too small to hold its characters.
    """
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(  # pyright: ignore[reportAttributeAccessIssue]
        [normalizers.NFKC(), *([normalizers.Lowercase()] if lowercase else [])]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # pyright: ignore[reportAttributeAccessIssue]
        [pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()]
    )
    special = list(SPECIAL.values())
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    distinct = sorted({text for text in texts if text.strip()})
    if not distinct:
        raise InputError("there is no text to train a tokenizer on")
    tokenizer.train_from_iterator(distinct, trainer, length=len(distinct))
    tokenizer.model = settled(tokenizer)
    ids = [(token, tokenizer.token_to_id(token)) for token in (SPECIAL["cls_token"], SPECIAL["sep_token"])]
    tokenizer.post_processor = processors.TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=ids
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=max_length, **SPECIAL)
