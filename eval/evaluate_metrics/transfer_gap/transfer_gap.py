"""The cross-lingual transfer gap, for `evaluate.load` by path."""

import datasets
import evaluate

from xling_align.eval.metrics.transfer import transfer_summary


class TransferGap(evaluate.Metric):
    """The source language's score minus the mean of the others, and what to read beside it; see `transfer_summary`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="What is left of a source-language score in the other languages, as XTREME defines the gap.",
            citation="",
            inputs_description="predictions: a score per language; references: the languages' codes.",
            features=datasets.Features(
                {"predictions": datasets.Value("float64"), "references": datasets.Value("string")}
            ),
        )

    def _compute(self, predictions: list[float], references: list[str], source: str = "en") -> dict[str, float]:
        return transfer_summary(dict(zip(references, predictions, strict=True)), source)
