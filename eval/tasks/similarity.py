"""Sentence similarity: against human judgement, and of translations beside sentences that are none."""

from collections.abc import Callable, Mapping

import numpy as np

from xling_align.eval.data_dir import Rated, Translations, limit_of
from xling_align.eval.metrics.neighbours import unit
from xling_align.eval.metrics.similarity import (
    alignment,
    hubness,
    isomorphism,
    pair_similarity,
    spearman,
    uniformity,
)
from xling_align.eval.tasks.result import TaskResult
from xling_align.modeling_xling import InputError


def run(encode: Callable[..., np.ndarray], data: Mapping[str, Rated], source: str = "en") -> TaskResult:
    """Correlate the cosines of sentence pairs with human scores, by rank.

    Args:
        encode: Called as `encode(texts, language=code)`, returns vectors (N, dim); a `TextEncoder` for one.
        data: Rated pairs by language, such as `stsb(...)`, or by pair of languages, such as `sts17(...)`.
        source: The name among `data` that stands apart, if it is there.

    Returns:
        Spearman's correlation per name as the main score; `spearman` and `pairs` as details.

    Raises:
        InputError: There is no pair, or texts and scores differ in number.
    """
    if not data:
        raise InputError("similarity needs rated pairs in one or more languages; got none")
    details = {name: _rated(encode, name, pairs) for name, pairs in data.items()}
    scores = {name: scores["spearman"] for name, scores in details.items()}
    return TaskResult("similarity", "spearman", scores, details, dict(limit_of(data)), source)


def run_translations(
    encode: Callable[..., np.ndarray], data: Mapping[str, Translations], source: str = "en", k: int = 10
) -> TaskResult:
    """Measure how each language lies beside the source language, on translations.

    Memory grows with the square of the number of sentences: 5,000 need about a gigabyte.

    Args:
        encode: As `run`.
        data: Distinct English sentences and their translations per language, such as `tatoeba(...)`.
        source: The language of the English side.
        k: Neighbours that hubs are counted by.

    Returns:
        The mean cosine of translations less that of sentences that are none, per language, as the main score: where
        everything lies together the first alone is high; details:
        `translations`, `others`, `alignment`, `uniformity` (of the foreign side), `hubness` (of foreign sentences as
        neighbours of English ones), `isomorphism`, and `sentences`.

    Raises:
        InputError: There is no language, or the two sides differ in length.
    """
    if not data:
        raise InputError("pair similarity needs sentences in one or more languages; got none")
    details = {}
    for language, (english, foreign) in data.items():
        if len(english) != len(foreign):
            raise InputError(f"pair similarity, {language}: {len(english)} sentences and {len(foreign)} translations")
        one, other = encode(english, language=source), encode(foreign, language=language)
        details[language] = {
            **pair_similarity(one, other),
            "alignment": alignment(one, other),
            "uniformity": uniformity(other),
            "hubness": hubness(one, other, k),
            "isomorphism": isomorphism(one, other),
            "sentences": len(english),
        }
    scores = {language: scores["translations"] - scores["others"] for language, scores in details.items()}
    return TaskResult("pair_similarity", "cosine_difference", scores, details, dict(limit_of(data)), source)


def _rated(encode: Callable[..., np.ndarray], name: str, pairs: Rated) -> dict[str, float]:
    if not len(pairs.first) == len(pairs.second) == len(pairs.scores) > 1:
        counts = f"{len(pairs.first)} and {len(pairs.second)} texts, {len(pairs.scores)} scores"
        raise InputError(f"similarity, {name}: {counts}; it needs two or more pairs")
    first, second = (
        unit(encode(texts, language=language))
        for texts, language in zip((pairs.first, pairs.second), pairs.languages, strict=True)
    )
    cosines = np.einsum("nd,nd->n", first, second).round(7)  # what differs by rounding alone is equal
    return {"spearman": spearman(cosines, np.asarray(pairs.scores)), "pairs": len(pairs.scores)}
