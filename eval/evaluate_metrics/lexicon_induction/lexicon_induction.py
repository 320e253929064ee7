"""Precision of bilingual lexicon induction, for `evaluate.load` by path."""

import datasets
import evaluate

WORDS = datasets.Sequence(datasets.Value("string"))


class LexiconInduction(evaluate.Metric):
    """The share of words of which one of the first k answers is a right translation."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="P@k of bilingual lexicon induction; any right translation counts.",
            citation="",
            inputs_description="predictions: the answers for each word, best first; references: its translations.",
            features=datasets.Features({"predictions": WORDS, "references": WORDS}),
        )

    def _compute(self, predictions: list[list[str]], references: list[list[str]], k: int = 1) -> dict[str, float]:
        pairs = zip(predictions, references, strict=True)
        right = [bool(set(answers[:k]) & set(translations)) for answers, translations in pairs]
        return {f"p_at_{k}": sum(right) / len(right)}
