"""One generator per file format, each giving `(number, record)`.

- A record is a dict from column to value, or a `LeftOut` with the reason why that row cannot be read.
- Memory stays bounded: a line, a batch, a translation unit or a catalog at a time.
- A file that cannot be read at all raises `InputError` in one line; one bad row never does.
- XML goes through defusedxml only: entities and external references are refused.
"""

import gzip
import json
import re
import reprlib
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from gettext import c2py
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from xling_align.modeling_xling import InputError

from .pairs import LeftOut, counted

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from polib import MOEntry, POEntry

Record = dict[str, Any] | LeftOut

LINE_LIMIT = 1_000_000
ROWS_PER_BATCH = 1_000
TWO_COLUMNS = ("source", "target")
XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
# TMX elements whose content is the native markup of the original document, not text.
MARKUP_CODES = {"bpt", "ept", "ph", "it", "ut"}
PLACEHOLDER = re.compile(r"%\(\w+\)[-+ #\d.]*[a-zA-Z]|%[-+#\d.]*[diouxXeEfFgGcrs]|\{\w*\}")
MARKUP = re.compile(r"<[^<>]+>|&\w+;")
TWO_LETTER_LANGUAGE = re.compile(r"[a-z]{2}([_@-][a-z0-9]+)*", re.IGNORECASE)


def one_line(error: BaseException) -> str:
    """Return an error's message on one line of at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__


@contextmanager
def refusing(path: Path | str, kind: str, *errors: type[BaseException]) -> Iterator[None]:
    """Turn what a parser raises for a broken file into an `InputError`."""
    try:
        yield
    except InputError:
        raise
    except (OSError, EOFError, zlib.error, *errors) as error:
        raise InputError(f"{path} cannot be read as {kind} ({one_line(error)}); give an intact file") from error


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading, through gzip if its name ends in `.gz`."""
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")  # type: ignore[return-value]


def text_lines(path: Path) -> Iterator[tuple[int, str | LeftOut]]:
    r"""Give each line of a UTF-8 file without its end (`\n` or `\r\n`), numbered from 1."""
    with refusing(path, "text"), open_bytes(path) as stream:
        number = 0
        while raw := stream.readline(LINE_LIMIT):
            number += 1
            if len(raw) == LINE_LIMIT and not raw.endswith(b"\n"):
                _skip_line(stream)
                yield number, LeftOut(f"longer than {LINE_LIMIT} bytes")
                continue
            if number == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            yield number, _decoded(raw.rstrip(b"\r\n"))


def _skip_line(stream: IO[bytes]) -> None:
    while (rest := stream.readline(LINE_LIMIT)) and not rest.endswith(b"\n"):
        pass


def _decoded(raw: bytes) -> str | LeftOut:
    try:
        return raw.decode("utf-8") or LeftOut("empty line")
    except UnicodeDecodeError as error:
        return LeftOut(f"not UTF-8 (byte {error.start + 1} of the line)")


def tsv_records(path: Path, header: bool | None = None) -> Iterator[tuple[int, Record]]:
    """Read tab-separated lines, in which a quote is a character like any other.

    Args:
        path: The file.
        header: Whether line 1 names the columns; by default it does if it names `source` and `target`. Without
            names the columns are source, target and, where the file has three, score.

    Yields:
        Line number and record.

    Raises:
        InputError: The header line cannot be read, or names a column twice.
    """
    names: tuple[str, ...] | None = None
    for number, line in text_lines(path):
        if number == 1 and header and isinstance(line, LeftOut):
            raise InputError(f"{path}: the header (line 1) is unusable: {line}; line 1 must name the columns")
        if isinstance(line, LeftOut):
            yield number, line
            continue
        cells = line.split("\t")
        if number == 1 and (names := _header_names(cells, header)):
            if len({*names}) < len(names):
                raise InputError(f"{path}: the header names a column twice ({_listed(names)}); rename one of them")
            continue
        names = names or _settled_names(cells)
        yield number, _tsv_record(cells, names)


def _header_names(cells: list[str], header: bool | None) -> tuple[str, ...] | None:
    """Return the names in line 1, or None if it is a row; where nobody promised a header, case does not count."""
    if header:
        return tuple(cell.strip() for cell in cells)
    lower = tuple(cell.strip().lower() for cell in cells)
    return lower if header is None and {*TWO_COLUMNS} <= {*lower} else None


