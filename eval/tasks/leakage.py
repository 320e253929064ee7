"""Language leakage: how well a linear probe tells the language of sentence vectors."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from xling_align.eval.metrics.leakage import language_probe
from xling_align.eval.tasks.result import TaskResult
from xling_align.modeling_xling import InputError


def run(encode: Callable[..., np.ndarray], data: Mapping[str, Sequence[str]], folds: int = 5) -> TaskResult:
    """Probe sentence vectors of parallel texts for their language.

    As the texts mean the same in all languages, and no meaning is both learnt from and tested on, content gives
    nothing away. What the model was told does: to probe what it makes of the text alone, give an `encode` that keeps
    the language to itself. `language_probe` does the same for any vectors.

    Args:
        encode: Called as `encode(texts, language=code)`, returns vectors (N, dim); a `TextEncoder` for one.
        data: Parallel texts per language: entry i means the same in all.
        folds: Parts for cross-validation.

    Returns:
        The share of each language's texts that the probe knows, lower is better; no language stands apart, so the
        mean is the probe's accuracy. `accuracy`, `chance`, `texts` (per language) and `folds` in the metadata.

    Raises:
        InputError: The lists differ in length, or there are too few languages or texts.
    """
    sizes = {language: len(texts) for language, texts in data.items()}
    if len(data) < 2 or len(set(sizes.values())) > 1:
        raise InputError(f"leakage needs lists of one length in two or more languages; got {sizes or 'none'}")
    vectors = np.concatenate([encode(texts, language=language) for language, texts in data.items()])
    languages = [language for language, size in sizes.items() for _ in range(size)]
    meanings = [row for size in sizes.values() for row in range(size)]
    probe = language_probe(vectors, languages, meanings, folds)
    return TaskResult(
        task="leakage",
        metric="probe_accuracy",
        scores=probe["recall"],
        details={language: {"recall": recall} for language, recall in probe["recall"].items()},
        metadata={
            "accuracy": probe["accuracy"],
            "chance": probe["chance"],
            "texts": len(meanings) // len(data),
            "folds": folds,
        },
        source="",
        lower_is_better=True,
    )
