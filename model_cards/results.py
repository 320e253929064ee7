"""Results as the Hub takes them: a `model-index` in the card, and `.eval_results/*.yaml` beside it."""

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import EvalResult, EvalResultEntry, eval_result_entries_to_yaml
from huggingface_hub.utils import yaml_dump

from xling_align.eval.report import to_plain
from xling_align.modeling_xling import InputError

logger = logging.getLogger("xling_align")

Value = TypeVar("Value")

MARK = "# Written by xling-align, and replaced or removed when the next card is written.\n"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
TASK_TYPES = {
    "tatoeba": "sentence-similarity",
    "retrieval": "sentence-similarity",
    "bucc": "sentence-similarity",
    "stsb": "sentence-similarity",
    "sts17": "sentence-similarity",
    "panx": "token-classification",
    "masakhaner": "token-classification",
    "sib200": "text-classification",
    "sib200_tuned": "text-classification",
    "label_names": "zero-shot-classification",
    "mldoc": "text-classification",
    "mining": "sentence-similarity",
    "zero_shot": "text-classification",
    "pawsx": "text-classification",
    "pawsx_mixed": "text-classification",
    "xnli": "text-classification",
    "xnli_mixed": "text-classification",
}


@dataclass(frozen=True)
class Result:
    """One task's scores in %, by language code, as the card shows them."""

    task: str
    metric: str
    scores: dict[str, float]
    source: str
    gap: float | None
    dataset: str | None
    split: str
    revision: str | None = None

    @property
    def others(self) -> dict[str, float]:
        """Scores of the languages besides the source."""
        return {code: score for code, score in self.scores.items() if code != self.source}

    @property
    def mean(self) -> float:
        """Mean over the languages besides the source, or the source's own score where there is no other."""
        scores = self.others or self.scores
        return round(sum(scores.values()) / len(scores), 2)

    @property
    def worst(self) -> list[str]:
        """The three languages besides the source with the lowest scores."""
        return sorted(self.others, key=lambda code: self.others[code])[:3]


def left_out(what: str, why: str) -> None:
    """Warn that the card goes without something."""
    logger.warning("model card: %s left out (%s)", what, why)


def attempt(what: str, get: Callable[[], Value], default: Value) -> Value:
    """What a part of the card holds; the default, with a warning, where it can't be made of what was given."""
    try:
        return get()
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        left_out(what, f"{type(error).__name__}: {error}")
        return default


def read_results(results: Iterable[Mapping[str, Any] | Result]) -> list[Result]:
    """Check results and cast them to plain numbers.

    Args:
        results: Read ones, or mappings with `task`, `metric`, `scores` (in %, by language code), and, where they are
            known, `source` ("en" unless given), `gap` (the difference of source and mean of the others unless given),
            `dataset` (a Hub id, or any name), `split` ("test" unless given) and `revision`.

    Returns:
        The results; one that is no such mapping is left out.
    """
    good = []
    for number, given in enumerate(results, 1):
        if isinstance(given, Result):
            good.append(given)
            continue
        try:
            plain = to_plain(dict(given))
            scores = {code: round(float(score), 2) for code, score in plain["scores"].items() if score is not None}
            source, task = plain.get("source") or "en", str(plain["task"])
            others = [score for code, score in scores.items() if code != source]
            gap = plain.get("gap")
            if gap is None and others and source in scores:
                gap = scores[source] - sum(others) / len(others)
            gap = None if gap is None else round(float(gap), 2)
            names = (plain.get("dataset"), plain.get("split") or "test", plain.get("revision"))
            result = Result(task, str(plain["metric"]), scores, source, gap, *names)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            left_out(f"result {number}", f"{type(error).__name__}: {error}")
            continue
        if scores:
            good.append(result)
        else:
            left_out(f"result {number} ({task})", "no score is a number")
    return good


def measured_model(report: Mapping[str, Any], digest: str) -> str:
    """The model of an evaluation that has the given weights, whatever it was called and wherever it lay.

    Args:
        report: `results.json` of `xling eval`, or the demo's `report.json`.
        digest: As `model_digest` gives it.

    Returns:
        Its name in the report.

    Raises:
        InputError: None has, or the models can't be read.
    """
    try:
        names = {model.get("digest"): str(model["name"]) for model in report["models"]}
    except (LookupError, TypeError, AttributeError) as error:
        raise InputError("the report's models can't be read; give the results.json of xling eval") from error
    if digest not in names:
        raise InputError(
            f"the report is of other weights than the folder's (it measured {', '.join(names.values())}); "
            "measure the folder by xling eval, and give that results.json"
        )
    return names[digest]


