"""The plots of a report that its scores allow, task by task."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from xling_align.eval.drawing import Figure
from xling_align.eval.plots import convergence, language_bars, language_dots, similarity_against_transfer
from xling_align.eval.scale import Scale
from xling_align.eval.word_maps import confusion_matrix

ALIGNMENT = ("pair_similarity", "retrieval", "tatoeba")  # tasks that say how well a language is aligned
FEWEST = 3  # languages that a rank correlation is drawn for


def task_figures(report: Mapping[str, Any], task: Mapping[str, Any]) -> list[Figure]:
    """Draw what a task's results hold.

    Args:
        report: The whole report, in the form of `write_report`.
        task: One of its tasks.

    Returns:
        Languages first, then convergence, confusion matrices, and similarity against transfer.
    """
    found = task["results"]
    results = {model["name"]: found[model["name"]] for model in report["models"] if model["name"] in found}
    plots = (_languages(task, results), _convergence(task, results), _confusion(report, task, results))
    return [figure for family in (*plots, _transfer(report, task)) for figure in family]


def _languages(task: Mapping[str, Any], results: Mapping[str, Any]) -> Iterator[Figure]:
    scores = {model: numbers(result["languages"]) for model, result in results.items()}
    if len(scores) == 2:
        (first, before), (second, after) = scores.items()
        if before.keys() & after.keys():
            yield language_bars(before, after, task["metric"], (first, second), Scale.of(task))
    elif any(scores.values()):
        yield language_dots(scores, task["metric"], Scale.of(task))


def _convergence(task: Mapping[str, Any], results: Mapping[str, Any]) -> Iterator[Figure]:
    histories = {model: result.get("fine_tuning") or [] for model, result in results.items()}
    if any(run for runs in histories.values() for run in runs):
        chosen_by = "accuracy" if task["metric"] == "macro f1" else task["metric"]  # as `trainers.selection` scores
        yield convergence(histories, f"{chosen_by} on dev", Scale.of(task))


def _confusion(report: Mapping[str, Any], task: Mapping[str, Any], results: Mapping[str, Any]) -> Iterator[Figure]:
    """The source language's matrices, model beside model, then those of all other languages together."""
    source = task.get("source", report["source"])
    found = {
        model: {code: own["confusion"] for code, own in (result.get("details") or {}).items() if "confusion" in own}
        for model, result in results.items()
    }
    for model, matrices in found.items():
        if source in matrices:
            yield confusion_matrix(**matrices[source], title=f"Confusion in {source}: {model}")
    for model, matrices in found.items():
        rest = [matrix for code, matrix in matrices.items() if code != source]
        if rest:
            yield confusion_matrix(**summed(rest), title=f"Confusion in the other {len(rest)} languages: {model}")


def summed(matrices: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sum confusion matrices, each with `labels` and `counts`; their labels may differ.

    >>> summed([{"labels": ["a"], "counts": [[2]]}, {"labels": ["b", "a"], "counts": [[1, 0], [3, 4]]}])["counts"]
    [[6, 3], [0, 1]]
    """
    labels = sorted({label for matrix in matrices for label in matrix["labels"]})
    counts = np.zeros((len(labels), len(labels)), dtype=int)
    for matrix in matrices:
        places = [labels.index(label) for label in matrix["labels"]]
        counts[np.ix_(places, places)] += np.asarray(matrix["counts"])
    return {"labels": labels, "counts": counts.tolist()}


def _transfer(report: Mapping[str, Any], task: Mapping[str, Any]) -> Iterator[Figure]:
    """The first alignment task there is, against this one, if it was learnt in the source language."""
    aligned = next((other for name in ALIGNMENT for other in report["tasks"] if other["name"] == name), None)
    learnt = any(result.get("gap") is not None for result in task["results"].values())
    if aligned is None or aligned is task or not learnt:
        return
    similarity, transfer = (
        {model: shown_scores(report, each, result) for model, result in each["results"].items()}
        for each in (aligned, task)
    )
    if any(len(own.keys() & transfer.get(model, {}).keys()) >= FEWEST for model, own in similarity.items()):
        labels = (f"{each['title']} ({each['metric']}{Scale.of(each).unit})" for each in (aligned, task))
        yield similarity_against_transfer(similarity, transfer, *labels)


def shown_scores(report: Mapping[str, Any], task: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, float]:
    """Scores of the languages besides the source, as a reader sees them."""
    scale = Scale.of(task)
    scores = numbers(result["languages"]).items()
    source = task.get("source", report["source"])
    return {code: scale.rounded(score) for code, score in scores if code != source}


def numbers(scores: Mapping[str, float | None]) -> dict[str, float]:
    """Scores that there are."""
    return {code: score for code, score in scores.items() if score is not None}
