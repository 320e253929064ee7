r"""Read the evaluation sets of a local data folder, one split of all its languages at a time.

- The layout is that of the functions' docstrings; each file may also be gzip-compressed, as `name.gz`.
- Tables are plain TSV: a quote is a character like any other, and only `\n` or `\r\n` ends a line.
- No row is left out in silence: a missing folder, file or language, an empty file, a line that cannot be used or two
  sides that differ in length is an `InputError` in one line, with file and line number where there is one.
"""

import gzip
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from xling_align.modeling_xling import InputError, nearest

Rows = TypeVar("Rows")


class Texts(NamedTuple):
    """Single texts and the label of each."""

    texts: list[str]
    labels: list[str]


class Pairs(NamedTuple):
    """Pairs of texts of one language and the label of each pair."""

    first: list[str]
    second: list[str]
    labels: list[str]


class Translations(NamedTuple):
    """English sentences and their translations, line by line."""

    english: list[str]
    foreign: list[str]


class Tagged(NamedTuple):
    """Sentences as lists of words, and a tag for each word."""

    tokens: list[list[str]]
    tags: list[list[str]]


class ByLanguage(dict[str, Rows]):
    """Rows per language code; `limit`, if not None, says that only the first so many of each language were read."""

    def __init__(self, rows: Mapping[str, Rows], limit: int | None = None):
        super().__init__(rows)
        self.limit = limit


def limit_of(data: Mapping[str, Any]) -> dict[str, int]:
    """Return `{"limit": n}` for a result's metadata where `data` holds the first n rows of each language, else {}."""
    limit = getattr(data, "limit", None)
    return {} if limit is None else {"limit": limit}


def sib200(
    data_dir: str | Path, split: str = "test", languages: Iterable[str] | None = None, limit: int | None = None
) -> ByLanguage[Texts]:
    """Read SIB-200 topics: `sib200/<xx>/<split>.tsv` with a header `index_id category text`.

    Args:
        data_dir: The folder that holds `sib200`.
        split: `train`, `dev` or `test`.
        languages: Codes, in the order wanted; all that have the split unless given.
        limit: Read the first so many rows of each language only.

    Returns:
        Texts and categories per language.
    """
    files = _files(Path(data_dir) / "sib200", f"{split}.tsv", languages)
    return _read(files, limit, lambda path: Texts(*_columns(path, ("text", "category"), limit)))


def pawsx(
    data_dir: str | Path, split: str = "test", languages: Iterable[str] | None = None, limit: int | None = None
) -> ByLanguage[Pairs]:
    """Read PAWS-X pairs: `pawsx/<xx>/<split>.tsv` with a header `id sentence1 sentence2 label`; train is English only.

    Args:
        data_dir: The folder that holds `pawsx`.
        split: `train`, `dev` or `test`.
        languages: As `sib200`.
        limit: As `sib200`.

    Returns:
        Pairs per language, labelled `1` (same meaning) or `0`.
    """
    files = _files(Path(data_dir) / "pawsx", f"{split}.tsv", languages)
    return _read(files, limit, lambda path: Pairs(*_columns(path, ("sentence1", "sentence2", "label"), limit)))


def xnli(
    data_dir: str | Path, split: str = "test", languages: Iterable[str] | None = None, limit: int | None = None
) -> ByLanguage[Pairs]:
    """Read XNLI pairs: `xnli/<xx>/<split>.tsv` with a header `premise hypothesis label`.

    Args:
        data_dir: The folder that holds `xnli`.
        split: `dev` or `test`.
        languages: As `sib200`.
        limit: As `sib200`.

    Returns:
        Premises, hypotheses and labels per language; row i means the same in all.
    """
    files = _files(Path(data_dir) / "xnli", f"{split}.tsv", languages)
    return _read(files, limit, lambda path: Pairs(*_columns(path, ("premise", "hypothesis", "label"), limit)))


def xnli_translations(data_dir: str | Path, limit: int | None = None) -> ByLanguage[Translations]:
    """The distinct hypotheses of XNLI's dev split as translations, to choose settings of retrieval on.

    Args:
        data_dir: The folder that holds `xnli`.
        limit: As `sib200`.

    Returns:
        English and foreign sentences per foreign language.
    """
    data = xnli(data_dir, "dev")
    english = data.pop("en").second
    rows = list({text: row for row, text in reversed(list(enumerate(english)))}.values())[::-1][:limit]
    sides = {
        code: Translations([english[row] for row in rows], [pairs.second[row] for row in rows])
        for code, pairs in data.items()
    }
    return ByLanguage(sides, limit)


def panx(
    data_dir: str | Path,
    split: str = "test",
    languages: Iterable[str] | None = None,
    limit: int | None = None,
    corpus: str = "panx",
) -> ByLanguage[Tagged]:
    """Read named entities: `ner/<corpus>/<xx>/<split>.conll`, `word<TAB>tag` lines, a blank line between sentences.

    Args:
        data_dir: The folder that holds `ner`.
        split: `train`, `dev` or `test`.
        languages: As `sib200`.
        limit: As `sib200`; it counts sentences.
        corpus: `panx`, or another of that layout such as `masakhaner`.

    Returns:
        Words and IOB2 tags per language.
    """
    files = _files(Path(data_dir) / "ner" / corpus, f"{split}.conll", languages)
    return _read(files, limit, lambda path: _tagged(path, limit))


