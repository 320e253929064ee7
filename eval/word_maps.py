"""Maps that the browser draws, for it has the fonts of all scripts: heat maps as tables, words joined by lines."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from xling_align.eval.drawing import Figure
from xling_align.eval.metrics.word_alignment import Link
from xling_align.eval.page import render
from xling_align.eval.scale import typographic
from xling_align.modeling_xling import InputError

DARKEST = 45  # percent of the page's accent colour in the darkest cell; text stays legible on it


class Words(NamedTuple):
    """Texts along a side of a map, and the language that they are in (None where it is unknown)."""

    texts: Sequence[str]
    language: str | None = None


def heat_map(
    values: np.ndarray,
    rows: Words,
    columns: Words,
    title: str,
    marked: set[Link] | None = None,
    whole: bool = False,
    digits: int = 2,
    note: str = "",
) -> Figure:
    """Draw numbers as a table whose cells are the darker the higher they are (figure 2).

    Args:
        values: The numbers, (I, J).
        rows: I texts.
        columns: J texts.
        title: Caption.
        marked: Cells with a frame.
        whole: The first row and column are those of whole sentences, and look apart.
        digits: Shown after the point.
        note: How to read it.

    Returns:
        The figure; the table holds its own numbers.

    Raises:
        InputError: The sizes differ, or there is no number.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (len(rows.texts), len(columns.texts)) or not values.size:
        sizes = f"{len(rows.texts)} rows and {len(columns.texts)} columns"
        raise InputError(f"heat_map: numbers {values.shape} for {sizes}")
    low, spread = values.min(), max(np.ptp(values), 1e-12)
    heat = np.rint(DARKEST * (values - low) / spread).astype(int).tolist()
    cells = [
        [
            (number, shown(number, digits), heat[row][column], (row, column) in (marked or ()))
            for column, number in enumerate(line)
        ]
        for row, line in enumerate(values.tolist())
    ]
    page = {"title": title, "rows": rows, "columns": columns, "cells": cells, "whole": whole}
    return Figure(title, render("heat_map.html.jinja", page), (), (), note)


def shown(number: float, digits: int = 2) -> str:
    """A number as a cell shows it.

    >>> shown(-0.001), shown(0.456)
    ('0.00', '0.46')
    """
    return typographic(f"{round(number, digits) + 0.0:.{digits}f}")


def confusion_matrix(labels: Sequence[str], counts: np.ndarray, title: str) -> Figure:
    """Draw how often each class (row) was taken for which (column), in percent of the row (figure 6).

    Args:
        labels: Classes, in the order of rows and columns.
        counts: Numbers of texts (labels, labels).
        title: Caption.

    Returns:
        The figure, with the counts as its numbers.
    """
    counts = np.asarray(counts)
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    diagonal = {(row, row) for row in range(len(labels))}
    note = "In percent of each true class (row); columns are what the model said."
    drawn = heat_map(shares, Words(labels), Words(labels), title, diagonal, digits=0, note=note)
    rows = [(label, *line) for label, line in zip(labels, counts.tolist(), strict=True)]
    return Figure(title, drawn.markup, ("true class", *labels), rows, note)


def linked_words(first: Words, second: Words, links: Mapping[Link, float], title: str, note: str = "") -> Figure:
    """Draw two sentences, each down a column, with a line between words that belong together (figure 10).

    Args:
        first: Words of one sentence.
        second: Words of the other.
        links: How similar the two words of each link (row of the first, row of the second) are.
        title: Caption.
        note: How to read it.

    Returns:
        The figure, with the links as its numbers.
    """
    strongest = max(links.values(), default=1.0)
    lines = [(row, column, round(max(score / strongest, 0.15), 2)) for (row, column), score in sorted(links.items())]
    linked = [{link[side] for link in links} for side in (0, 1)]
    page = {"title": title, "sides": (first, second), "lines": lines, "linked": linked}
    rows = [(first.texts[row], second.texts[column], links[row, column]) for row, column in sorted(links)]
    markup = render("linked_words.html.jinja", page)
    return Figure(title, markup, ("word", "partner", "cosine"), rows, note)
