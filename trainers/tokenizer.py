"""Train a tokenizer on any scripts, and split the same text at several granularities."""

import json
from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from xling_align.modeling_xling import InputError

SPECIAL = {"cls_token": "<s>", "pad_token": "<pad>", "sep_token": "</s>", "unk_token": "<unk>", "mask_token": "<mask>"}


def train_tokenizer(
    texts: Iterable[str], vocab_size: int, max_length: int = 512, lowercase: bool = False
) -> PreTrainedTokenizerFast:
    """Train a byte-pair tokenizer: NFKC, words marked by their leading space, Chinese characters apart.

    Byte-pair encoding, because its training gives the same vocabulary every time.

    Args:
        texts: Sentences of all languages.
        vocab_size: Number of pieces, special tokens included; small texts may give fewer.
        max_length: Longest text in tokens; the tokenizer cuts there.
        lowercase: Fold the case of all text.

    Returns:
        The tokenizer, with `<s> text </s>` and `<s> text </s> pair </s>` as its forms.

    Raises:
        InputError: There is no text, or it has more characters than the vocabulary may have pieces.
    """
    distinct = sorted({text for text in texts if text.strip()})
    if not distinct:
        raise InputError("there is no text to train a tokenizer on")
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(  # pyright: ignore[reportAttributeAccessIssue]
        [normalizers.NFKC(), *([normalizers.Lowercase()] if lowercase else [])]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # pyright: ignore[reportAttributeAccessIssue]
        [
            pre_tokenizers.Metaspace(),
            pre_tokenizers.Punctuation(),
            pre_tokenizers.Split(Regex(r"\p{Han}"), "isolated"),
        ]
    )
    mask = AddedToken(SPECIAL["mask_token"], lstrip=True)  # takes in the space before it: it stands for a whole word
    special = [*list(SPECIAL.values())[:-1], mask]
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(distinct, trainer, length=len(distinct))
    if tokenizer.get_vocab_size() > vocab_size:
        characters = tokenizer.get_vocab_size() - len(SPECIAL)
        raise InputError(f"the texts have {characters} different characters and vocab_size is {vocab_size}; raise it")
    ids = [(token, tokenizer.token_to_id(token)) for token in (SPECIAL["cls_token"], SPECIAL["sep_token"])]
    tokenizer.post_processor = processors.TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=ids
    )
    names = {**SPECIAL, "mask_token": mask}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=max_length, **names)


def finer(tokenizer: PreTrainedTokenizerBase, merges: float) -> PreTrainedTokenizerFast:
    """The same vocabulary, with only the first merges of its byte-pair encoding: words fall into smaller pieces.

    Training on several granularities teaches the small pieces of frequent words, which rare words are made of; a
    deterministic form of BPE dropout (Provilkov et al. 2020).

    Args:
        tokenizer: A byte-pair tokenizer.
        merges: Share of the merges that is kept, above 0 and at most 1.

    Returns:
        A new tokenizer with the same ids.

    Raises:
        InputError: The tokenizer is of another kind.
    """
    state = json.loads(tokenizer.backend_tokenizer.to_str())  # pyright: ignore
    if state["model"]["type"] != "BPE":
        raise InputError(
            f"a {state['model']['type']} tokenizer has no merges to leave out; it must be byte-pair (BPE)"
        )
    state["model"]["merges"] = state["model"]["merges"][: int(merges * len(state["model"]["merges"]))]
    backend = Tokenizer.from_str(json.dumps(state))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, model_max_length=tokenizer.model_max_length, **tokenizer.special_tokens_map
    )
