"""Retrieval of translations, for `evaluate.load` by path."""

from typing import Any

import datasets
import evaluate
import numpy as np

from xling_align.eval.metrics.retrieval import retrieval_scores

VECTOR = datasets.Sequence(datasets.Value("float32"))


class SentenceRetrieval(evaluate.Metric):
    """Accuracy and mean reciprocal rank of the nearest neighbour by cosine, both ways; see `retrieval_scores`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="How often the cosine-nearest neighbour of a sentence is its translation, both ways.",
            citation="",
            inputs_description="predictions, references: a vector per sentence; row i of both means the same.",
            features=datasets.Features({"predictions": VECTOR, "references": VECTOR}),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return retrieval_scores(np.asarray(predictions), np.asarray(references))
