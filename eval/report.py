"""The report of an evaluation: one page for people, the same in Markdown, and the numbers as JSON."""

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from xling_align.eval.drawing import Figure
from xling_align.eval.figures import task_figures
from xling_align.eval.page import cell, render, write_texts
from xling_align.eval.scale import Scale
from xling_align.modeling_xling import InputError

__all__ = ["cell", "to_plain", "write_report"]


def write_report(
    folder: str | os.PathLike[str], report: Mapping[str, Any], figures: Iterable[Figure] = (), name: str = "report"
) -> Path:
    """Write `report.json`, `report.md` and the self-contained page `report.html`.

    All three are rendered before the first is written, and each replaces its predecessor in one step, so that no
    reader sees half a file. The plots that the scores allow are drawn here: languages, convergence, confusion
    matrices, similarity against transfer.

    Args:
        folder: Where to write; made if it does not exist.
        report: `title`, `command`, `versions` (by package), `seconds`, `data` (any names and values), `source` (a
            language code), `models` (each with `name` and any facts; the first is what the others are compared with)
            and `tasks`; where wanted `summary`, `date` and `stage_seconds`. A task has `name`, `title`, `metric`,
            `unit` (`%` for fractions that are shown in percent), `higher_is_better`, `results` by model, and where
            wanted `split`, `seeds`, `note`, `source` (if another than the report's, empty for none) and `tests` by
            model. A result has `score` (the mean over the languages besides the source) and `languages` (a score by
            code), and where they are known `source`, `gap`, `worst_five`, `runs`, `oracle`, `details`, `fine_tuning`;
            a test `difference` and `p`, `low`, `high` and `languages`. Whatever else it holds goes to the JSON alone.
        figures: Further plots, such as those of `projections.py`, which need vectors.
        name: Of the three files, without suffix.

    Returns:
        The path of the page.

    Raises:
        InputError: The report lacks a part, jinja2 or matplotlib is missing, or the folder cannot be written.
    """
    plain = to_plain(report)
    try:
        page = _contents(plain, list(figures), name)
        texts = {
            f"{name}.json": json.dumps(plain, indent=2, ensure_ascii=False) + "\n",
            f"{name}.md": render("report.md.jinja", page),
            f"{name}.html": render("report.html.jinja", page),
        }
    except KeyError as error:
        raise InputError(f"the report lacks {error}") from error
    write_texts(Path(folder), texts)
    return Path(folder) / f"{name}.html"


def _contents(report: dict[str, Any], figures: list[Figure], name: str) -> dict[str, Any]:
    """What the templates show."""
    models = [model["name"] for model in report["models"]]
    named = [task | {"metric": task["metric"].replace("_", " ")} for task in report["tasks"]]
    report = report | {"tasks": named}
    tasks = [TaskView(report, task, models) for task in report["tasks"]]
    shared = {"summary": None, "date": None, "stage_seconds": None} | report
    tested = any(p is not None for task in tasks for _, p in task.mean_row["others"])
    return {"report": shared, "tasks": tasks, "models": models, "figures": figures, "tested": tested, "name": name}


