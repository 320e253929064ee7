"""Language leakage: can a linear probe tell the language of a vector?"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from xling_align.eval.extras import eval_extra
from xling_align.eval.metrics.neighbours import unit
from xling_align.modeling_xling import InputError


def language_probe(
    vectors: np.ndarray, languages: Sequence[str], meanings: Sequence[Any] | None = None, folds: int = 5
) -> dict[str, Any]:
    """Learn to tell languages from vectors, by cross-validation.

    A logistic regression (C = 1) on vectors of length 1, each feature then brought to variance 1, which keeps the
    probe equally strong whatever the spread of the vectors.

    >>> corners = np.repeat(np.eye(2), 10, axis=0)
    >>> scores = language_probe(corners, ["de"] * 10 + ["en"] * 10)
    >>> scores["accuracy"], scores["chance"], scores["recall"]
    (1.0, 0.5, {'de': 1.0, 'en': 1.0})

    Args:
        vectors: Vectors of all languages, (N, d).
        languages: The language of each.
        meanings: What each vector means, the same for translations: all vectors of a meaning are either learnt from or
            tested on, so that the probe can't answer by content. Every vector is its own meaning unless given.
        folds: Parts that the meanings are divided into, at random and the same in every run.

    Returns:
        `accuracy`; `chance`, the share of the most frequent language; `recall`, the accuracy by language.

    Raises:
        InputError: The lists differ in length, there are fewer than two languages, or fewer meanings than folds.
    """
    inputs, targets = unit(vectors), np.asarray(languages)
    groups = np.arange(len(inputs)) if meanings is None else np.unique(np.asarray(meanings), return_inverse=True)[1]
    names, counts = np.unique(targets, return_counts=True)
    if not len(inputs) == len(targets) == len(groups):
        raise InputError(f"probe: {len(inputs)} vectors, {len(targets)} languages and {len(groups)} meanings")
    if len(names) < 2 or len(np.unique(groups)) < max(folds, 2) or folds < 2:
        found = f"{len(names)} languages and {len(np.unique(groups))} meanings"
        raise InputError(f"a probe needs two or more languages, two or more folds and as many meanings; got {found}")
    right = _cross_validated(inputs, targets, groups, folds) == targets
    recall = {str(name): float(right[targets == name].mean()) for name in names}
    return {"accuracy": float(right.mean()), "chance": float(counts.max() / len(targets)), "recall": recall}


def _cross_validated(inputs: np.ndarray, targets: np.ndarray, groups: np.ndarray, folds: int) -> np.ndarray:
    with eval_extra():
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GroupKFold, cross_val_predict
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from threadpoolctl import threadpool_limits
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    parts = GroupKFold(folds, shuffle=True, random_state=0)
    with threadpool_limits(1):  # several threads wait for each other at every small step
        return np.asarray(cross_val_predict(probe, inputs, targets, groups=groups, cv=parts))