def tatoeba(
    data_dir: str | Path, languages: Iterable[str] | None = None, limit: int | None = None
) -> ByLanguage[Translations]:
    """Read Tatoeba test sentences: `tatoeba/<xx>-en.en` and `tatoeba/<xx>-en.<xx>`, aligned by line.

    Args:
        data_dir: The folder that holds `tatoeba`.
        languages: As `sib200`; English, which every language has a side of, is passed over.
        limit: As `sib200`.

    Returns:
        English and foreign sentences per foreign language.
    """
    root = Path(data_dir) / "tatoeba"
    found = {path.name.partition("-en.en")[0]: path for path in sorted(root.glob("*-en.en*"))}
    asked = None if languages is None else [code for code in _listed(languages) if code != "en"]
    files = _chosen(root, "<xx>-en.en", found, asked)
    return _read(files, limit, lambda path: _translations(path, limit))


def _files(root: Path, name: str, languages: Iterable[str] | None) -> dict[str, Path]:
    """Find `<root>/<xx>/<name>[.gz]` per language."""
    found = {folder.name: path for folder in sorted(root.glob("*")) if (path := _with_twin(folder / name))}
    return _chosen(root, f"<xx>/{name}", found, None if languages is None else _listed(languages))


def _listed(languages: Iterable[str]) -> list[str]:
    return [languages] if isinstance(languages, str) else list(languages)


def _chosen(root: Path, pattern: str, found: dict[str, Path], languages: list[str] | None) -> dict[str, Path]:
    if not found:
        raise InputError(f"{root} holds no {pattern}, with .gz or without; name the folder above {root.name!r}")
    for code in languages or ():
        if code not in found:
            known = f"{nearest(code, list(found))}; there are {', '.join(found)}"
            raise InputError(f"{root} has no {pattern} for language {code!r}{known}")
    return found if languages is None else {code: found[code] for code in languages}


def _with_twin(path: Path) -> Path | None:
    """Return the path, or if only `name.gz` exists that, or None."""
    return next((each for each in (path, path.parent / f"{path.name}.gz") if each.is_file()), None)


def _read(files: dict[str, Path], limit: int | None, reader: Callable[[Path], Rows]) -> ByLanguage[Rows]:
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}; it must be at least 1, or None for all rows")
    return ByLanguage({language: reader(path) for language, path in files.items()}, limit)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
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


def _columns(path: Path, names: tuple[str, ...], limit: int | None) -> list[list[str]]:
    """Read the named columns of a TSV file with a header, a list per column."""
    lines = _lines(path)
    header = next(lines, (1, ""))[1].split("\t")
    for name in names:
        if name not in header:
            raise InputError(f"{path}, line 1: no column {name!r}; the header must name {', '.join(names)}")
    places = [header.index(name) for name in names]
    columns: list[list[str]] = [[] for _ in names]
    for number, line in islice(lines, limit):
        cells = line.split("\t")
        if len(cells) != len(header):
            raise InputError(f"{path}, line {number}: {len(cells)} columns, the header has {len(header)}")
        for column, name, place in zip(columns, names, places, strict=True):
            if not cells[place].strip():
                raise InputError(f"{path}, line {number}: {name!r} is empty")
            column.append(cells[place])
    if not columns[0]:
        raise InputError(f"{path} is empty; it must hold a row below its header")
    return columns


def _sentences(path: Path) -> Iterator[tuple[list[str], list[str]]]:
    """Give the words and the tags of each sentence of a CoNLL file."""
    words: list[str] = []
    tags: list[str] = []
    for number, line in _lines(path):
        word, tab, tag = line.partition("\t")
        if not line.strip():
            if words:
                yield words, tags
            words, tags = [], []
        elif not tab or not word.strip() or not (tag == "O" or tag[:2] in ("B-", "I-") and tag[2:].strip()):
            raise InputError(
                f"{path}, line {number}: {line[:60]!r} is not word<TAB>tag with a tag O, B-type or I-type"
            )
        else:
            words.append(word)
            tags.append(tag)
    if words:
        yield words, tags


def _tagged(path: Path, limit: int | None) -> Tagged:
    sentences = list(islice(_sentences(path), limit))
    if not sentences:
        raise InputError(f"{path} is empty; it must hold a sentence")
    return Tagged([words for words, _ in sentences], [tags for _, tags in sentences])


def _translations(english: Path, limit: int | None) -> Translations:
    language = english.name.partition("-en.")[0]
    foreign = _with_twin(english.with_name(f"{language}-en.{language}"))
    if foreign is None:
        raise InputError(f"{english} has no {language}-en.{language} beside it")
    sides = Translations(_texts(english), _texts(foreign))
    if len(sides.english) != len(sides.foreign):
        counts = f"{len(sides.english)} lines and {foreign.name} {len(sides.foreign)}"
        raise InputError(f"{english} has {counts}; they must be aligned line by line")
    return Translations(sides.english[:limit], sides.foreign[:limit])


def _texts(path: Path) -> list[str]:
    texts = []
    for number, line in _lines(path):
        if not line.strip():
            raise InputError(f"{path}, line {number}: empty")
        texts.append(line)
    if not texts:
        raise InputError(f"{path} is empty; it must hold a sentence a line")
    return texts
