"""Parallel text from files, folders and the Hub, as one stream of `Pair`.

- `read_pairs` chooses the format by the name; `formats.py` gives the records, `pairs.py` turns records into pairs.
- What was asked for and is not there is an `InputError`, raised as soon as it is known: for a path at the call, for
  a column at the first record, for a language at the end of the file.
- No row disappears: what cannot be used is counted and named in a `ReadReport`.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from xling_align.modeling_xling import InputError

from .formats import (
    Record,
    catalog_files,
    catalog_records,
    hub_records,
    jsonl_records,
    parquet_records,
    tmx_records,
    tsv_records,
)
from .pairs import LANGUAGE_CODE, ROLES, Languages, LeftOut, Pair, PairBuilder, UnsaidLanguage, counted, pair_id_of

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["Pair", "ReadReport", "pair_id_of", "pairs_dataset", "read_data_dir", "read_pairs"]

FORMATS = {
    ".tsv": ("line", tsv_records),
    ".txt": ("line", tsv_records),
    ".jsonl": ("line", jsonl_records),
    ".parquet": ("row", parquet_records),
    ".tmx": ("unit", tmx_records),
}
ACCEPTED = (
    f"give a {', '.join(FORMATS)} file (also with .gz), a folder of gettext catalogs "
    "(<lang>/LC_MESSAGES/*.po or *.mo), or a dataset of the Hub as owner/name"
)
ROWS_PER_CHUNK = 10_000
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass
class ReadReport:
    """What came out of each file and what was left out, with the first reasons.

    Attributes:
        good: Pairs given, per file.
        bad: Rows left out, per file.
        first_bad: The first rows left out, per file, as `line 7: empty target`.
        keep: How many of these are kept per file.
    """

    good: Counter[str] = field(default_factory=Counter)
    bad: Counter[str] = field(default_factory=Counter)
    first_bad: dict[str, list[str]] = field(default_factory=dict)
    keep: int = 3

    @property
    def examples(self) -> list[str]:
        """The rows kept in `first_bad`, each as `file: line 7: reason`."""
        return [f"{file}: {bad}" for file, rows in self.first_bad.items() for bad in rows]

    def leave_out(self, file: str, row: str) -> None:
        """Count a row of `file` that cannot be used; `row` says where it is and why, as `line 7: empty target`."""
        self.bad[file] += 1
        kept = self.first_bad.setdefault(file, [])
        if len(kept) < self.keep:
            kept.append(row)

    def line(self, file: str) -> str:
        """Return one file's line for a log."""
        return f"{file}: " + self._sums(self.good[file], self.bad[file], self.first_bad.get(file, []))

    def __str__(self) -> str:
        files = list(dict.fromkeys([*self.good, *self.bad]))
        if len(files) == 1:
            return self.line(files[0])
        sums = self._sums(self.good.total(), self.bad.total(), self.examples[: self.keep])
        return f"{counted(len(files), 'file')}: {sums}"

    @staticmethod
    def _sums(good: int, bad: int, examples: list[str]) -> str:
        if not bad:
            return counted(good, "pair")
        more = "; ..." if bad > len(examples) else ""
        return f"{counted(good, 'pair')}, {bad} left out ({'; '.join(examples)}{more})"


class Table(NamedTuple):
    """The records of one file: its name in the report, what its records are called, and the records."""

    name: str
    noun: str
    records: Iterator[tuple[int, Record]]


def read_pairs(
    path_or_id: str | Path,
    source_language: str | None = None,
    target_languages: str | Iterable[str] | None = None,
    columns: Mapping[str, str] | None = None,
    report: ReadReport | None = None,
    config: str | None = None,
    split: str | None = None,
    revision: str | None = None,
) -> Iterator[Pair]:
    """Stream the pairs of a file, of a folder of gettext catalogs, or of a dataset on the Hub.

    Args:
        path_or_id: A `.tsv`, `.txt`, `.jsonl`, `.parquet` or `.tmx` file, each also with `.gz` (added by itself if
            only that exists), a folder with `<lang>/LC_MESSAGES/*.po` or `*.mo`, or `owner/name` on the Hub.
        source_language: Language of the source side; needed where the data does not name it (catalogs: `en`).
        target_languages: One code or several; needed where the data does not name it, else a choice among those
            that are there (all of them if absent).
        columns: Which column is what, e.g. `{"source": "english", "target": "text_de"}`; the keys are those of
            `ROLES`. A TSV file then has a header.
        report: Filled while reading.
        config: Configuration of a Hub dataset.
        split: Split of a Hub dataset, `train` by default.
        revision: Commit or tag of a Hub dataset.

    Returns:
        The pairs in the order of the file.

    Raises:
        InputError: There is nothing to read, or (while reading) what was asked for is not there, the file is broken,
            or none of its rows can be used.
    """
    columns = _checked_roles(columns or {})
    sources = Languages("source_language", source_language)
    targets = Languages("target_language", target_languages)
    path = _local_path(path_or_id)
    given = str(path or path_or_id)
    if path is None:
        tables = [Table(given, "row", hub_records(given, config, split, revision))]
    elif config or split or revision:
        raise InputError(f"{given} is not a Hub dataset; drop --config, --split and --revision")
    elif path.is_dir():
        sources = Languages("source_language", source_language or "en")
        tables = _catalogs(path, sources, targets)
    else:
        tables = [_file_table(path, bool(columns))]
    builder_of = partial(PairBuilder, columns=columns, sources=sources, targets=targets)
    return _read_tables(given, tables, builder_of, ReadReport() if report is None else report)


