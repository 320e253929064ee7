"""What paraphrases and inference share: a classifier of text pairs, scored in every language."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from xling_align.eval.data_dir import Pairs, limit_of
from xling_align.eval.tasks.classification import check_known, confusion
from xling_align.eval.tasks.result import TaskResult
from xling_align.modeling_xling import InputError


def score_pairs(
    task: str,
    classify: Callable[..., Sequence[str]],
    tests: Mapping[str, Pairs],
    source: str = "en",
    first: str | None = None,
    labels: Collection[str] | None = None,
) -> TaskResult:
    """Score a pair classifier in every language.

    Args:
        task: The name of the result.
        classify: Called as `classify(first_texts, second_texts, language=code)`, returns labels; a `PairClassifier`
            for one.
        tests: Pairs and labels per language.
        source: The language that the classifier was fine-tuned in.
        first: The language of every first text where it is not that of the tests, as `xnli(..., first="en")` reads
            them. Pairs in two languages have no one language to tell the classifier: it gets None.
        labels: Those that the classifier can give, such as `PairClassifier.labels`; all are taken for known unless
            given.

    Returns:
        Accuracy per language as the main score; `accuracy`, `majority` (what always answering the most frequent label
        would score), `pairs` and `confusion` as details.

    Raises:
        InputError: There are no tests, texts and labels do not match in number, or a test label is not one of the
            classifier's.
    """
    if not tests:
        raise InputError(f"{task} needs test pairs in one or more languages; got none")
    for language, pairs in tests.items():
        check_known(f"{task}, {language}", pairs.labels, labels)
    details = {
        language: _score(f"{task}, {language}", classify, pairs, language if first in (None, language) else None)
        for language, pairs in tests.items()
    }
    scores = {language: scores["accuracy"] for language, scores in details.items()}
    metadata = dict(limit_of(tests)) if first is None else {**limit_of(tests), "first_language": first}
    return TaskResult(task, "accuracy", scores, details, metadata, source)


def _score(name: str, classify: Callable[..., Sequence[str]], pairs: Pairs, language: str | None) -> dict[str, Any]:
    first, second, labels = pairs
    if not len(first) == len(second) == len(labels) > 0:
        raise InputError(f"{name}: {len(first)}, {len(second)} texts for {len(labels)} labels")
    predicted = classify(first, second, language=language)
    if len(predicted) != len(labels):
        raise InputError(f"{name}: the classifier gave {len(predicted)} labels for {len(labels)} pairs")
    right = sum(answer == label for answer, label in zip(predicted, labels, strict=True))
    majority = Counter(labels).most_common(1)[0][1]
    scores = {"accuracy": right / len(labels), "majority": majority / len(labels), "pairs": len(labels)}
    return {**scores, "confusion": confusion(labels, predicted)}
