"""Bilingual lexicon induction: find the translation of a word among all words of the other language."""

from collections import defaultdict
from collections.abc import Callable, Mapping

import numpy as np

from xling_align.eval.data_dir import Translations, limit_of
from xling_align.eval.metrics.lexicon import precision_at, translation_ranks
from xling_align.eval.metrics.neighbours import csls, unit
from xling_align.eval.tasks.result import TaskResult
from xling_align.modeling_xling import InputError


def run(
    encode: Callable[..., np.ndarray], data: Mapping[str, Translations], source: str = "en", k: int = 10
) -> TaskResult:
    """Translate single words by nearest neighbour.

    Each English word looks among all foreign words of its lexicon's entries; any of its translations is right. These
    are fewer candidates than the 200,000 words of MUSE's protocol, so scores are higher than published ones. A word
    that is spelt the same in both languages is found by any encoder: `copied` is the share of such words. Words that
    share sub-words are found by untrained encoders too, so hold a score against one of those.

    Args:
        encode: Called as `encode(words, language=code)`, returns vectors (N, dim); a `TextEncoder` for one.
        data: Entries per foreign language, such as `lexicon(...)`.
        source: The language of the English side.
        k: Neighbours that CSLS is taken over.

    Returns:
        P@1 by CSLS per language as the main score; details: `p_at_1` and `p_at_5` by CSLS, `p_at_1_cosine` and
        `p_at_5_cosine`, `p_at_1_backward` (from foreign to English, by CSLS), `copied`, and the numbers of English
        `words` and foreign `candidates`.

    Raises:
        InputError: There is no language, or the two sides differ in length or are empty.
    """
    if not data:
        raise InputError("lexicon needs words in one or more languages; got none")
    details = {language: _score(encode, entries, source, language, k) for language, entries in data.items()}
    scores = {language: scores["p_at_1"] for language, scores in details.items()}
    return TaskResult("lexicon", "p_at_1", scores, details, {"csls_neighbours": k, **limit_of(data)}, source)


def _score(
    encode: Callable[..., np.ndarray], entries: Translations, source: str, language: str, k: int
) -> dict[str, float]:
    if len(entries.english) != len(entries.foreign) or not entries.english:
        raise InputError(f"lexicon, {language}: {len(entries.english)} words and {len(entries.foreign)} translations")
    words, candidates = (list(dict.fromkeys(side)) for side in entries)
    forward = _translations(words, candidates, zip(entries.english, entries.foreign, strict=True))
    backward = _translations(candidates, words, zip(entries.foreign, entries.english, strict=True))
    cosine = (
        unit(encode(words, language=source)) @ unit(encode(candidates, language=language)).T
    )  # (words, candidates)
    scaled = csls(cosine, k)
    ranks, cosine_ranks = translation_ranks(scaled, forward), translation_ranks(cosine, forward)
    places = {candidate: column for column, candidate in enumerate(candidates)}
    return {
        "p_at_1": precision_at(ranks, 1),
        "p_at_5": precision_at(ranks, 5),
        "p_at_1_cosine": precision_at(cosine_ranks, 1),
        "p_at_5_cosine": precision_at(cosine_ranks, 5),
        "p_at_1_backward": precision_at(translation_ranks(scaled.T, backward), 1),
        "copied": sum(places.get(word) in right for word, right in zip(words, forward, strict=True)) / len(words),
        "words": len(words),
        "candidates": len(candidates),
    }


def _translations(words: list[str], candidates: list[str], entries: "zip[tuple[str, str]]") -> list[set[int]]:
    """The candidates' numbers that translate each word."""
    places = {candidate: column for column, candidate in enumerate(candidates)}
    right = defaultdict(set)
    for word, translation in entries:
        right[word].add(places[translation])
    return [right[word] for word in words]
