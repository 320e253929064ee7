"""The alignment error rate, for `evaluate.load` by path."""

import datasets
import evaluate

from xling_align.eval.metrics.word_alignment import alignment_scores, parse_links


class WordAlignmentError(evaluate.Metric):
    """AER, precision, recall and F1 of word links; see `alignment_scores`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Alignment error rate, precision, recall and F1 of word links, over all sentence pairs.",
            citation="",
            inputs_description="Links of each sentence pair as text: i-j, and ipj for those only possible.",
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
            ),
        )

    def _compute(self, predictions: list[str], references: list[str]) -> dict[str, float]:
        found = [parse_links(links).possible for links in predictions]
        return alignment_scores(found, [parse_links(links) for links in references])