def _checked_roles(columns: Mapping[str, str]) -> Mapping[str, str]:
    for role in columns:
        if role not in ROLES:
            raise InputError(f"--columns {role!r} is not a part of a pair; the parts are {', '.join(ROLES)}")
    return columns


def _suffix(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _with_twin(path: Path) -> Path | None:
    """Return the path, or if only `name.gz` exists that, or None."""
    return next((each for each in (path, path.parent / f"{path.name}.gz") if each.exists()), None)


def _local_path(given: str | Path) -> Path | None:
    """Return the file or folder, its `.gz` twin if only that exists, or None for a dataset on the Hub."""
    path = Path(given).expanduser()
    if found := _with_twin(path):
        return found
    if HUB_ID.fullmatch(str(given)) and _suffix(path) not in FORMATS:
        return None
    nearest = get_close_matches(path.name, [each.name for each in path.parent.glob("*")], 1)
    hint = f" (did you mean {str(path.parent / nearest[0])!r}?)" if nearest else ""
    raise InputError(f"there is no {str(given)!r}, with .gz or without{hint}; {ACCEPTED}")


def _file_table(path: Path, header: bool) -> Table:
    if (suffix := _suffix(path)) not in FORMATS:
        raise InputError(f"{path} has the unknown suffix {suffix!r}; {ACCEPTED}")
    noun, records = FORMATS[suffix]
    if records is tsv_records:
        return Table(str(path), noun, tsv_records(path, header or None))
    return Table(str(path), noun, records(path))


def _catalogs(root: Path, sources: Languages, targets: Languages) -> Iterator[Table]:
    found = catalog_files(root)
    if not found:
        raise InputError(f"folder {root} holds no <lang>/LC_MESSAGES/*.po or *.mo; {ACCEPTED}")
    source = next(iter(sources.asked.values()))
    chosen = [
        (language, path)
        for language, path in found
        if LANGUAGE_CODE.fullmatch(language)
        and targets.match(language)
        and (targets.asked or not sources.match(language))
    ]
    targets.check_all_met(str(root))
    return (
        Table(str(path), "entry" if path.suffix == ".mo" else "line", catalog_records(path, source, language))
        for language, path in chosen
    )


def _read_tables(
    given: str, tables: Iterable[Table], builder_of: Callable[[str], PairBuilder], report: ReadReport
) -> Iterator[Pair]:
    """Give the pairs of the tables that make up one input, and refuse an input without any."""
    good, bad, first_bad = 0, 0, ""
    builder = None
    for table in tables:
        builder = builder_of(table.name)
        for number, record in table.records:
            for row in builder.rows(record):
                if isinstance(row, LeftOut):
                    place = f"{table.noun} {number}: {row}"
                    report.leave_out(table.name, place)
                    bad += 1
                    first_bad = first_bad or (place if table.name == given else f"{table.name}, {place}")
                else:
                    report.good[table.name] += 1
                    good += 1
                    yield row
    if builder:
        builder.sources.check_all_met(given)
        builder.targets.check_all_met(given)
    if not bad and not good:
        raise InputError(f"{given} is empty; give a file with at least one pair")
    if not good:
        raise InputError(
            f"{given} holds no pair: {counted(bad, 'row')} left out, the first at {first_bad}; "
            "a row needs a source and a target text"
        )


def named_language(path: str | Path, codes: Iterable[str]) -> str | None:
    """The language that a file is named after, such as `de.tsv` or `de-en.tsv.gz`.

    Args:
        path: The file.
        codes: Languages that it may be.

    Returns:
        The code; None if the name begins with none of them.
    """
    name = Path(path).name
    named = [code for code in codes if name == code or name.startswith((f"{code}.", f"{code}-"))]
    return max(named, key=len, default=None)


def pairs_by_name(
    path: str | Path, source_language: str, codes: Sequence[str], report: ReadReport | None = None
) -> Iterator[Pair]:
    """Pairs of a file in some languages; where the file does not say which one it is in, its name may.

    Args:
        path: The file.
        source_language: Code of the language that all are paired with.
        codes: The languages; pairs in others are left out.
        report: As `read_pairs`.

    Yields:
        The pairs.

    Raises:
        InputError: Neither the name nor the file says which language it is.
    """
    only = codes[0] if len(codes) == 1 else named_language(path, codes)
    try:
        pairs = read_pairs(path, source_language, only, report=report)
        yield from (row for row in pairs if row["target_language"] in codes)
    except UnsaidLanguage as error:
        raise InputError(
            f"{path} does not say which language its sentences are in; name it after its language, such as "
            f"{codes[0]}.tsv, or give it columns source_language and target_language"
        ) from error


def read_data_dir(
    data_dir: str | Path,
    languages: str | Iterable[str] | None = None,
    corpora: str | Iterable[str] | None = None,
    report: ReadReport | None = None,
) -> Iterator[Pair]:
    """Stream the pairs of a data folder laid out as `parallel/<corpus>/<xx>-en.tsv[.gz]`.

    The columns of these files are English and foreign, without a header. Corpora need not have every language.

    Args:
        data_dir: The folder that holds `parallel`.
        languages: Foreign languages, in the order to read, all by name if absent; English, the source of every file,
            may be among them.
        corpora: Corpora, in the order to read; all of them, by name, if absent.
        report: Filled while reading.

    Returns:
        The pairs, corpus by corpus and language by language.

    Raises:
        InputError: There is no such folder, corpus or language, or (while reading) a file holds no pair.
    """
    root = Path(data_dir).expanduser() / "parallel"
    there = sorted(folder.name for folder in root.glob("*") if folder.is_dir())
    if not there:
        raise InputError(f"{root} holds no corpus; --data_dir must hold parallel/<corpus>/<xx>-en.tsv[.gz]")
    chosen = [corpora] if isinstance(corpora, str) else list(corpora or there)
    for corpus in chosen:
        if corpus not in there:
            raise InputError(f"{root} has no corpus {corpus!r}; --corpora can be: {', '.join(there)}")
    files = _corpus_files([root / corpus for corpus in chosen], languages)
    report = ReadReport() if report is None else report
    return (pair for language, path in files for pair in _read_corpus_file(path, language, report))


def _corpus_files(corpora: list[Path], languages: str | Iterable[str] | None) -> list[tuple[str, Path]]:
    """Return (language, file) corpus by corpus, and refuse a language that none of them has."""
    there = sorted({path.name.partition("-en.tsv")[0] for corpus in corpora for path in corpus.glob("*-en.tsv*")})
    asked = [languages] if isinstance(languages, str) else there if languages is None else list(languages)
    foreign = [language for language in asked if language != "en"]
    named = [(language, corpus / f"{language}-en.tsv") for corpus in corpora for language in foreign]
    files = [(language, path) for language, name in named if (path := _with_twin(name))]
    absent = [language for language in foreign if language not in dict(files)]
    if absent or not foreign:
        given = ", ".join(map(repr, absent)) or "a foreign language"
        raise InputError(f"no <xx>-en.tsv for {given} in {corpora[0].parent}; --languages can be: {', '.join(there)}")
    return files


def _read_corpus_file(path: Path, language: str, report: ReadReport) -> Iterator[Pair]:
    builder_of = partial(
        PairBuilder,
        columns={},
        sources=Languages("source_language", "en"),
        targets=Languages("target_language", language),
    )
    return _read_tables(str(path), [Table(str(path), "line", tsv_records(path, header=False))], builder_of, report)


def pairs_dataset(sources: Iterable[Pair]) -> "Dataset":
    """Gather pairs into a `datasets.Dataset` in memory.

    Nothing is cached on disk: a cache keyed by the reader's arguments would go stale when a file changes.

    Args:
        sources: Pairs, e.g. from `read_pairs`.

    Returns:
        A dataset with the six columns of `Pair`, in the order of `sources`; without rows if there are none.
    """
    from datasets import Dataset, Features, Value, concatenate_datasets

    text = Value("string")
    features = Features(
        source=text,
        target=text,
        source_language=text,
        target_language=text,
        pair_id=Value("int64"),
        score=Value("float64"),
    )
    rows = iter(sources)
    chunks = [Dataset.from_dict({name: [] for name in features}, features=features)]
    while chunk := list(islice(rows, ROWS_PER_CHUNK)):
        columns = {name: [pair[name] for pair in chunk] for name in features}
        chunks.append(Dataset.from_dict(columns, features=features))
    return concatenate_datasets(chunks[1:] or chunks)
