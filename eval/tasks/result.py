"""What every evaluation task returns."""

from dataclasses import dataclass, field
from typing import Any

from xling_align.eval.metrics.transfer import transfer_summary
from xling_align.modeling_xling import InputError


@dataclass
class TaskResult:
    """Scores of one task, per language.

    `scores` holds the main metric per language code, between 0 and 1; `details` every metric per language;
    `metadata` the counts and settings that the scores came from. `source` is the language that the task was learnt
    in or is compared with; it is empty where no language stands apart. Higher scores are better unless
    `lower_is_better` says otherwise.
    """

    task: str
    metric: str
    scores: dict[str, float]
    details: dict[str, dict[str, Any]] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    source: str = "en"
    lower_is_better: bool = False

    @property
    def mean(self) -> float:
        """The mean score over the languages other than the source."""
        others = [score for language, score in self.scores.items() if language != self.source]
        if not others:
            raise InputError(f"{self.task}: there is no language besides {self.source!r} to average over")
        return sum(others) / len(others)

    def summary(self) -> dict[str, float]:
        """Return `transfer_summary` where the source language has a score, `mean_others` alone where it has none."""
        if self.source in self.scores:
            return transfer_summary(self.scores, self.source)
        return {"mean_others": self.mean}