class TaskView:
    """One task of a report, as its section shows it.

    Args:
        report: The whole report.
        task: The task's part.
        models: Names of all models; the first is what the others are compared with.
    """

    def __init__(self, report: Mapping[str, Any], task: Mapping[str, Any], models: Sequence[str]):
        self.task, self.models, self.source = task, models, task.get("source", report["source"])
        self.results: Mapping[str, Any] = task["results"]
        self.tests: Mapping[str, Any] = task.get("tests") or {}
        self.scale = Scale.of(task)
        self.title, self.metric, self.note = task["title"], task["metric"], task.get("note")
        self.anchor = f"task-{task['name']}"
        self.seeds = _count(task.get("seeds"))
        self.several = any(len(result.get("runs") or ()) > 1 for result in self.results.values())
        self.has_transfer = any(result.get("source") is not None for result in self.results.values())
        self.has_oracle = any(result.get("oracle") for result in self.results.values())
        self.over = next((test["over"] for test in self.tests.values() if test.get("over")), None)
        self.figures = task_figures(report, task)

    @property
    def setting(self) -> str:
        """Which part of the data was scored, and how often."""
        runs = f"{self.seeds} runs of each model" if self.several else "one run of each model"
        split = self.task.get("split")
        return f"Measured on {split}, {runs}." if split else f"{runs.capitalize()}."

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """`code`, `name`, and the scores of all models, by language."""
        scores = [self._languages(model) for model in self.models]
        codes = sorted({code for own in scores for code in own}, key=lambda code: (code != self.source, code))
        names = language_names(codes)
        return [
            {"code": code, "name": names.get(code, "")}
            | self._compared([own.get(code) for own in scores], self._language_ps(code))
            for code in codes
        ]

    @property
    def tested_languages(self) -> bool:
        """Whether any language has a p-value."""
        return any(p is not None for row in self.rows for _, p in row["others"])

    @property
    def mean_label(self) -> str:
        """Which languages the mean is taken over."""
        return f"without {self.source}" if self.source else "of all"

    @cached_property
    def measures(self) -> list[tuple[str, list[float | None]]]:
        """What was measured besides the metric, by name: each model's mean over the languages besides the source."""
        found = [_mean_details(self.results.get(model, {}).get("details") or {}, self.source) for model in self.models]
        names = dict.fromkeys(name for own in found for name in own)
        further = {name.replace("_", " "): [own.get(name) for own in found] for name in names}
        return [(name, means) for name, means in further.items() if name != self.metric]

    @cached_property
    def mean_row(self) -> dict[str, Any]:
        """The means over the languages besides the source."""
        return self._compared(
            [self.results[model]["score"] if model in self.results else None for model in self.models],
            [self.tests.get(model, {}).get("p") for model in self.models],
        )

    @cached_property
    def model_rows(self) -> list[dict[str, Any]]:
        """Source, mean, gap and the like of each model that has a result."""
        keys = ("source", "score", "gap", "worst_five")
        return [
            {"model": model, "test": self._test(model), "deviation": _deviation(result.get("runs") or ())}
            | {"oracle": (result.get("oracle") or {}).get("score")}
            | {key: result.get(key) for key in keys}
            for model, result in self._in_order()
        ]

    @cached_property
    def lost(self) -> dict[str, list[str]]:
        """By model after the first, the languages that got worse."""
        first = self._languages(self.models[0])
        return {
            model: sorted(code for code in first if self.scale.worse(first[code], self._languages(model).get(code)))
            for model, _ in self._in_order()
            if model != self.models[0] and first
        }

    @cached_property
    def gamed(self) -> dict[str, str]:
        """By model, the change in the source language, where that got worse while the gap became narrower."""
        found = {}
        first = self.results.get(self.models[0], {})
        for model in self.models[1:]:
            own = self.results.get(model, {})
            gaps = self.scale.change(first.get("gap"), own.get("gap"))
            if self.scale.worse(first.get("source"), own.get("source")) and gaps is not None and gaps < 0:
                found[model] = self.scale.show_change(first["source"], own["source"])
        return found

    def _in_order(self) -> list[tuple[str, Mapping[str, Any]]]:
        """The results that there are, in the order of the models."""
        return [(model, self.results[model]) for model in self.models if model in self.results]

    def _languages(self, model: str) -> Mapping[str, float]:
        return self.results[model]["languages"] if model in self.results else {}

    def _language_ps(self, code: str) -> list[float | None]:
        tests = [self.tests.get(model, {}).get("languages") or {} for model in self.models]
        return [found.get(code, {}).get("p") for found in tests]

    def _test(self, model: str) -> dict[str, Any] | None:
        test = self.tests.get(model)
        return {"low": None, "high": None} | dict(test) if test else None

    @staticmethod
    def _compared(scores: Sequence[float | None], ps: Sequence[float | None]) -> dict[str, Any]:
        return {"scores": scores, "others": list(zip(scores, ps, strict=True))[1:]}


def _mean_details(details: Mapping[str, Mapping[str, Any]], source: str) -> dict[str, float]:
    """Mean of each number over the languages besides the source."""
    others = [own for code, own in details.items() if code != source]
    values: dict[str, list[float]] = {}
    for own in others:
        for name, item in own.items():
            if isinstance(item, int | float):
                values.setdefault(name, []).append(float(item))
    return {name: sum(own) / len(own) for name, own in values.items()}


def _count(seeds: Any) -> int:
    """A number of runs, given as such or by its seeds."""
    return seeds if isinstance(seeds, int) else len(seeds or [0])


def _deviation(runs: Sequence[Mapping[str, float]]) -> float | None:
    """Sample standard deviation of the runs' scores."""
    return float(np.std([run["score"] for run in runs], ddof=1)) if len(runs) > 1 else None


def language_names(codes: Iterable[str]) -> dict[str, str]:
    """English names of languages by code, where Babel is installed.

    Args:
        codes: Such as `de` or `sr-Latn`.

    Returns:
        The names of those that Babel knows.
    """
    try:
        from babel import Locale, UnknownLocaleError
    except ModuleNotFoundError:
        return {}
    names = {}
    for code in codes:
        try:
            names[code] = Locale.parse(code, sep="-").get_display_name("en") or ""
        except (ValueError, UnknownLocaleError):
            continue
    return names


def to_plain(value: Any) -> Any:
    """Cast to what JSON knows: floats with six significant digits, NaN and infinity as null, the rest as text.

    >>> to_plain({"f1": np.float32(0.1), "loss": float("nan"), "files": (1, Path("a.tsv"))})
    {'f1': 0.1, 'loss': None, 'files': [1, 'a.tsv']}
    """
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
