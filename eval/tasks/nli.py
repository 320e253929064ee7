"""Zero-shot natural language inference: a classifier fine-tuned on source-language pairs, in every language."""

from collections.abc import Callable, Collection, Mapping, Sequence

from xling_align.eval.data_dir import Pairs
from xling_align.eval.tasks.pairs import score_pairs
from xling_align.eval.tasks.result import TaskResult


def run(
    classify: Callable[..., Sequence[str]],
    tests: Mapping[str, Pairs],
    source: str = "en",
    first: str | None = None,
    labels: Collection[str] | None = None,
) -> TaskResult:
    """Score a classifier of premises and hypotheses in every language; see `score_pairs`.

    Args:
        classify: As `score_pairs`.
        tests: Pairs and labels per language, such as `xnli(...)`.
        source: As `score_pairs`.
        first: As `score_pairs`.
        labels: As `score_pairs`.

    Returns:
        As `score_pairs`.
    """
    return score_pairs("nli", classify, tests, source, first, labels)
