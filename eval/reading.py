"""The low level of `data_dir`: find a data set's files, and read their lines and columns.

What can't be used is an `InputError` in one line, with file and line number where there is one.
"""

import gzip
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from xling_align.modeling_xling import InputError, nearest

Rows = TypeVar("Rows")

IOB2 = re.compile(r"O|[BI]-.+")


class ByLanguage(dict[str, Rows]):
    """Rows per language code; `limit`, if not None, says that only the first so many of each language were read."""

    def __init__(self, rows: Mapping[str, Rows], limit: int | None = None):
        super().__init__(rows)
        self.limit = limit


def limit_of(data: Mapping[str, Any]) -> dict[str, int]:
    """Return `{"limit": n}` for a result's metadata where `data` holds the first n rows of each language, else {}."""
    limit = getattr(data, "limit", None)
    return {} if limit is None else {"limit": limit}


def files_by_language(root: Path, pattern: str, languages: Iterable[str] | None = None) -> dict[str, Path]:
    """Find the files of a data set.

    Args:
        root: Its folder.
        pattern: A file's place in it, `<xx>` standing for the language, such as `<xx>/test.tsv`.
        languages: Codes, in the order wanted; all that have a file unless given.

    Returns:
        A file per language, which may be `name.gz` where there is no `name`.

    Raises:
        InputError: There is no such file, or none for one of the languages.
    """
    named = re.compile(re.escape(pattern).replace("<xx>", "([^/]+)") + r"(\.gz)?")
    found: dict[str, Path] = {}
    for path in sorted(root.glob(pattern.replace("<xx>", "*") + "*")):
        if (match := named.fullmatch(path.relative_to(root).as_posix())) and path.is_file():
            found.setdefault(match[1], path)
    if not found:
        raise InputError(f"{root} holds no {pattern}, with .gz or without; name the folder above {root.name!r}")
    codes = [languages] if isinstance(languages, str) else list(found if languages is None else languages)
    for code in codes:
        if code not in found:
            known = f"{nearest(code, list(found))}; there are {', '.join(found)}"
            raise InputError(f"{root} has no {pattern} for language {code!r}{known}")
    return {code: found[code] for code in codes}


def beside(path: Path, name: str) -> Path:
    """Return the file `name`, or `name.gz`, that lies in the folder of another file and belongs to it."""
    for each in (path.with_name(name), path.with_name(f"{name}.gz")):
        if each.is_file():
            return each
    raise InputError(f"{path} has no {name} beside it")


def read_each(files: Mapping[str, Path], limit: int | None, reader: Callable[[Path], Rows]) -> ByLanguage[Rows]:
    """Read a file per language; `limit` must be None or at least 1 and is remembered."""
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}; it must be at least 1, or None for all rows")
    return ByLanguage({language: reader(path) for language, path in files.items()}, limit)


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Give the lines of a UTF-8 file, numbered from 1, without their ends."""
    number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            for number, raw in enumerate(stream, 1):  # noqa: B007
                yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}, line {number}: not UTF-8 (byte {error.start + 1} of the line)") from error
    except (OSError, EOFError) as error:
        raise InputError(f"{path} can't be read ({error}); give an intact file") from error


def columns(path: Path, names: tuple[str, ...], limit: int | None = None) -> list[list[str]]:
    """Read the named columns of a TSV file with a header, a list per column."""
    lines = numbered_lines(path)
    header = next(lines, (1, ""))[1].split("\t")
    if header == [""]:
        raise InputError(f"{path} is empty; it must hold a header that names {', '.join(names)}, and rows")
    for name in names:
        if name not in header:
            raise InputError(f"{path}, line 1: no column {name!r}; the header must name {', '.join(names)}")
    rows = []
    for number, line in islice(lines, limit):
        cells = line.split("\t")
        if len(cells) != len(header):
            raise InputError(f"{path}, line {number}: {len(cells)} columns, the header has {len(header)}")
        rows.append(_filled(path, number, names, [cells[header.index(name)] for name in names]))
    if not rows:
        raise InputError(f"{path} is empty; it must hold a row below its header")
    return [list(column) for column in zip(*rows, strict=True)]


def columns_without_header(path: Path, names: tuple[str, ...]) -> Iterator[list[str]]:
    """Give the rows of a TSV file without a header; tabs after the last column's begin belong to that column."""
    number = 0
    for number, line in numbered_lines(path):
        cells = line.split("\t", len(names) - 1)
        if len(cells) != len(names):
            raise InputError(f"{path}, line {number}: {len(cells)} columns, not {'<TAB>'.join(names)}")
        yield _filled(path, number, names, cells)
    if not number:
        raise InputError(f"{path} is empty; it must hold rows of {'<TAB>'.join(names)}")


def _filled(path: Path, number: int, names: tuple[str, ...], cells: list[str]) -> list[str]:
    for name, cell in zip(names, cells, strict=True):
        if not cell.strip():
            raise InputError(f"{path}, line {number}: {name!r} is empty")
    return cells


def texts(path: Path) -> list[str]:
    """Read a text from every line of a file."""
    found = []
    for number, line in numbered_lines(path):
        if not line.strip():
            raise InputError(f"{path}, line {number}: empty")
        found.append(line)
    if not found:
        raise InputError(f"{path} is empty; it must hold a sentence a line")
    return found


def aligned(path: Path, *others: Path) -> list[list[str]]:
    """Read files that belong together line by line, such as a text and its translation."""
    sides = [texts(each) for each in (path, *others)]
    for other, lines in zip(others, sides[1:], strict=True):
        if len(lines) != len(sides[0]):
            counts = f"{len(sides[0])} lines and {other.name} {len(lines)}"
            raise InputError(f"{path} has {counts}; they must be aligned line by line")
    return sides


def conll_sentences(path: Path, iob2: bool = False) -> Iterator[tuple[int, list[str], list[str]]]:
    """Read sentences of `word<TAB>tag` lines, or of CoNLL-2003's columns, of which the first and the last count.

    Args:
        path: The file; a blank line ends a sentence, `-DOCSTART-` a document.
        iob2: Whether every tag must be O, B-type or I-type.

    Yields:
        Number of a sentence's first line, its words and their tags.

    Raises:
        InputError: A line has one column, another tag, or is not UTF-8.
    """
    words: list[str] = []
    tags: list[str] = []
    number = 0
    for number, line in numbered_lines(path):
        if not line.strip() or line.startswith("-DOCSTART-"):
            if words:
                yield number - len(words), words, tags
            words, tags = [], []
            continue
        cells = line.split("\t") if "\t" in line else line.split()
        tag = cells[-1].strip()
        if len(cells) < 2 or not cells[0].strip() or not tag or iob2 and not IOB2.fullmatch(tag):
            form = ", which must be O, B-type or I-type" if iob2 else ""
            raise InputError(f"{path}, line {number}: {line[:60]!r} is not a word and its tag{form}")
        words.append(cells[0])
        tags.append(tag)
    if words:
        yield number - len(words) + 1, words, tags
