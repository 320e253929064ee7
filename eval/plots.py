"""Charts of scores: languages before and after, fine-tuning by epoch, similarity against transfer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xling_align.eval.drawing import Figure, canvas, colour, marker, to_svg
from xling_align.eval.metrics.similarity import spearman
from xling_align.eval.scale import Scale, typographic
from xling_align.modeling_xling import InputError

BEFORE, AFTER, WORSE, GRID = "#9a9a9a", "#0072b2", "#d62728", "#88888833"
Epochs = Sequence[Mapping[str, float | None]]


def language_bars(
    before: Mapping[str, float],
    after: Mapping[str, float],
    ylabel: str,
    names: tuple[str, str] = ("before", "after"),
    scale: Scale | None = None,
) -> Figure:
    """Draw a pair of bars per language, the largest gain on top; languages that lost are red and carry a sign.

    Args:
        before: A score per language code.
        after: The same after training; languages that only one of the two has are left out.
        ylabel: What the scores are, such as `retrieval accuracy`.
        names: What the two are called.
        scale: Unit and direction; fractions, higher being better, unless given.

    Returns:
        The figure.

    Raises:
        InputError: The two have no language in common.
    """
    scale = scale or Scale()
    sign = -1 if scale.higher_is_better else 1
    languages = sorted(before.keys() & after.keys(), key=lambda code: (sign * (after[code] - before[code]), code))
    if not languages:
        raise InputError("language_bars: 'before' and 'after' have no language in common")
    lost = [code for code in languages if scale.worse(before[code], after[code])]
    pairs = [(before[code], after[code]) for code in languages]
    with canvas(4.8, 1.0 + 0.4 * len(languages)) as figure:
        axes = figure.subplots()
        _draw_bars(axes, pairs, scale)
        axes.set_yticks(range(len(languages)), languages)
        axes.set_xlabel(f"{ylabel}{scale.unit}")
        figure.legend(handles=_bar_legend(names, bool(lost)), loc="outside upper left", ncols=3, frameon=False)
        title = f"Languages: {ylabel}, {names[0]} and {names[1]}"
        svg = to_svg(figure, f"{title}, {len(languages)} languages: {len(lost)} got worse")
    rows = [(code, *pair, after[code] - before[code]) for code, pair in zip(languages, pairs, strict=True)]
    return Figure(title, svg, ("language", *names, "change"), rows)


def _draw_bars(axes: Any, pairs: Sequence[tuple[float, float]], scale: Scale) -> None:
    values = np.array(pairs) * (100 if scale.percent else 1)  # (languages, 2)
    lowest, highest = min(0.0, values.min()), max(values.max(), 1e-9)
    right = (100.0 if scale.percent and highest > 50 else highest) * 1.0
    rows = np.arange(len(values))
    worse = [scale.worse(*pair) for pair in pairs]
    axes.barh(rows - 0.2, values[:, 0], height=0.36, color=BEFORE)
    axes.barh(rows + 0.2, values[:, 1], height=0.36, color=[WORSE if lost else AFTER for lost in worse])
    for row, pair in enumerate(pairs):
        moved = scale.show_change(*pair) + (" worse" if worse[row] else "")
        for offset, value, text in zip(
            (-0.2, 0.2), values[row], (scale.show(pair[0]), f"{scale.show(pair[1])} ({moved})"), strict=True
        ):
            axes.text(max(value, 0) + 0.01 * right, row + offset, text, va="center", fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(1.05 * lowest, 1.36 * right)  # room for the labels of full bars
    axes.set_xticks([tick for tick in axes.get_xticks() if lowest <= tick <= right])
    axes.tick_params(length=0)
    axes.margins(y=0.02)
    for side in axes.spines.values():
        side.set_visible(False)


def _bar_legend(names: tuple[str, str], with_worse: bool) -> list[Any]:
    from matplotlib.patches import Patch

    entries = [(BEFORE, names[0]), (AFTER, names[1])] + ([(WORSE, f"{names[1]}, got worse")] if with_worse else [])
    return [Patch(color=shade, label=label) for shade, label in entries]


def language_dots(scores: Mapping[str, Mapping[str, float]], ylabel: str, scale: Scale | None = None) -> Figure:
    """Draw a row per language with a mark for each model, the best mean on top: for one model, or for more than two.

    Args:
        scores: A score per language code, for each model.
        ylabel: What the scores are.
        scale: Unit and direction; fractions, higher being better, unless given.

    Returns:
        The figure.

    Raises:
        InputError: There is no score.
    """
    scale = scale or Scale()
    sign = -1 if scale.higher_is_better else 1
    found = {code: [own[code] for own in scores.values() if code in own] for own in scores.values() for code in own}
    if not found:
        raise InputError("language_dots: there is no score to draw")
    languages = sorted(found, key=lambda code: (sign * sum(found[code]) / len(found[code]), code))
    with canvas(4.8, 1.0 + 0.25 * (len(languages) + len(scores))) as figure:
        axes = figure.subplots()
        for index, (model, own) in enumerate(scores.items()):
            rows = [row for row, code in enumerate(languages) if code in own]
            values = np.array([own[languages[row]] for row in rows]) * (100 if scale.percent else 1)
            axes.scatter(values, rows, c=colour(index), marker=marker(index), s=30, label=model, zorder=2)
        axes.set_yticks(range(len(languages)), languages)
        axes.grid(color=GRID, zorder=0)
        axes.tick_params(length=0)
        axes.invert_yaxis()
        axes.set_xlabel(f"{ylabel}{scale.unit}")
        figure.legend(loc="outside upper left", ncols=1, frameon=False)
        title = f"Languages: {ylabel}"
        svg = to_svg(figure, f"{title}, {len(languages)} languages and {len(scores)} models")
    rows = [(code, *(own.get(code) for own in scores.values())) for code in languages]
    return Figure(title, svg, ("language", *scores), rows)


def convergence(histories: Mapping[str, Sequence[Epochs]], ylabel: str, scale: Scale | None = None) -> Figure:
    """Draw loss and development score by epoch of fine-tuning, each model's mean over its seeds (figure 5).

    Args:
        histories: For each model and seed the epochs, each with `epoch`, `loss` and, where it was measured,
            `dev_score`.
        ylabel: What the development score is.
        scale: Unit of the development score.

    Returns:
        The figure.

    Raises:
        InputError: There is no epoch.
    """
    curves = {model: by_epoch(runs) for model, runs in histories.items() if any(map(len, runs))}
    if not curves:
        raise InputError("convergence: there is no epoch to draw")
    scale = scale or Scale()
    with canvas(4.8, 4.6) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True)
        for index, (model, rows) in enumerate(curves.items()):
            look = {"color": colour(index), "marker": marker(index), "markersize": 5, "linewidth": 1.5}
            times = 100 if scale.percent else 1
            upper.plot([row[0] for row in rows], [row[1] for row in rows], label=model, **look)
            measured = [(row[0], times * row[2]) for row in rows if row[2] is not None]
            if measured:
                lower.plot(*zip(*measured, strict=True), **look)
        upper.set_ylabel("training loss")
        lower.set_ylabel(f"{ylabel}{scale.unit}")
        lower.set_xlabel("epoch")
        lower.xaxis.get_major_locator().set_params(integer=True)
        for axes in (upper, lower):
            axes.grid(color=GRID)
            axes.tick_params(length=0)
        figure.legend(loc="outside upper left", ncols=1, frameon=False)
        svg = to_svg(figure, f"training loss and {ylabel} by epoch of {', '.join(curves)}")
    rows = [(model, *row) for model, curve in curves.items() for row in curve]
    note = "Mean over the seeds; the development score is measured in the language of fine-tuning."
    return Figure("Fine-tuning, epoch by epoch", svg, ("model", "epoch", "loss", "dev score"), rows, note)


def by_epoch(runs: Sequence[Epochs]) -> list[tuple[float, float | None, float | None]]:
    """Mean loss and development score of each epoch over the runs that reached it.

    >>> by_epoch([[{"epoch": 1, "loss": 2.0, "dev_score": 0.5}], [{"epoch": 1, "loss": 1.0}]])
    [(1.0, 1.5, 0.5)]
    """
    found: dict[float, dict[str, list[float]]] = {}
    for run in runs:
        for row in run:
            epoch = found.setdefault(float(row["epoch"] or 0), {"loss": [], "dev_score": []})
            for name, values in epoch.items():
                values += [value] if (value := row.get(name)) is not None else []
    means = {epoch: [float(np.mean(own)) if own else None for own in row.values()] for epoch, row in found.items()}
    return [(epoch, *means[epoch]) for epoch in sorted(means)]  # pyright: ignore[reportReturnType]


def similarity_against_transfer(
    similarity: Mapping[str, Mapping[str, float]],
    transfer: Mapping[str, Mapping[str, float]],
    xlabel: str,
    ylabel: str,
) -> Figure:
    """Draw each language's alignment against what it scores in a task that was learnt in another language (figure 9).

    Args:
        similarity: For each model, how well sentences of a language are aligned, by language code.
        transfer: For each model, the task's scores.
        xlabel: What the first are.
        ylabel: What the second are.

    Returns:
        The figure; its note holds Spearman's rank correlation over the languages, model by model.

    Raises:
        InputError: No model has three languages in common.
    """
    shared = {
        model: sorted(own.keys() & transfer.get(model, {}).keys())
        for model, own in similarity.items()
        if len(own.keys() & transfer.get(model, {}).keys()) >= 3
    }
    if not shared:
        raise InputError("similarity_against_transfer: no model has three languages in both")
    rows = [
        (model, code, similarity[model][code], transfer[model][code])
        for model, codes in shared.items()
        for code in codes
    ]
    with canvas(4.8, 4.2) as figure:
        axes = figure.subplots()
        for index, model in enumerate(shared):
            points = np.array([row[2:] for row in rows if row[0] == model])  # (languages, 2)
            axes.scatter(*points.T, c=colour(index), marker=marker(index), s=26, alpha=0.8, label=model, zorder=2)
        for _, code, x, y in rows:
            axes.annotate(code, (x, y), xytext=(4, 3), textcoords="offset points", fontsize=8)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.grid(color=GRID, zorder=0)
        axes.tick_params(length=0)
        figure.legend(loc="outside upper left", ncols=1, frameon=False)
        title = f"{ylabel} against {xlabel}, by language"
        svg = to_svg(figure, f"{title}, of {', '.join(shared)}")
    found = [f"{model} {rank_correlation([row[2:] for row in rows if row[0] == model])}" for model in shared]
    note = f"Spearman's correlation over the languages: {'; '.join(found)}. Languages alone, so a hint and no proof."
    return Figure(title, svg, ("model", "language", xlabel, ylabel), rows, note)


def rank_correlation(points: Sequence[Sequence[float]]) -> str:
    """Spearman's correlation of points (N, 2), with their number.

    >>> rank_correlation([(1, 2), (2, 3), (3, 5)])
    '1.00 (3)'
    """
    return typographic(f"{spearman(*np.array(points, dtype=float).T):.2f} ({len(points)})")