def evaluation_results(report: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """One model's results out of an evaluation's, for `read_results`.

    Measures that are no percentage, or of which less is better, stay out of the card. A data set is named by its Hub
    id only where the data are the Hub's, at a known commit, and all of its test was scored.

    Args:
        report: As `measured_model` takes it.
        name: The model's.

    Returns:
        The results, in %.
    """
    found = []
    for task in report["tasks"]:
        result = task["results"].get(name)
        if result is None or task["unit"] != "%" or not task["higher_is_better"]:
            continue
        limit, split = result.get("metadata", {}).get("limit"), task.get("split", "test")
        whole = split == "test" and not limit and bool(task.get("revision"))
        found.append(
            {
                "task": task["name"],
                "metric": task["metric"],
                "scores": {code: 100 * score for code, score in result["languages"].items()},
                "source": task.get("source") or report["source"],
                "dataset": task["dataset"] if whole else None,
                "revision": task["revision"] if whole else None,
                "split": split + (f", first {limit} rows" if limit else ""),
            }
        )
    return found


def eval_results(results: Iterable[Result]) -> list[EvalResult]:
    """Results as the entries of a `model-index`: each language, the mean of the others, and the transfer gap."""
    entries = []
    for result in results:
        shared = {
            "task_type": TASK_TYPES.get(result.task, "feature-extraction"),
            "task_name": result.task,
            "dataset_type": result.dataset or result.task,
            "dataset_name": result.dataset or result.task,
            "dataset_split": result.split,
            "dataset_revision": result.revision,
        }
        for code, score in result.scores.items():
            own = {"metric_type": result.metric, "metric_value": score, "metric_name": f"{result.metric} in %, {code}"}
            entries.append(EvalResult(**shared, dataset_config=code, **own))
        if result.others:
            name = f"{result.metric} in %, mean of {len(result.others)} languages besides {result.source}"
            entries.append(EvalResult(**shared, metric_type=result.metric, metric_value=result.mean, metric_name=name))
        if result.gap is not None:
            name = f"{result.metric} in points, {result.source} minus the mean of the others"
            entries.append(EvalResult(**shared, metric_type="transfer_gap", metric_value=result.gap, metric_name=name))
    return entries


def eval_result_files(results: Iterable[Result]) -> dict[str, str]:
    """Contents of the `.eval_results/*.yaml` files by name, for the data sets that have a Hub id."""
    entries: dict[str, list[EvalResultEntry]] = {}
    for result in results:
        if not result.dataset or not HUB_ID.fullmatch(result.dataset):
            left_out(f".eval_results of {result.task}", "its data set has no Hub id")
            continue
        notes = f"{result.metric} in %, mean of {len(result.others)} languages besides {result.source}"
        if not result.others:
            notes = f"{result.metric} in %, {result.source} alone"
        if result.gap is not None:
            notes += f"; {result.source} is {result.gap:+.2f} points from it"
        entry = EvalResultEntry(
            result.dataset,
            result.task,
            result.mean,
            dataset_revision=result.revision,
            notes=f"{notes}; {result.split}",
        )
        entries.setdefault(result.dataset.replace("/", "--"), []).append(entry)
    return {
        name: MARK + yaml_dump(eval_result_entries_to_yaml(found), sort_keys=False) for name, found in entries.items()
    }


def write_eval_results(folder: Path, results: Iterable[Result]) -> None:
    """Write a model's `.eval_results/*.yaml`, and remove those that an earlier card left there.

    Args:
        folder: The model's.
        results: What they hold.
    """
    there = folder / ".eval_results"
    for path in there.glob("*.yaml"):
        if path.read_bytes().startswith(MARK.encode()):
            path.unlink()
    for name, content in eval_result_files(results).items():
        there.mkdir(exist_ok=True)
        (there / f"{name}.yaml").write_text(content, encoding="utf-8")
