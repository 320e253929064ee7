"""Translation retrieval between the source language and each other language."""

from collections.abc import Callable, Mapping

import numpy as np

from xling_align.eval.data_dir import Translations, limit_of
from xling_align.eval.metrics.retrieval import retrieval_scores
from xling_align.eval.tasks.result import TaskResult
from xling_align.modeling_xling import InputError


def run(encode: Callable[..., np.ndarray], data: dict[str, list[str]], source: str = "en") -> TaskResult:
    """Retrieve translations by cosine in both directions, for every language but the source.

    A meaning that occurs twice cannot be told apart and counts as a miss (see `retrieval_scores`): give distinct ones.

    Args:
        encode: Called as `encode(texts, language=code)`, returns vectors (N, dim); a `TextEncoder` for one.
        data: Aligned texts per language: entry i means the same in all.
        source: The language that the others are paired with.

    Returns:
        Accuracy per language as the main score, and all of `retrieval_scores` as details.

    Raises:
        InputError: The source or any other language is missing, or the lists differ in length.
    """
    if problem := _problem(data, source):
        raise InputError(problem)
    anchor = encode(data[source], language=source)
    details = {
        language: retrieval_scores(anchor, encode(texts, language=language))
        for language, texts in data.items()
        if language != source
    }
    return _result("retrieval", details, {"sentences": len(anchor)}, source)


def run_tatoeba(encode: Callable[..., np.ndarray], data: Mapping[str, Translations], source: str = "en") -> TaskResult:
    """Retrieve translations in both directions where each language has English sentences of its own, as Tatoeba has.

    The languages' candidates differ in number and kind, so their scores are not comparable with one another.

    Args:
        encode: As `run`.
        data: English sentences and their translations per language, such as `tatoeba(...)`.
        source: The language of the English side.

    Returns:
        Accuracy per language as the main score, all of `retrieval_scores` and `sentences` as details.

    Raises:
        InputError: There is no language, or the two sides differ in length.
    """
    if not data:
        raise InputError("tatoeba needs sentences in one or more languages; got none")
    details = {}
    for language, (english, foreign) in data.items():
        if problem := _problem({source: english, language: foreign}, source):
            raise InputError(f"tatoeba: {problem}")
        scores = retrieval_scores(encode(english, language=source), encode(foreign, language=language))
        details[language] = {**scores, "sentences": len(english)}
    return _result("tatoeba", details, dict(limit_of(data)), source)


def _result(task: str, details: dict[str, dict[str, float]], metadata: dict, source: str) -> TaskResult:
    scores = {language: scores["accuracy"] for language, scores in details.items()}
    return TaskResult(task, "accuracy", scores, details, metadata, source)


def _problem(data: dict[str, list[str]], source: str) -> str | None:
    if source not in data or len(data) < 2:
        given = ", ".join(sorted(data)) or "none"
        return f"retrieval needs texts in {source!r} and in one more language; got {given}"
    for language, texts in data.items():
        if len(texts) != len(data[source]):
            sizes = f"{len(texts)} texts, {source!r} has {len(data[source])}"
            return f"retrieval needs aligned lists: {language!r} has {sizes}"
    return None
