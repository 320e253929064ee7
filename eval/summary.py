"""From the runs of tasks to what is reported: means over seeds, the gap, the oracle, and tests of differences."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isnan
from typing import Any

from xling_align.eval.figures import summed
from xling_align.eval.page import value
from xling_align.eval.significance import holm, paired_bootstrap, paired_t_test
from xling_align.eval.tasks.result import TaskResult

MANY = 5  # languages from which on they are tested over, where there is one run


def as_run(result: TaskResult, seed: int) -> dict[str, Any]:
    """One run of a task as plain data; `oracle` and `fine_tuning` are taken out of the metadata."""
    run = asdict(result)
    run["oracle"] = run["metadata"].pop("oracle", None)
    run["fine_tuning"] = run["metadata"].pop("fine_tuning", None)
    return {**run, "seed": seed}


def figures(scores: Mapping[str, float], source: str = "en", lower_is_better: bool = False) -> dict[str, Any]:
    """What is always said of one score per language.

    >>> figures({"en": 0.75, "de": 0.5, "sw": 0.25})
    {'score': 0.375, 'source': 0.75, 'gap': 0.375, 'worst_five': 0.375}

    Args:
        scores: A score per language.
        source: The language that stands apart.
        lower_is_better: Whether the worst are the highest.

    Returns:
        `score`, the mean of the others; `source` and `gap` (source less the others), None without the source;
        `worst_five`, the mean of the worst five others, or of all where there are fewer.
    """
    others = sorted((score for code, score in scores.items() if code != source), reverse=lower_is_better)
    mean, own = sum(others) / len(others), scores.get(source)
    worst = sum(others[:5]) / len(others[:5])
    return {"score": mean, "source": own, "gap": None if own is None else own - mean, "worst_five": worst}


def merged(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One model's result on a task.

    Args:
        runs: As `as_run` makes them, one for each seed.

    Returns:
        `figures` and `languages` of the mean over the runs; `runs`, each with `seed`, `score` and `languages`;
        `oracle`, the same figures with the epoch chosen on each language's test, or None; `details`, means, and for
        confusion matrices sums, over the runs; `fine_tuning` of each run; `metadata` of the first.
    """
    source, lower = runs[0]["source"], runs[0]["lower_is_better"]
    languages = _mean([run["scores"] for run in runs])
    oracle = None
    if all(run["oracle"] for run in runs):
        best = _mean([run["oracle"] for run in runs])
        oracle = {**figures(best, source, lower), "languages": best, "chosen_on": "each language's own test set"}
    return {
        **figures(languages, source, lower),
        "languages": languages,
        "runs": [
            {
                "seed": run["seed"],
                "score": figures(run["scores"], source, lower)["score"],
                "languages": run["scores"],
            }
            for run in runs
        ],
        "oracle": oracle,
        "details": {code: _mean([run["details"].get(code, {}) for run in runs]) for code in languages},
        "fine_tuning": [run["fine_tuning"] for run in runs if run["fine_tuning"]],
        "metadata": runs[0]["metadata"],
    }


def note_of(metadata: Mapping[str, Any]) -> str | None:
    """The settings and counts that a result came from, in a sentence.

    >>> note_of({"layer": 3, "left_out_types": ["DATE"], "chosen_on": ["de", "fr"]})
    'Settings: layer 3; left out types DATE; chosen on de, fr.'

    Args:
        metadata: Of a result.

    Returns:
        The sentence; None where there is nothing to say.
    """
    known = [(name, item) for name, item in metadata.items() if item not in (None, [], "")]
    said = "; ".join(f"{name.replace('_', ' ')} {value(item)}" for name, item in known)
    return f"Settings: {said}." if said else None


def worst_language(task: Mapping[str, Any], model: str) -> str:
    """The language besides the source that a model does worst in.

    Args:
        task: A task's part of a report.
        model: Name of the model.

    Returns:
        Its code.
    """
    languages = task["results"][model]["languages"]
    scores = {code: score for code, score in languages.items() if code != task["source"]}
    return (min if task["higher_is_better"] else max)(scores, key=lambda code: scores[code])


def _mean(mappings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean of each number over mappings with the same names; confusion matrices are summed."""
    found = {}
    for name, first in mappings[0].items():
        values = [mapping[name] for mapping in mappings]
        if name == "confusion":
            found[name] = summed(values)
        else:
            found[name] = first if len(set(values)) == 1 else sum(values) / len(values)
    return found


def compared(result: Mapping[str, Any], first: Mapping[str, Any], source: str = "en") -> dict[str, Any]:
    """Test one model's result against the first model's.

    With two or more seeds the pairs are runs of one seed, and each language is tested too, with Holm's correction over
    the languages. With one run the pairs are the languages besides the source, where there are `MANY`: that says
    whether the difference holds across languages, and nothing of other seeds.

    Args:
        result: As `merged`.
        first: The other model's, of the same seeds.
        source: The language that stands apart.

    Returns:
        `difference` of the scores, `p` by paired t-test, `low` and `high` of the 95 % bootstrap interval (all None
        where nothing can be tested), `over` (`seeds`, `languages` or None), and by language `difference` and `p`.
    """
    codes = [code for code in result["languages"] if code in first["languages"]]
    differences = {code: result["languages"][code] - first["languages"][code] for code in codes}
    sides = [[run["score"] for run in each["runs"]] for each in (result, first)]
    found: dict[str, Any] = {"difference": result["score"] - first["score"], "over": None}
    p_values: list[float] = [float("nan")] * len(codes)
    if len(sides[0]) == len(sides[1]) > 1:
        found["over"] = "seeds"
        p_values = holm([paired_t_test(*_runs_of(code, result, first)) for code in codes])
    elif len(others := [code for code in codes if code != source]) >= MANY:
        found["over"] = "languages"
        sides = [[each["languages"][code] for code in others] for each in (result, first)]
    low, high = paired_bootstrap(sides[0], sides[1]) if found["over"] else (None, None)
    found |= {"p": paired_t_test(sides[0], sides[1]) if found["over"] else None, "low": low, "high": high}
    languages = {
        code: {"difference": differences[code], "p": None if isnan(p) else p}
        for code, p in zip(codes, p_values, strict=True)
    }
    return {**found, "languages": languages}


def _runs_of(code: str, *results: Mapping[str, Any]) -> list[list[float]]:
    """A language's scores, run by run, of each result."""
    return [[run["languages"][code] for run in result["runs"]] for result in results]
