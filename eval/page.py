"""Pages that hold all they need: rendering of the templates, and writing so that nobody sees half a file."""

import base64
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from xling_align.eval.extras import eval_extra
from xling_align.eval.scale import ABSENT, typographic
from xling_align.modeling_xling import InputError

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, values: Mapping[str, Any]) -> str:
    """Fill a template; in pages every text is escaped.

    Args:
        template: Its file name.
        values: What it shows, by name.

    Returns:
        The text.

    Raises:
        InputError: A value is missing, or jinja2 is.
    """
    with eval_extra():
        import jinja2
    try:
        return _environment().get_template(template).render(values)
    except (jinja2.UndefinedError, TypeError) as error:
        raise InputError(f"the report lacks a part that the page shows: {error}") from error


@cache
def _environment() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {function.__name__: function for function in (value, number, flat, duration, cell)}
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    environment.globals |= {"script": script, "script_hash": digest(script)}
    return environment


def digest(script: str) -> str:
    """What a page's content security policy calls its one script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def write_texts(folder: Path, texts: Mapping[str, str]) -> None:
    """Write files that belong together, each replacing its predecessor in one step.

    Args:
        folder: Where; made if it does not exist.
        texts: Contents by file name.

    Raises:
        InputError: The folder cannot be written.
    """
    waiting = {folder / f".{name}.{os.getpid()}.tmp": folder / name for name in texts}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in zip(waiting, texts.values(), strict=True):
            path.write_text(text, encoding="utf-8", newline="\n")
        for path, final in waiting.items():
            path.replace(final)
    except OSError as error:
        names = ", ".join(texts)
        raise InputError(f"cannot write {names} to {str(folder)!r}: {error.strerror or error}") from error
    finally:
        for path in waiting:
            with suppress(OSError):  # moved, or never written
                path.unlink()


def value(item: Any) -> str:
    """Show a value of no known kind: digits grouped, fractions to four digits, lists with commas, None as a dash.

    >>> value(1234567), value(1 / 3), value([1, 2]), value(True), value({"de": 3, "fr": 4})
    ('1,234,567', '0.3333', '1, 2', 'yes', 'de 3, fr 4')
    """
    if item is None or isinstance(item, bool):
        return {None: ABSENT, True: "yes", False: "no"}[item]
    if isinstance(item, int | float):
        return f"{item:,}" if isinstance(item, int) or abs(item) >= 1000 else f"{item:.4g}"
    if isinstance(item, Mapping):
        return ", ".join(f"{name} {value(part)}" for name, part in item.items())
    return ", ".join(value(part) for part in item) if isinstance(item, list) else str(item)


def number(item: Any) -> str:
    """Show a number with four significant digits, anything else as `value` does.

    >>> number(0.123456), number(12), number(1e-05)
    ('0.1235', '12', '1e-05')
    """
    return typographic(f"{item:.4g}") if isinstance(item, float) else value(item)


def flat(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Walk mappings of mappings as (dotted name, value); those at the bottom stay whole.

    >>> list(flat({"rows": {"sib200": {"de": 3}}, "seed": 0}))
    [('rows.sib200', {'de': 3}), ('seed', 0)]
    """
    for name, item in mapping.items():
        if isinstance(item, Mapping) and any(isinstance(part, Mapping) for part in item.values()):
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
