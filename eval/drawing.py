"""What a page shows as a figure, and SVG that belongs into a page: text left as text, colours of its scheme."""

import hashlib
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

from xling_align.eval.extras import eval_extra

INK = "#010203"  # stands for the page's text colour until the SVG is written
FRAME = "#8888884d"
# Okabe and Ito's colours without black and yellow, which vanish on a dark or a light page.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8c6d46")
MARKERS = "os^vDPX*<>phd"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "xling-align",
    "text.parse_math": False,  # a dollar sign in a name is no formula
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica"],
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FRAME,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
}


@dataclass(frozen=True)
class Figure:
    """A plot and the numbers behind it.

    Attributes:
        title: What it shows, in a few words.
        markup: An `<svg>` element or a piece of HTML, with all texts escaped by whoever made it.
        columns: Names of the columns of numbers.
        rows: One value per column, texts or numbers.
        note: How to read it.
    """

    title: str
    markup: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""


def colour(index: int) -> str:
    """The colour of the index-th language, label or model."""
    return COLOURS[index % len(COLOURS)]


def marker(index: int) -> str:
    """Its shape; together with the colour it is another for the first ninety."""
    return MARKERS[index % len(MARKERS)]


@contextmanager
def canvas(width: float, height: float) -> Iterator[Any]:
    """Open a figure to draw on, an `InputError` without matplotlib; its text is styled inside the `with`.

    Args:
        width: In inches; 4.8 fill a phone's screen.
        height: In inches.

    Yields:
        A matplotlib figure that pyplot does not know.
    """
    with eval_extra():
        import matplotlib
        from matplotlib.figure import Figure as Canvas
    with matplotlib.rc_context(STYLE):  # read when a text is made, not when it is written
        yield Canvas(figsize=(width, height), layout="constrained")


def bare(axes: Any, framed: bool = True) -> None:
    """Take ticks and their labels away, where positions mean nothing, and the frame, unless it is kept."""
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(framed)


def to_svg(figure: Any, title: str) -> str:
    """Write a figure as an `<svg>` element whose ids no other SVG of the page has.

    Args:
        figure: A matplotlib figure.
        title: What a screen reader says.

    Returns:
        The element.
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the browser has the fonts
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    prefix = "x" + hashlib.sha256((title + svg).encode()).hexdigest()[:12]
    svg = re.sub(r'((?:\bid="|href="#|url\(#))', rf"\g<1>{prefix}-", svg)
    opening = f'<svg role="img" aria-labelledby="{prefix}-title"'
    # A <style> inside an inline SVG would apply to the whole page.
    svg = re.sub(r"<style.*?</style>", "", svg, count=1, flags=re.DOTALL)
    named = svg.replace("<svg", f'{opening} style="stroke-linejoin: round"', 1)
    return named.replace(">", f'>\n<title id="{prefix}-title">{escape(title)}</title>', 1).strip()
