"""Plots as inline SVG: no pyplot state, text left as text, colours that follow the page's light or dark scheme."""

import hashlib
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

import numpy as np

from xling_align.eval.extras import eval_extra
from xling_align.eval.metrics.transfer import change_in_points
from xling_align.modeling_xling import InputError

INK = "#010203"  # stands for the page's text colour until the SVG is written
BEFORE, AFTER, WORSE, FRAME = "#9a9a9a", "#0072b2", "#d62728", "#8888884d"
# Okabe and Ito's colours without black and yellow, which vanish on a dark or a light page.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8c6d46")
MARKERS = "os^vDPX*<>phd"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "xling-align",
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica"],
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def language_bars(before: dict[str, float], after: dict[str, float], ylabel: str) -> str:
    """Draw a pair of bars per language, the largest gain on top; languages that lost are red and carry a sign.

    Args:
        before: A score between 0 and 1 per language code.
        after: The same after training; languages that only one of the two has are left out.
        ylabel: What the scores are, such as `retrieval accuracy`.

    Returns:
        An `<svg>` element to put into a page.

    Raises:
        InputError: The two have no language in common.
    """
    languages = sorted(before.keys() & after.keys(), key=lambda code: (before[code] - after[code], code))
    if not languages:
        raise InputError("language_bars: 'before' and 'after' have no language in common")
    changes = [change_in_points(before[code], after[code]) for code in languages]
    lower = sum(change < 0 for change in changes)
    with _drawing(4.8, 1.0 + 0.4 * len(languages)) as figure:
        axes = figure.subplots()
        _draw_bars(axes, [before[code] for code in languages], [after[code] for code in languages], changes)
        axes.set_yticks(range(len(languages)), languages)
        axes.set_xlabel(f"{ylabel} (%)")
        figure.legend(handles=_bar_legend(lower > 0), loc="outside upper left", ncols=3, frameon=False)
        return _svg(figure, f"{ylabel} before and after, {len(languages)} languages: {lower} got worse")


def language_clouds(
    before: np.ndarray,
    after: np.ndarray,
    languages: Sequence[str],
    meanings: Sequence[Any] | None = None,
    joined: int = 5,
) -> str:
    """Draw both vector spaces in two dimensions (t-SNE, cosine), each language with a colour and a shape of its own.

    Args:
        before: Sentence vectors before training, (N, dim).
        after: Vectors of the same sentences after it, (N, dim).
        languages: The language code of each sentence, N.
        meanings: The same value for sentences that are translations of each other, N.
        joined: For so many meanings, lines join the translations to their middle.

    Returns:
        An `<svg>` element to put into a page.

    Raises:
        InputError: The lengths differ, or there are fewer than four sentences.
    """
    sizes = {len(before), len(after), len(languages), len(languages if meanings is None else meanings)}
    if len(sizes) > 1 or len(before) < 4:
        raise InputError(f"language_clouds needs one vector and language per sentence, four or more; got {sizes}")
    codes = sorted(set(languages))
    with _drawing(6.4, 4.0) as figure:
        for axes, name, vectors in zip(figure.subplots(1, 2), ("before", "after"), (before, after), strict=True):
            points = _two_dimensions(vectors)
            _draw_cloud(axes, points, np.asarray(languages), codes)
            if meanings is not None:
                _join(axes, points, np.asarray(meanings), joined)
            axes.set_title(name, fontsize=13)
        legend = axes.get_legend_handles_labels()
        figure.legend(
            *legend, loc="outside lower center", ncols=7, frameon=False, columnspacing=1, markerscale=2, fontsize=13
        )
        return _svg(figure, f"sentence vectors of {len(codes)} languages before and after, in two dimensions by t-SNE")


@contextmanager
def _drawing(width: float, height: float) -> Iterator[Any]:
    with eval_extra():
        import matplotlib
        from matplotlib.figure import Figure
    with matplotlib.rc_context(STYLE):  # read when a text is made, not when it is written
        yield Figure(figsize=(width, height), layout="constrained")


def _draw_bars(axes: Any, before: list[float], after: list[float], changes: list[float]) -> None:
    rows = np.arange(len(changes))
    colours = [WORSE if change < 0 else AFTER for change in changes]
    axes.barh(rows - 0.2, 100 * np.array(before), height=0.36, color=BEFORE)
    axes.barh(rows + 0.2, 100 * np.array(after), height=0.36, color=colours)
    for row, (old, new, change) in enumerate(zip(before, after, changes, strict=True)):
        sign = f"\N{MINUS SIGN}{-change:.1f} worse" if change < 0 else f"{'+' if change else ''}{change:.1f}"
        axes.text(100 * old + 1, row - 0.2, f"{100 * old:.1f}", va="center", fontsize=9)
        axes.text(100 * new + 1, row + 0.2, f"{100 * new:.1f} ({sign})", va="center", fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0, 132)  # room for the labels of full bars
    axes.set_xticks(range(0, 101, 20))
    axes.tick_params(length=0)
    axes.margins(y=0.02)
    for side in axes.spines.values():
        side.set_visible(False)


def _bar_legend(with_worse: bool) -> list[Any]:
    from matplotlib.patches import Patch

    entries = [(BEFORE, "before"), (AFTER, "after")] + ([(WORSE, "after, got worse")] if with_worse else [])
    return [Patch(color=colour, label=label) for colour, label in entries]


def _two_dimensions(vectors: np.ndarray) -> np.ndarray:
    with eval_extra():
        from sklearn.manifold import TSNE
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    tsne = TSNE(init="pca", metric="cosine", perplexity=perplexity, random_state=0)
    return tsne.fit_transform(np.asarray(vectors, dtype=np.float32))


def _draw_cloud(axes: Any, points: np.ndarray, languages: np.ndarray, codes: list[str]) -> None:
    for index, code in enumerate(codes):
        mine = points[languages == code]  # (sentences, 2)
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
        axes.scatter(*mine.T, s=16, c=colour, marker=marker, alpha=0.75, linewidths=0, label=code, zorder=2)
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_color(FRAME)


def _join(axes: Any, points: np.ndarray, meanings: np.ndarray, joined: int) -> None:
    for meaning in list(dict.fromkeys(meanings.tolist()))[:joined]:
        translations = points[meanings == meaning]
        middle = np.broadcast_to(translations.mean(axis=0), translations.shape)
        lines = np.stack([middle, translations])  # (2 ends, lines, 2)
        axes.plot(lines[..., 0], lines[..., 1], color=INK, alpha=0.45, linewidth=0.7, zorder=3)


def _svg(figure: Any, title: str) -> str:
    """Write the figure as an `<svg>` element whose ids no other SVG of the page has."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the browser has the fonts
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    prefix = "x" + hashlib.sha256(svg.encode()).hexdigest()[:8]
    svg = re.sub(r'((?:\bid="|href="#|url\(#))', rf"\g<1>{prefix}-", svg)
    opening = f'<svg role="img" aria-labelledby="{prefix}-title"'
    # A <style> inside an inline SVG would apply to the whole page.
    svg = re.sub(r"<style.*?</style>", "", svg, count=1, flags=re.DOTALL)
    named = svg.replace("<svg", f'{opening} style="stroke-linejoin: round"', 1)
    return named.replace(">", f'>\n<title id="{prefix}-title">{escape(title)}</title>', 1).strip()
