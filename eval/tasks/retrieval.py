"""Translation retrieval between the source language and each other language."""

from collections.abc import Callable

import numpy as np

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
    return TaskResult(
        task="retrieval",
        metric="accuracy",
        scores={language: scores["accuracy"] for language, scores in details.items()},
        details=details,
        metadata={"sentences": len(anchor)},
        source=source,
    )


def _problem(data: dict[str, list[str]], source: str) -> str | None:
    if source not in data or len(data) < 2:
        given = ", ".join(sorted(data)) or "none"
        return f"retrieval needs texts in {source!r} and in one more language; got {given}"
    for language, texts in data.items():
        if len(texts) != len(data[source]):
            sizes = f"{len(texts)} texts, {source!r} has {len(data[source])}"
            return f"retrieval needs aligned lists: {language!r} has {sizes}"
    return None
