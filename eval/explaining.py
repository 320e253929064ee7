"""What a model makes of one pair of texts: which words it takes for each other, and what its fusion attends to."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from xling_align.eval.drawing import Figure
from xling_align.eval.encoding import TextEncoder, WordEncoder, eval_mode
from xling_align.eval.metrics.neighbours import unit
from xling_align.eval.metrics.word_alignment import Link
from xling_align.eval.tasks.word_alignment import links
from xling_align.eval.word_maps import Words, heat_map, linked_words, shown
from xling_align.modeling_xling import InputError

UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
MOST = 80  # words of a text that a page can show
CONTEXTS = {
    "own": ("own language state", "mean of its language", "mean of the source language"),
    "pair": ("own language state", "partner's language state (its own here)"),
}


@dataclass(frozen=True)
class Text:
    """One of the two texts as the model sees it.

    Attributes:
        text: As given.
        language: Its code; None where it is unknown.
        words: Its words, or the tokenizer's pieces where its script puts no spaces between words.
        tokens: The tokenizer's pieces of the whole text, special ones included.
        sentence: Sentence vector of length 1, (dim,).
        states: A vector of length 1 for each word, (words, dim).
        fusion: How much the sentence attends to each context of the attention fusion; empty where there is none.
    """

    text: str
    language: str | None
    words: list[str]
    tokens: list[str]
    sentence: np.ndarray
    states: np.ndarray
    fusion: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Explanation:
    """A pair of texts, compared."""

    first: Text
    second: Text

    @cached_property
    def cosine(self) -> float:
        """Cosine of the two sentences."""
        return float(self.first.sentence @ self.second.sentence)

    @cached_property
    def cosines(self) -> np.ndarray:
        """Cosines of the sentence and the words of the first text to those of the second, (1 + I, 1 + J)."""
        sides = [np.vstack([side.sentence, side.states]) for side in (self.first, self.second)]
        return sides[0] @ sides[1].T

    @cached_property
    def links(self) -> dict[Link, float]:
        """Cosine of the words that are each other's nearest, by (word of the first, word of the second)."""
        found = links(self.first.states, self.second.states)
        return {link: float(self.cosines[1:, 1:][link]) for link in sorted(found)}

    def figures(self) -> list[Figure]:
        """Words joined by lines, and the map of sentences and words (figures 10 and 2 of the multi-level paper)."""
        first, second = (Words(side.words, side.language) for side in (self.first, self.second))
        title, note = "Words that are each other's nearest", "The stronger the line, the higher the cosine."
        return [linked_words(first, second, self.links, title, note), self._map(first, second)]

    def _map(self, first: Words, second: Words) -> Figure:
        lowest, highest = shown(self.cosines.min()), shown(self.cosines.max())
        return heat_map(
            self.cosines,
            first._replace(texts=["sentence 1", *first.texts]),
            second._replace(texts=["sentence 2", *second.texts]),
            "Cosines of sentences and words",
            {(row + 1, column + 1) for row, column in self.links},
            whole=True,
            note=f"From {lowest} (lightest) to {highest} (darkest); frames are the lines above. "
            "The first row and column are the whole sentences.",
        )


def explain(encoder: TextEncoder, texts: Sequence[str], languages: Sequence[str | None]) -> Explanation:
    """Compare two texts by a model; an `InputError` where one is empty or has more words than a page can show.

    Args:
        encoder: The model, its tokenizer and pooling.
        texts: Two texts.
        languages: Their language codes, None where unknown.

    Returns:
        The explanation.
    """
    first, second = (_seen(encoder, text, language) for text, language in zip(texts, languages, strict=True))
    return Explanation(first, second)


def _seen(encoder: TextEncoder, text: str, language: str | None) -> Text:
    words = split_words(text, encoder.tokenizer)
    if not words or len(words) > MOST:
        found = f"{len(words)} words; at most {MOST} fit a page" if words else "empty"
        raise InputError(f"the text {text[:40]!r} is {found}; give one sentence")
    return Text(
        text=text,
        language=language,
        words=words,
        tokens=encoder.tokenizer.convert_ids_to_tokens(encoder.tokenizer(text)["input_ids"]),
        sentence=unit(encoder([text], language))[0],
        states=unit(WordEncoder(encoder)([words], language)[0]),
        fusion=fusion_weights(encoder, text, language),
    )


def split_words(text: str, tokenizer: Any) -> list[str]:
    """Split at spaces and off punctuation, and where a script puts no spaces, into the tokenizer's pieces.

    Args:
        text: Any text.
        tokenizer: A fast `transformers` tokenizer.

    Returns:
        The words; none of them is empty.
    """
    words = [word for run in text.split() for word in without_punctuation(run)]
    return [part for word in words for part in (pieces(word, tokenizer) if unspaced(word) else [word])]


def without_punctuation(word: str) -> list[str]:
    """A word and the punctuation around it, apart.

    >>> without_punctuation("(don't!)")
    ['(', "don't", '!)']
    """
    inner = [place for place, letter in enumerate(word) if not unicodedata.category(letter).startswith("P")]
    first, last = (inner[0], inner[-1] + 1) if inner else (0, len(word))
    return [part for part in (word[:first], word[first:last], word[last:]) if part]


def unspaced(word: str) -> bool:
    """Whether a letter is of a script without spaces between words.

    >>> unspaced("\u4f60\u597d"), unspaced("hello")
    (True, False)
    """
    return any(unicodedata.name(letter, "").startswith(UNSPACED) for letter in word)


def pieces(word: str, tokenizer: Any) -> list[str]:
    """The stretches of a word that a tokenizer takes together; vowel signs stay with their letter, as do its bytes."""
    offsets = tokenizer(word, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    marks = {place for place, letter in enumerate(word) if unicodedata.category(letter).startswith("M")}
    starts = sorted({start for start, end in offsets if end > start} - marks | {0})
    spans = zip(starts, [*starts[1:], len(word)], strict=True)
    return [word[start:end] for start, end in spans]


def fusion_weights(encoder: TextEncoder, text: str, language: str | None) -> dict[str, float]:
    """How much a sentence attends to each context of the attention fusion (eq. 4 of the multi-level paper).

    Words attend to their own sentence alone outside of training, so their weight is 1 and says nothing.

    Args:
        encoder: Any model.
        text: The text.
        language: Its code; None where unknown.

    Returns:
        Weights that add up to 1, by context; empty for a model without fusion.
    """
    fusion = getattr(encoder.model, "sentence_fusion", None)
    if fusion is None:
        return {}
    seen: list[torch.Tensor] = []
    hook = fusion.register_forward_pre_hook(lambda module, inputs: seen.append(module.weights(*inputs)))
    try:
        with torch.inference_mode(), eval_mode(encoder.model):
            encoder([text], language)
    finally:
        hook.remove()
    return dict(zip(CONTEXTS[encoder.model.config.fusion_context], seen[0][0, 0].float().tolist(), strict=True))
