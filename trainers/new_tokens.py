"""More pieces for a tokenizer that cuts a language too fine, learned on that language's text (ours).

First the characters that it does not know, then merges of pieces: byte-pair encoding goes on over text that is split
already, so that old pieces keep their ids. Each old piece stands as one private character while the `tokenizers`
library learns. A new piece's embedding starts at the mean of those of its old pieces.
"""

import json
from collections import Counter
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from xling_align.modeling_xling import InputError, XLingAlignModel

LITTLE = 0.01  # of a unigram's log-probability
PRIVATE = [*range(0xE000, 0xF900), *range(0xF0000, 0xFFFFE), *range(0x100000, 0x10FFFE)]  # code points


def backend_of(tokenizer: Any) -> Tokenizer:
    """What splits the text of a fast tokenizer."""
    return tokenizer.backend_tokenizer


def learned_merges(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], number: int
) -> list[tuple[list[int], list[int]]]:
    """The next merges of a tokenizer's pieces on a text.

    Args:
        tokenizer: A fast tokenizer.
        texts: Sentences.
        number: Merges at most.

    Returns:
        Old pieces of the left and of the right part of each, in the order of learning.

    Raises:
        InputError: The text has more different pieces than there are private characters.
    """
    backend = backend_of(tokenizer)
    character: dict[int, str] = {}
    lines = []
    for split in backend.encode_batch(texts, add_special_tokens=False):
        words: dict[int | None, str] = {}
        for piece, word in zip(split.ids, split.word_ids, strict=True):
            if piece in tokenizer.all_special_ids:
                words[word] = words.get(word, "") + " "  # nothing is merged with what is unknown
                continue
            if piece not in character:
                if len(character) == len(PRIVATE):
                    raise InputError(f"the text has more than {len(PRIVATE):,} different pieces; give less of it")
                character[piece] = chr(PRIVATE[len(character)])
            words[word] = words.get(word, "") + character[piece]
        lines.append(" ".join(words.values()))
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue]
    trainer = trainers.BpeTrainer(vocab_size=len(character) + number, show_progress=False, min_frequency=2)
    learner.train_from_iterator(lines, trainer)
    piece_of = {char: piece for piece, char in character.items()}
    merges = json.loads(learner.to_str())["model"]["merges"]
    return [([piece_of[char] for char in left], [piece_of[char] for char in right]) for left, right in merges]


def extended(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], number: int
) -> tuple[PreTrainedTokenizerFast, list[list[int]]]:
    """A tokenizer with more pieces.

    Args:
        tokenizer: A fast tokenizer, of byte pairs, WordPiece or unigrams; left as it is.
        texts: Sentences of the language.
        number: New pieces at most.

    Returns:
        The tokenizer, and the old pieces that each new one is made of.

    Raises:
        InputError: The tokenizer is of another kind, or ends with pieces that are not in its vocabulary.
    """
    backend = backend_of(tokenizer)
    state = json.loads(backend.to_str())
    model = state["model"]
    if model.get("type") not in ("BPE", "WordPiece", "Unigram") or len(model["vocab"]) != len(tokenizer):
        raise InputError(
            f"a {model.get('type')} tokenizer of {len(model.get('vocab', []))} pieces and {len(tokenizer)} ids can't "
            "be extended; leave --new_tokens out"
        )
    prefix = model.get("continuing_subword_prefix") or ""
    unknown = unknown_characters(tokenizer, texts)
    letters = [form for letter in unknown for form in dict.fromkeys((letter, prefix + letter))][:number]
    for letter in letters:
        add_piece(model, letter, [])
    unknown_id: Any = tokenizer.unk_token_id
    parts = [[unknown_id] for _ in letters]
    spelled = rebuilt(tokenizer, state)
    pieces = {row: piece for piece, row in spelled.get_vocab().items()}
    known = set(pieces.values())
    for left, right in learned_merges(spelled, texts, number - len(letters)):
        first, second = (joined([pieces[row] for row in side], prefix) for side in (left, right))
        piece = joined([first, second], prefix)
        if model["type"] == "BPE":
            model["merges"].append([first, second])
        if piece not in known:
            add_piece(model, piece, left + right)
            known.add(piece)
            parts.append(left + right)
    return rebuilt(tokenizer, state), parts


def rebuilt(tokenizer: PreTrainedTokenizerBase, state: dict[str, Any]) -> PreTrainedTokenizerFast:
    """A tokenizer of another state, with the same special tokens and limit."""
    new = Tokenizer.from_str(json.dumps(state))
    special = tokenizer.special_tokens_map
    return PreTrainedTokenizerFast(tokenizer_object=new, model_max_length=tokenizer.model_max_length, **special)


def unknown_characters(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[str]:
    """Characters of a text that a tokenizer does not know, the commonest first; those that occur once are left out."""
    backend = backend_of(tokenizer)
    normalizer = backend.normalizer
    counts = Counter("".join(normalizer.normalize_str(text) if normalizer else text for text in texts))
    return [
        character
        for character, count in counts.most_common()
        if count > 1 and tokenizer.unk_token_id in backend.encode(character, add_special_tokens=False).ids
    ]


def joined(pieces: list[str], prefix: str) -> str:
    """Pieces as one, the mark of a piece inside a word left out but at the beginning.

    >>> joined(["play", "##ing", "##s"], "##"), joined(["##ing", "##s"], "##")
    ('playings', '##ings')
    """
    return pieces[0] + "".join(piece.removeprefix(prefix) for piece in pieces[1:])


def add_piece(model: dict[str, Any], piece: str, parts: list[int]) -> None:
    """Put a piece at the end of a tokenizer's vocabulary.

    Among unigrams its score (a log-probability) is a little above that of its parts together, so that it stands where
    they stood, and other splits of old words stay the best; a letter without parts gets the lowest score there is.

    Args:
        model: Of the tokenizer's state.
        piece: What is added.
        parts: Old pieces that it is made of.
    """
    if model["type"] == "Unigram":
        vocabulary = model["vocab"]
        score = sum(vocabulary[row][1] for row in parts) + LITTLE if parts else min(score for _, score in vocabulary)
        vocabulary.append([piece, score])
    else:
        model["vocab"][piece] = len(model["vocab"])


@torch.no_grad()
def add_embeddings(model: XLingAlignModel, first: int, parts: list[list[int]]) -> None:
    """Give a model word embeddings for new pieces.

    Args:
        model: Changed in place.
        first: Id of the first new piece; the others follow.
        parts: Old pieces that each new one is made of; its embedding starts at their mean.
    """
    model.resize_token_embeddings(max(model.config.vocab_size, first + len(parts)), mean_resizing=False)
    for tower in model.towers:
        words: Any = tower.get_input_embeddings().weight
        for row, old in enumerate(parts, first):
            words[row] = words[old].mean(0)
