"""Zero-shot paraphrase identification: a classifier fine-tuned on source-language pairs, in every language."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from xling_align.eval.data_dir import Pairs, limit_of
from xling_align.eval.tasks.result import TaskResult
from xling_align.modeling_xling import InputError


def run(classify: Callable[..., Sequence[str]], tests: Mapping[str, Pairs], source: str = "en") -> TaskResult:
    """Score a pair classifier in every language.

    Args:
        classify: Called as `classify(first_texts, second_texts, language=code)`, returns labels; a `PairClassifier`
            for one.
        tests: Pairs and labels per language, such as `pawsx(...)`.
        source: The language that the classifier was fine-tuned in.

    Returns:
        Accuracy per language as the main score; `accuracy`, `majority` (what always answering the most frequent label
        would score) and `pairs` as details.

    Raises:
        InputError: There are no tests, texts and labels do not match, or none of the classifier's labels is one of
            the test's.
    """
    if not tests:
        raise InputError("paraphrase needs test pairs in one or more languages; got none")
    details = {language: _score(classify, pairs, language) for language, pairs in tests.items()}
    return TaskResult(
        task="paraphrase",
        metric="accuracy",
        scores={language: scores["accuracy"] for language, scores in details.items()},
        details=details,
        metadata=dict(limit_of(tests)),
        source=source,
    )


def _score(classify: Callable[..., Sequence[str]], pairs: Pairs, language: str) -> dict[str, float]:
    first, second, labels = pairs
    if not len(first) == len(second) == len(labels) > 0:
        raise InputError(f"paraphrase, {language}: {len(first)}, {len(second)} texts for {len(labels)} labels")
    predicted = classify(first, second, language=language)
    if len(predicted) != len(labels):
        raise InputError(
            f"paraphrase, {language}: the classifier gave {len(predicted)} labels for {len(labels)} pairs"
        )
    if not set(predicted) & set(labels):
        given, known = (", ".join(sorted(map(repr, set(side)))[:5]) for side in (predicted, labels))
        raise InputError(f"paraphrase, {language}: the classifier answers {given}, the test has {known}")
    right = sum(answer == label for answer, label in zip(predicted, labels, strict=True))
    majority = Counter(labels).most_common(1)[0][1]
    return {"accuracy": right / len(labels), "majority": majority / len(labels), "pairs": len(labels)}