def _settled_names(cells: list[str]) -> tuple[str, ...] | None:
    """Return the columns of a file without a header, or None if this line does not tell."""
    if len(cells) == 3 and re.fullmatch(r"\s*[-+]?[\d.]+([eE][-+]?\d+)?\s*", cells[2]):
        return (*TWO_COLUMNS, "score")
    return TWO_COLUMNS if len(cells) == 2 else None


def _tsv_record(cells: list[str], names: tuple[str, ...] | None) -> dict[str, str] | LeftOut:
    if names is None and len(cells) == 3:
        names = (*TWO_COLUMNS, "score")
    expected = len(names or TWO_COLUMNS)
    if len(cells) != expected:
        return LeftOut(f"{counted(len(cells), 'column')}, {expected} expected")
    return dict(zip(names or TWO_COLUMNS, cells, strict=True))


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(map(reprlib.repr, names[:30]))


def jsonl_records(path: Path) -> Iterator[tuple[int, Record]]:
    """Read one JSON object per line."""
    for number, line in text_lines(path):
        yield number, line if isinstance(line, LeftOut) else _json_object(line)


def _json_object(line: str) -> dict[str, Any] | LeftOut:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        return LeftOut(f"not JSON ({error.msg}, column {error.colno})")
    except (ValueError, RecursionError) as error:
        return LeftOut(f"not JSON ({one_line(error)})")
    return value if isinstance(value, dict) else LeftOut(f"JSON {type(value).__name__}, an object expected")


def parquet_records(path: Path) -> Iterator[tuple[int, Record]]:
    """Read the rows of a Parquet file, batch by batch."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with refusing(path, "Parquet", pa.ArrowException), open_bytes(path) as stream:
        number = 0
        for batch in pq.ParquetFile(stream).iter_batches(batch_size=ROWS_PER_BATCH):
            for record in _batch_rows(batch):
                number += 1
                yield number, record


def _batch_rows(batch: Any) -> Iterator[dict[str, Any] | LeftOut]:
    """Give a batch's rows; only one with undecodable text is taken apart row by row."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        if len(batch) == 1:
            yield LeftOut("not UTF-8")
            return
        for row in range(len(batch)):
            yield from _batch_rows(batch.slice(row, 1))


def tmx_records(path: Path) -> Iterator[tuple[int, Record]]:
    """Read a TMX file unit by unit.

    Args:
        path: The file.

    Yields:
        Unit number and a record with `translation`, a list of (language, text), and `source_language`, the unit's or
        the header's `srclang` if it names one language.

    Raises:
        InputError: The file is not TMX, is broken, or declares entities.
    """
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, iterparse

    number, source_language, body = 0, None, None
    with (
        refusing(path, "TMX", ParseError, DefusedXmlException, ValueError, RecursionError),
        open_bytes(path) as stream,
    ):
        root = None
        for event, element in iterparse(stream, events=("start", "end")):
            tag = _local_name(element)
            if root is None and tag != "tmx":
                raise InputError(f"{path} is not TMX: its root is <{tag[:40]}>; <tmx> is expected")
            root = root or tag
            if event == "start":
                source_language = element.get("srclang") if tag == "header" else source_language
                body = element if tag == "body" else body
            elif tag in MARKUP_CODES:
                element.text = None
                del element[:]
            elif tag == "tu":
                number += 1
                yield number, _unit_record(element, source_language)
                (element if body is None else body).clear()


def _local_name(element: "Element") -> str:
    return element.tag.rpartition("}")[2]


def _unit_record(unit: "Element", source_language: str | None) -> dict[str, Any]:
    texts = [
        (variant.get(XML_LANG) or variant.get("lang"), "".join(segment.itertext()))
        for variant in unit
        if _local_name(variant) == "tuv"
        for segment in variant
        if _local_name(segment) == "seg"
    ]
    declared = unit.get("srclang") or source_language
    return {"translation": texts, "source_language": None if declared == "*all*" else declared}


