"""Zero-shot classification: learn on source-language vectors, test on every language."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from xling_align.eval.data_dir import limit_of
from xling_align.eval.extras import eval_extra
from xling_align.eval.tasks.result import TaskResult
from xling_align.modeling_xling import InputError

STRENGTHS = (0.1, 1.0, 10.0, 100.0, 1000.0)  # of which cross-validation on the source language chooses one
Labelled = tuple[Sequence[str], Sequence[Any]]


def run(
    encode: Callable[..., np.ndarray],
    train: Labelled,
    tests: Mapping[str, Labelled],
    source: str = "en",
    held_out: float = 0.2,
) -> TaskResult:
    """Train a logistic regression on frozen source-language vectors and score it in every language.

    The vectors are scaled to length 1; the strength of the regularisation is chosen by cross-validation on the source
    language's training texts alone. The source language is scored on `tests[source]` where given; otherwise on a
    stratified part of `train` that no classifier sees, the same part in every run. Macro-F1 averages over the labels
    that occur in the test, so its denominator does not depend on the predictions.

    Args:
        encode: Called as `encode(texts, language=code)`, returns vectors (N, dim); a `TextEncoder` for one.
        train: Texts and labels in the source language.
        tests: Texts and labels per language.
        source: The language that is learnt from.
        held_out: Part of `train` that scores the source language.

    Returns:
        Macro-F1 per language as the main score; `macro_f1`, `accuracy`, `texts` and `confusion` as details.

    Raises:
        InputError: Texts and labels do not match, a test label is unknown, or `train` is too small to split.
    """
    if problem := _problem(train, tests, source):
        raise InputError(problem)
    vectors = {language: encode(texts, language=language) for language, (texts, _) in tests.items()}
    labels = {language: np.asarray(given) for language, (_, given) in tests.items()}
    inputs, targets = encode(train[0], language=source), np.asarray(train[1])
    if source not in tests:
        inputs, vectors[source], targets, labels[source] = _split(inputs, targets, held_out)
    classifier = _fit(inputs, targets)
    details = {language: label_scores(labels[language], classifier.predict(vectors[language])) for language in vectors}
    return TaskResult(
        task="zero_shot",
        metric="macro_f1",
        scores={language: scores["macro_f1"] for language, scores in details.items()},
        details=details,
        metadata={"train_texts": len(targets), "labels": len(set(targets.tolist())), **limit_of(tests)},
        source=source,
    )


def run_classifier(
    classify: Callable[..., Sequence[str]],
    tests: Mapping[str, Labelled],
    source: str = "en",
    labels: Collection[str] | None = None,
) -> TaskResult:
    """Score a fine-tuned classifier of texts in every language.

    Args:
        classify: Called as `classify(texts, language=code)`, returns labels; a `PairClassifier` for one.
        tests: Texts and labels per language.
        source: The language that the classifier was fine-tuned in.
        labels: Those that the classifier can give, such as `PairClassifier.labels`; all are taken for known unless
            given.

    Returns:
        As `run`.

    Raises:
        InputError: There are no tests, texts and labels do not match in number, or a test label is not one of the
            classifier's.
    """
    if not tests:
        raise InputError("classification needs test texts in one or more languages; got none")
    details = {}
    for language, (texts, gold) in tests.items():
        if len(texts) != len(gold) or not len(texts):
            raise InputError(f"classification, {language}: {len(texts)} texts for {len(gold)} labels")
        check_known(f"classification, {language}", gold, labels)
        details[language] = label_scores(np.asarray(gold), np.asarray(classify(texts, language=language)))
    scores = {language: scores["macro_f1"] for language, scores in details.items()}
    return TaskResult("classification", "macro_f1", scores, details, dict(limit_of(tests)), source)


def check_known(name: str, gold: Iterable[str], labels: Collection[str] | None) -> None:
    """Refuse test labels that a classifier cannot give.

    Args:
        name: The task and language, for the error.
        gold: The test's labels.
        labels: The classifier's; nothing is refused unless given.

    Raises:
        InputError: A test label is not one of them.
    """
    if labels is not None and (unknown := set(gold) - set(labels)):
        known = ", ".join(map(repr, sorted(labels)[:20]))
        raise InputError(f"{name}: label {min(unknown)!r} is not one of the classifier's labels, {known}")


def _fit(vectors: np.ndarray, labels: np.ndarray) -> Any:
    with eval_extra():
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GridSearchCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import Normalizer
        from threadpoolctl import threadpool_limits
    folds = int(min(5, *np.unique(labels, return_counts=True)[1]))
    regression = LogisticRegression(C=STRENGTHS[2], max_iter=2000)
    if folds > 1:
        regression = GridSearchCV(regression, {"C": STRENGTHS}, scoring="f1_macro", cv=folds)
    with threadpool_limits(1):  # several threads wait for each other at every small step: 13 times slower on four
        return make_pipeline(Normalizer(), regression).fit(vectors, labels)


def _split(vectors: np.ndarray, labels: np.ndarray, held_out: float) -> list[Any]:
    with eval_extra():
        from sklearn.model_selection import train_test_split
    try:
        return train_test_split(vectors, labels, test_size=held_out, stratify=labels, random_state=0)
    except ValueError as error:
        raise InputError(f"cannot hold out {held_out:.0%} of {len(labels)} training texts: {error}") from error


def label_scores(gold: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    """Return macro-F1 over the labels that occur in the gold ones, accuracy, the number of texts, and `confusion`."""
    with eval_extra():
        from sklearn.metrics import f1_score
    macro = f1_score(gold, predicted, labels=np.unique(gold), average="macro")
    scores = {"macro_f1": float(macro), "accuracy": float(np.mean(gold == predicted)), "texts": len(gold)}
    return {**scores, "confusion": confusion(gold, predicted)}


def confusion(gold: Sequence[Any] | np.ndarray, predicted: Sequence[Any] | np.ndarray) -> dict[str, list]:
    """Count how often each label was taken for each other one.

    >>> confusion(["rain", "rain", "sun"], ["rain", "sun", "sun"])
    {'labels': ['rain', 'sun'], 'counts': [[1, 1], [0, 1]]}

    Args:
        gold: The right labels.
        predicted: The answers, in the same order.

    Returns:
        `labels` by alphabet, and `counts`, a row for each right label and a column for each answer.
    """
    counts = Counter((str(right), str(answer)) for right, answer in zip(gold, predicted, strict=True))
    labels = sorted({label for pair in counts for label in pair})
    return {"labels": labels, "counts": [[counts[right, answer] for answer in labels] for right in labels]}


def _problem(train: Labelled, tests: Mapping[str, Labelled], source: str) -> str | None:
    known = set(train[1])
    if len(known) < 2:
        return f"classification needs two or more labels to learn from; the training data has {len(known)}"
    for language, (texts, labels) in {**tests, f"{source} (training)": train}.items():
        if len(texts) != len(labels) or not len(texts):
            return f"classification, {language}: {len(texts)} texts for {len(labels)} labels"
        if unknown := set(labels) - known:
            return f"classification, {language}: label {min(unknown, key=str)!r} is not in the training data"
    return None
