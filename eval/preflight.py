"""What a model makes of languages before it is aligned, and what to do about each.

The limits are ours. They hold for samples of a few hundred sentences: among more, retrieval is harder.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from xling_align.eval.metrics.leakage import language_probe
from xling_align.eval.metrics.retrieval import retrieval_scores
from xling_align.eval.metrics.similarity import (
    alignment,
    hubness,
    isomorphism,
    mean_offset,
    pair_similarity,
    uniformity,
)
from xling_align.eval.metrics.tokens import token_figures
from xling_align.modeling_xling import InputError

NOTHING, LIGHT, FULL = "nothing", "light", "full"
MINE, VOCABULARY, ADD = "mine first", "extend the vocabulary", "add the language"
FEWEST = 20  # sentences below which no figure says anything


class Sample(NamedTuple):
    """Sentences of one language.

    Attributes:
        texts: The sentences.
        translations: The same in the source language, where they are known.
        pairs: Translation pairs that there are in all.
    """

    texts: Sequence[str]
    translations: Sequence[str] | None = None
    pairs: int = 0


@dataclass(frozen=True)
class Limits:
    """Where one recommendation ends and the next begins.

    Attributes:
        unknown: Share of unknown tokens from which text is lost on the model; a better tokenizer is needed.
        premium: Tokens over those of the translation from which the language is cut too fine: texts get twice as
            long, and words fall into pieces that mean nothing.
        tokens_per_word: The same where no translation is known; English has about 1.3.
        aligned: Retrieval from which there is little to gain: what is still missed is mostly ambiguous.
        usable: Retrieval from which a short training is enough.
        offset: `mean_offset` up to which classifiers transfer; above it a language lies apart although its
            translations are found.
        pairs: Translation pairs from which training needs no mined ones.
    """

    unknown: float = 0.01
    premium: float = 2.0
    tokens_per_word: float = 3.0
    aligned: float = 0.9
    usable: float = 0.6
    offset: float = 0.5
    pairs: int = 2000


class Advice(NamedTuple):
    """What to do about a language, and why."""

    actions: list[str]
    reasons: list[str]


def preflight(
    encode: Callable[..., np.ndarray],
    tokenizer: Any,
    samples: Mapping[str, Sample],
    source: str = "en",
    source_texts: Sequence[str] | None = None,
    known: Sequence[str] | None = None,
    limits: Limits | None = None,
) -> dict[str, dict[str, Any]]:
    """Measure each language, and recommend what to do.

    Args:
        encode: Called as `encode(texts, language=code)`, returns vectors (N, dim); a `TextEncoder` for one.
        tokenizer: The model's.
        samples: Sentences by language.
        source: The language that the others are aligned to.
        source_texts: Its sentences, to hold languages without translations against.
        known: Languages that the model has; a language that is not among them is encoded as unknown. None for a model
            that is told no language.
        limits: Where one recommendation ends and the next begins.

    Returns:
        Figures by language, those that need translations None where there are none, with `actions` and `reasons`.

    Raises:
        InputError: A language has too few sentences.
    """
    found = {}
    for code, sample in samples.items():
        if len(sample.texts) < FEWEST:
            raise InputError(f"{code}: {len(sample.texts)} sentences; give {FEWEST} or more, a few hundred are good")
        figures: dict[str, Any] = {"sentences": len(sample.texts), "pairs": sample.pairs}
        figures["known"] = known is None or code in known
        figures |= token_figures(tokenizer, sample.texts, sample.translations)
        spoken = code if figures["known"] else None
        figures |= geometry(encode, sample, spoken, source, source_texts)
        advice = advise(code, figures, limits or Limits())
        found[code] = figures | advice._asdict()
    return found


def geometry(
    encode: Callable[..., np.ndarray],
    sample: Sample,
    language: str | None,
    source: str,
    source_texts: Sequence[str] | None,
) -> dict[str, float | None]:
    """Where a language's sentences lie beside those of the source language.

    Args:
        encode: As `preflight`.
        sample: The sentences.
        language: Their code, None for the unknown language.
        source: Code of the source language.
        source_texts: Its sentences; only read where the sample has no translations.

    Returns:
        Figures by name; None for what can't be measured.
    """
    vectors = encode(sample.texts, language=language)
    names = ("forward", "backward", "mrr", "leakage", "translations", "others", "alignment", "hubness", "isomorphism")
    figures: dict[str, float | None] = {**dict.fromkeys(names), "uniformity": uniformity(vectors), "offset": None}
    if sample.translations is None:
        if source_texts:
            figures["offset"] = mean_offset(encode(source_texts, language=source), vectors)
        return figures
    others = encode(sample.translations, language=source)
    scores = retrieval_scores(others, vectors)
    silent = [encode(texts, language=None) for texts in (sample.translations, sample.texts)]
    meanings = [*range(len(vectors))] * 2
    languages = [side for side in ("source", "target") for _ in vectors]
    return figures | {
        "forward": scores["accuracy_forward"],
        "backward": scores["accuracy_backward"],
        "mrr": scores["mrr"],
        "leakage": language_probe(np.concatenate(silent), languages, meanings)["accuracy"],
        **pair_similarity(others, vectors),
        "alignment": alignment(others, vectors),
        "hubness": hubness(others, vectors),
        "isomorphism": isomorphism(others, vectors),
        "offset": mean_offset(others, vectors),
    }


def advise(code: str, figures: Mapping[str, Any], limits: Limits) -> Advice:
    """What to do about a language.

    Args:
        code: Its code.
        figures: As `preflight` measures them.
        limits: Where one recommendation ends and the next begins.

    Returns:
        Actions in their order, and a reason for each.
    """
    actions, reasons = [], []
    for action, reason in (vocabulary_advice(figures, limits), training_advice(figures, limits)):
        actions += [action] if action else []
        reasons += [reason] if reason else []
    if not figures["known"]:
        actions.insert(0, ADD)
        reasons.insert(0, f"the model has no language {code!r}: xling adapt --add_languages {code}")
    return Advice(actions, reasons)


def vocabulary_advice(figures: Mapping[str, Any], limits: Limits) -> tuple[str | None, str | None]:
    """Whether the tokenizer needs more pieces, and why."""
    unknown, premium, pieces = (figures[name] for name in ("unknown", "premium", "tokens_per_word"))
    if unknown > limits.unknown:
        return VOCABULARY, f"{unknown:.1%} of the tokens are unknown (limit {limits.unknown:.0%})"
    if premium is not None and premium > limits.premium:
        return VOCABULARY, f"{premium:.1f} times the tokens of the translations (limit {limits.premium:g})"
    if premium is None and pieces is not None and pieces > limits.tokens_per_word:
        return VOCABULARY, f"{pieces:.1f} tokens a word (limit {limits.tokens_per_word:g})"
    return None, None


def training_advice(figures: Mapping[str, Any], limits: Limits) -> tuple[str, str]:
    """How much to train, and why."""
    if figures["forward"] is None:
        return MINE, "no translations were given"
    found = (figures["forward"] + figures["backward"]) / 2
    share = f"{found:.0%} of {figures['sentences']} translations are found"
    if found >= limits.aligned and figures["offset"] <= limits.offset:
        return NOTHING, share
    if found >= limits.aligned:
        return LIGHT, f"{share}, but the language lies apart (offset {figures['offset']:.2f}, limit {limits.offset:g})"
    if found >= limits.usable:
        return LIGHT, f"{share} (nothing to do from {limits.aligned:.0%})"
    if figures["pairs"] < limits.pairs:
        return MINE, f"{share}, and there are {figures['pairs']:,} pairs to train on (enough: {limits.pairs:,})"
    return FULL, f"{share} (light training is enough from {limits.usable:.0%})"