def catalog_files(root: Path) -> list[tuple[str, Path]]:
    """Find the gettext catalogs under a folder laid out as `<lang>/**/LC_MESSAGES/*.po`.

    The language is the two-letter folder nearest above LC_MESSAGES, else the folder right above it (`ast`, `ckb`).
    Of a `.po` and a `.mo` of the same name only the `.po` counts: it knows what is fuzzy.

    Args:
        root: The folder, e.g. a package's `locale`, or one that holds several of these.

    Returns:
        (language as the folder is called, file), in the order of the paths.
    """
    found = []
    for path in sorted([*root.rglob("*.po"), *root.rglob("*.mo")]):
        above = (root.resolve().name, *path.relative_to(root).parts[:-1])
        if "LC_MESSAGES" not in above[1:] or path.suffix == ".mo" and path.with_suffix(".po").exists():
            continue
        folders = above[: len(above) - 1 - above[::-1].index("LC_MESSAGES")][::-1]
        found.append((next(filter(TWO_LETTER_LANGUAGE.fullmatch, folders), folders[0]), path))
    return found


def catalog_records(path: Path, source_language: str, target_language: str) -> Iterator[tuple[int, Record]]:
    """Read one gettext catalog: the message is the source, its translation the target.

    Placeholders (`%(name)s`, `%d`, `{0}`) stay in the text. Left out are fuzzy, obsolete and untranslated entries,
    those whose sides name different placeholders, and those with no letter beside placeholders and markup.

    Args:
        path: The `.po` or `.mo` file.
        source_language: Language of the messages.
        target_language: Language of the catalog.

    Yields:
        Line number (of a `.mo`: entry number) and record.
    """
    import polib

    languages = {"source_language": source_language, "target_language": target_language}
    opened = polib.mofile if path.suffix == ".mo" else polib.pofile
    try:
        catalog = opened(str(path))
    except (OSError, ValueError, LookupError, ArithmeticError, struct.error) as error:
        yield 1, LeftOut(f"broken catalog ({one_line(error)})")
        return
    singular, plural = _plural_forms(catalog.metadata.get("Plural-Forms", ""))
    for number, entry in enumerate(catalog, 1):
        place = getattr(entry, "linenum", None) or number
        for source, target in _entry_texts(entry, singular, plural):
            yield place, _unusable(entry, source, target) or {"source": source, "target": target, **languages}


def _plural_forms(header: str) -> tuple[int, int]:
    """Return which forms a catalog uses for one thing and for five, from its Plural-Forms header."""
    rule = re.search(r"plural\s*=\s*([^;]+)", header)
    try:
        form = c2py(rule[1]) if rule else lambda n: int(n != 1)
        return int(form(1)), int(form(5))
    except (ValueError, ArithmeticError, RecursionError):
        return 0, 1


def _entry_texts(entry: "POEntry | MOEntry", singular: int, plural: int) -> Iterator[tuple[str, str]]:
    """Give the entry's pairs: of one with plurals, `1 file` with the form for one, `files` with the form for five."""
    if not entry.msgid_plural:
        yield _unescaped(entry, entry.msgid), _unescaped(entry, entry.msgstr)
        return
    forms = [(entry.msgid, singular), (entry.msgid_plural, plural)]
    for message, form in forms[singular == plural :]:
        yield _unescaped(entry, message), _unescaped(entry, entry.msgstr_plural.get(form, ""))


def _unescaped(entry: "POEntry | MOEntry", text: str) -> str:
    return text.replace("%%", "%") if "python-format" in entry.flags else text


def _unusable(entry: "POEntry | MOEntry", source: str, target: str) -> LeftOut | None:
    if entry.obsolete or "fuzzy" in entry.flags:
        return LeftOut("obsolete" if entry.obsolete else "fuzzy")
    if not target.strip():
        return LeftOut("untranslated")
    names, translated = ({*PLACEHOLDER.findall(text)} for text in (source, target))
    # "One file" may stand for "%d file", so a plural entry may drop placeholders, but none may add any.
    if translated - names or (names - translated and not entry.msgid_plural):
        return LeftOut("its sides name different placeholders")
    if not all(any(map(str.isalpha, MARKUP.sub("", PLACEHOLDER.sub("", text)))) for text in (source, target)):
        return LeftOut("no word beside placeholders")
    return None


def hub_records(
    dataset: str, config: str | None = None, split: str | None = None, revision: str | None = None
) -> Iterator[tuple[int, Record]]:
    """Stream the rows of a dataset on the Hub (split `train` unless said otherwise)."""
    from datasets import load_dataset

    try:
        rows = load_dataset(dataset, config, split=split or "train", revision=revision, streaming=True)
        yield from enumerate(rows, 1)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise InputError(
            f"dataset {dataset!r} cannot be read from the Hub ({one_line(error)}); check the id, --config, --split, "
            "--revision, the network and your login"
        ) from error
