"""How a tokenizer splits a language: tokens for a word, pieces it does not know."""

from collections.abc import Sequence
from typing import Any

SPACED = 15.0  # mean characters between spaces above which a language is taken to be written without them


def token_figures(tokenizer: Any, texts: Sequence[str], translations: Sequence[str] | None = None) -> dict[str, Any]:
    """Count what a tokenizer makes of texts, special tokens left out.

    Args:
        tokenizer: A `transformers` tokenizer.
        texts: Sentences of one language.
        translations: The same in a language that the tokenizer is good at, for the premium.

    Returns:
        `tokens_per_word` (None for a language that is written without spaces), `characters_per_token`, `unknown`, the
        share of tokens that stand for unknown text, and `premium`, tokens over those of the translations (or None).
    """
    ids = [row for text in tokenizer(list(texts), add_special_tokens=False)["input_ids"] for row in text]
    words = [word for text in texts for word in text.split()]
    characters, tokens = sum(map(len, words)), max(len(ids), 1)
    premium = None
    if translations is not None:
        others = tokenizer(list(translations), add_special_tokens=False)["input_ids"]
        premium = len(ids) / max(sum(map(len, others)), 1)
    return {
        "tokens_per_word": len(ids) / len(words) if characters < SPACED * len(words) else None,
        "characters_per_token": characters / tokens,
        "unknown": sum(row == tokenizer.unk_token_id for row in ids) / tokens,
        "premium": premium,
    }
