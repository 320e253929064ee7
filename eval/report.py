"""The report of a run: one page for people, the same in Markdown, and the numbers as JSON."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from xling_align.eval.extras import eval_extra
from xling_align.eval.metrics.transfer import change_in_points
from xling_align.modeling_xling import InputError

TEMPLATES = Path(__file__).parent / "templates"
MINUS, ABSENT = "\N{MINUS SIGN}", "\N{EN DASH}"


def write_report(
    folder: str | os.PathLike[str],
    report: Mapping[str, Any],
    plots: Mapping[str, str],
    names: Mapping[str, str] | None = None,
) -> Path:
    """Write `report.json`, `report.md` and the self-contained page `report.html`.

    All three are rendered before the first is written, and each replaces its predecessor in one step, so that no
    reader sees half a file.

    Args:
        folder: Where to write; made if it does not exist.
        report: `title`, `summary`, `command`, `versions` (by package), `seconds`, `stage_seconds` (by stage), `data`
            and `model` (any names and values), and `retrieval` and `zero_shot`, each with `before` and `after`, each
            with `mean` and `languages` (by code) between 0 and 1; `zero_shot` also with `source`, `gap` and
            `worst_five`. Whatever else it holds goes to the JSON alone.
        plots: SVG elements by caption, as `plots.py` draws them.
        names: Language names by code, shown beside the codes.

    Returns:
        The path of `report.html`.

    Raises:
        InputError: The report lacks a part, jinja2 is missing, or the folder cannot be written.
    """
    plain = to_plain(report)
    page = {"report": plain, "plots": plots, "rows": language_rows(plain, names or {}), "transfer": TRANSFER}
    texts = {
        "report.json": json.dumps(plain, indent=2, ensure_ascii=False) + "\n",
        "report.md": _render("report.md.jinja", page),
        "report.html": _render("report.html.jinja", page),
    }
    try:
        _write_all(Path(folder), texts)
    except OSError as error:
        raise InputError(f"cannot write a report to {str(folder)!r}: {error.strerror or error}") from error
    return Path(folder) / "report.html"


TRANSFER = {
    "source": "English (source)",
    "mean": "Mean of the others",
    "worst_five": "Mean of the worst five",
    "gap": "Gap (English minus the others)",
}


def language_rows(report: Mapping[str, Any], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """List `code`, `name` and, per task, the score before and after (None where it was not measured), by code."""
    tasks = {task: _before_after(report, task) for task in ("retrieval", "zero_shot")}
    codes = sorted({code for pair in tasks.values() for scores in pair for code in scores})
    return [
        {"code": code, "name": names.get(code, "")}
        | {task: tuple(scores.get(code) for scores in pair) for task, pair in tasks.items()}
        for code in codes
    ]


def _before_after(report: Mapping[str, Any], task: str) -> list[dict[str, float]]:
    try:
        return [report[task][moment]["languages"] for moment in ("before", "after")]
    except (KeyError, TypeError) as error:
        raise InputError(f"the report lacks {task!r} with 'languages' in 'before' and in 'after'") from error


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


def percent(score: float | None) -> str:
    """Show a score between 0 and 1 in percent, with one decimal.

    >>> percent(0.8731)
    '87.3'
    """
    return ABSENT if score is None else f"{100 * score:.1f}".replace("-", MINUS)


def change(before: float | None, after: float | None) -> str:
    """Show a change in percentage points with its sign, an en dash where one of the two is missing.

    >>> change(0.5, 0.625)
    '+12.5'
    """
    if before is None or after is None:
        return ABSENT
    return f"{change_in_points(before, after):+.1f}".replace("-", MINUS).replace("+0.0", "0.0")


def worse(before: float | None, after: float | None) -> bool:
    """Tell whether a score fell by what a reader of the report can see."""
    return before is not None and after is not None and change_in_points(before, after) < 0


def gap_trend(before: float, after: float) -> str:
    """Say in a word what became of the transfer gap.

    >>> gap_trend(0.4, 0.3), gap_trend(0.3, 0.4), gap_trend(0.3, 0.3)
    ('narrower', 'wider', 'the same')
    """
    points = change_in_points(before, after)
    return "narrower" if points < 0 else "wider" if points > 0 else "the same"


def value(item: Any) -> str:
    """Show a value of no known kind: digits grouped, lists with commas, None as a dash.

    >>> value(1234567), value(0.25), value([1, 2]), value(True)
    ('1,234,567', '0.25', '1, 2', 'yes')
    """
    if item is None or isinstance(item, bool):
        return {None: ABSENT, True: "yes", False: "no"}[item]
    if isinstance(item, int | float):
        return f"{item:,}" if abs(item) >= 1000 else str(item)
    return ", ".join(value(part) for part in item) if isinstance(item, list) else str(item)


def flat(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Walk nested mappings as (dotted name, value).

    >>> list(flat({"train": {"pairs": 3}, "seed": 0}))
    [('train.pairs', 3), ('seed', 0)]
    """
    for name, item in mapping.items():
        if isinstance(item, Mapping):
            yield from flat(item, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", item


def duration(seconds: float | None) -> str:
    """Show seconds as people say them.

    >>> duration(9.64), duration(312.4), duration(7300)
    ('9.6 s', '5 min 12 s', '2 h 1 min')
    """
    if seconds is None:
        return ABSENT
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds) // 60
    return f"{minutes} min {round(seconds) % 60} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def cell(text: Any) -> str:
    """Make a text safe inside a Markdown table cell."""
    return " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")


def _render(template: str, page: dict[str, Any]) -> str:
    with eval_extra():
        import jinja2
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters = (percent, change, worse, gap_trend, value, flat, duration, cell)
    environment.filters.update({function.__name__: function for function in filters})
    try:
        return environment.get_template(template).render(page)
    except (jinja2.UndefinedError, TypeError) as error:
        raise InputError(f"the report lacks a part that the page shows: {error}") from error


def _write_all(folder: Path, texts: dict[str, str]) -> None:
    waiting = {folder / f".{name}.{os.getpid()}.tmp": folder / name for name in texts}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in zip(waiting, texts.values(), strict=True):
            path.write_text(text, encoding="utf-8", newline="\n")
        for path, final in waiting.items():
            path.replace(final)
    finally:
        for path in waiting:
            with suppress(OSError):  # moved, or never written
                path.unlink()
