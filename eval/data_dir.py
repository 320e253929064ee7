r"""Read the evaluation sets of a local data folder, one split of all its languages at a time.

- Each set's layout stands with it below; each file may also be gzip-compressed, as `name.gz`.
- Tables are plain TSV: a quote is a character like any other, and only `\n` or `\r\n` ends a line.
- No row is left out in silence: a missing folder, file or language, an empty file, a line that cannot be used or two
  sides that differ in length is an `InputError` in one line, with file and line number where there is one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from xling_align.eval.metrics.word_alignment import Links, parse_links
from xling_align.eval.reading import (
    ByLanguage,
    aligned,
    beside,
    columns,
    columns_without_header,
    conll_sentences,
    files_by_language,
    limit_of,
    read_each,
)
from xling_align.modeling_xling import InputError

__all__ = [
    "ByLanguage",
    "DataSet",
    "PairSet",
    "Pairs",
    "Rated",
    "Tagged",
    "Texts",
    "Translations",
    "WordAligned",
    "lexicon",
    "limit_of",
    "mldoc",
    "panx",
    "pawsx",
    "sib200",
    "sts17",
    "stsb",
    "tatoeba",
    "wordalign",
    "xnli",
    "xnli_train",
    "xnli_translations",
]

# Files of STS 2017 whose columns lie the other way round than their names.
STS17_COLUMNS = {"ar-en": ("en", "ar")}


class Texts(NamedTuple):
    """Single texts and the label of each."""

    texts: list[str]
    labels: list[str]


class Pairs(NamedTuple):
    """Pairs of texts and the label of each pair."""

    first: list[str]
    second: list[str]
    labels: list[str]


class Translations(NamedTuple):
    """English sentences or words and their translations, line by line."""

    english: list[str]
    foreign: list[str]


class Tagged(NamedTuple):
    """Sentences as lists of words, and a tag for each word."""

    tokens: list[list[str]]
    tags: list[list[str]]


class Rated(NamedTuple):
    """Pairs of texts, how similar in meaning each pair was judged, and the languages of the two sides."""

    first: list[str]
    second: list[str]
    scores: list[float]
    languages: tuple[str, str]


class WordAligned(NamedTuple):
    """English sentences and their translations as lists of words, and the links between the words of each pair."""

    english: list[list[str]]
    foreign: list[list[str]]
    links: list[Links]


Rows = TypeVar("Rows")


@dataclass(frozen=True)
class DataSet(Generic[Rows]):
    """A data set, read by calling it.

    Attributes:
        folder: Its folder in the data folder.
        pattern: A file's place in it, `<xx>` standing for the language and `{split}` for the split.
        read: Reads a file's rows, given the split and the most rows.
        english: Whether English has files of its own; else it is a side of every file and no language to ask for.
    """

    folder: str
    pattern: str
    read: Callable[[Path, str, int | None], Rows]
    english: bool = True

    def __call__(
        self,
        data_dir: str | Path,
        split: str = "test",
        languages: Iterable[str] | None = None,
        limit: int | None = None,
    ) -> ByLanguage[Rows]:
        """Read one split.

        Args:
            data_dir: The folder that holds the set's.
            split: `train`, `dev` or `test`.
            languages: Codes, in the order wanted; all that have the split unless given.
            limit: Read the first so many rows of each language only.

        Returns:
            Rows per language; where English is a side of every file, per foreign language.
        """
        if not self.english and languages is not None:
            languages = [code for code in ([languages] if isinstance(languages, str) else languages) if code != "en"]
        files = files_by_language(Path(data_dir) / self.folder, self.pattern.format(split=split), languages)
        return read_each(files, limit, lambda path: self.read(path, split, limit))


def _topics(path: Path, split: str, limit: int | None) -> Texts:
    return Texts(*columns(path, ("text", "category"), limit))


def _news(path: Path, split: str, limit: int | None) -> Texts:
    rows = list(islice(columns_without_header(path, ("label", "text")), limit))
    return Texts([text for _, text in rows], [label for label, _ in rows])


def _tagged(path: Path, split: str, limit: int | None) -> Tagged:
    sentences = list(islice(conll_sentences(path, iob2=True), limit))
    if not sentences:
        raise InputError(f"{path} is empty; it must hold a sentence")
    return Tagged([words for _, words, _ in sentences], [tags for _, _, tags in sentences])


def _sentences(path: Path, split: str, limit: int | None) -> Translations:
    language = path.name.partition("-en.")[0]
    english, foreign = aligned(path, beside(path, f"{language}-en.{language}"))
    return Translations(english[:limit], foreign[:limit])


def _entries(path: Path, split: str, limit: int | None) -> Translations:
    rows = columns_without_header(path, ("english", "foreign", "split"))
    chosen = list(islice((row for row in rows if row[2] == split), limit))
    if not chosen:
        raise InputError(f"{path} has no entry of the split {split!r}; its third column says train or test")
    return Translations([row[0] for row in chosen], [row[1] for row in chosen])


def _linked(path: Path, split: str, limit: int | None) -> WordAligned:
    language = path.parent.name.partition("-en")[0]
    foreign, links = (beside(path, f"{split}.{ending}") for ending in (language, "align"))
    sides = [[line.split() for line in lines[:limit]] for lines in aligned(path, foreign, links)]
    return WordAligned(sides[0], sides[1], _links(links, *sides))


def _rated(path: Path, split: str, limit: int | None) -> Rated:
    first, second, cells = columns(path, ("sentence1", "sentence2", "score"), limit)
    scores = []
    for number, cell in enumerate(cells, 2):
        try:
            scores.append(float(cell))
        except ValueError:
            raise InputError(f"{path}, line {number}: the score {cell!r} is not a number") from None
    return Rated(first, second, scores, (path.parent.name, path.parent.name))


def _rated_between(path: Path, split: str, limit: int | None) -> Rated:
    name = path.name.partition(".")[0]
    one, _, other = name.partition("-")
    return _rated(path, split, limit)._replace(languages=STS17_COLUMNS.get(name, (one, other)))


# SIB-200 topics: a header `index_id category text`.
sib200 = DataSet("sib200", "<xx>/{split}.tsv", _topics)

# MLDoc topics: `label<TAB>text` without a header. The corpus is licensed and can't be shipped; those who hold RCV1 and
# RCV2 make these files by its official program.
mldoc = DataSet("mldoc", "<xx>/{split}.tsv", _news)

# Bilingual lexicons: `english<TAB>foreign<TAB>split` without a header; a word has as many entries as translations.
lexicon = DataSet("lexicon", "<xx>-en.tsv", _entries, english=False)

# Word alignments: `<split>.en`, `<split>.<xx>` and `<split>.align`, aligned by line, words split at spaces, links as
# `parse_links` reads them, the English word first; `train` is silver, `dev` and `test` are gold.
wordalign = DataSet("wordalign", "<xx>-en/{split}.en", _linked, english=False)

# The multilingual STS benchmark: a header `sentence1 sentence2 score`, scores from 0 to 5.
stsb = DataSet("stsb", "<xx>/{split}.tsv", _rated)


@dataclass(frozen=True)
class PairSet:
    """A data set of labelled pairs, read by calling it: `<xx>/<split>.tsv` with a header.

    Attributes:
        folder: Its folder in the data folder.
        columns: First text, second text, label, and, unless rows are parallel, what tells those that are.
    """

    folder: str
    columns: tuple[str, ...]

    def __call__(
        self,
        data_dir: str | Path,
        split: str = "test",
        languages: Iterable[str] | None = None,
        limit: int | None = None,
        first: str | None = None,
    ) -> ByLanguage[Pairs]:
        """Read one split.

        Args:
            data_dir: The folder that holds the set's.
            split: `train`, `dev` or `test`.
            languages: As `DataSet`.
            limit: As `DataSet`.
            first: For pairs in two languages: the language that the first text of every pair is taken from; rows that
                it lacks are left out.

        Returns:
            Pairs per language, that of the second text.
        """
        root, pattern = Path(data_dir) / self.folder, f"<xx>/{split}.tsv"
        files = files_by_language(root, pattern, languages)
        if first is None:
            return read_each(files, limit, lambda path: Pairs(*columns(path, self.columns[:3], limit)))
        firsts = files_by_language(root, pattern, [first])[first]
        return read_each(files, limit, lambda path: _mixed(firsts, path, self.columns, limit))


# PAWS-X: `1` for the same meaning or `0`; train is English only.
pawsx = PairSet("pawsx", ("sentence1", "sentence2", "label", "id"))

# XNLI: row i means the same in all languages; `dev` and `test`.
xnli = PairSet("xnli", ("premise", "hypothesis", "label"))


def xnli_train(data_dir: str | Path, limit: int | None = None) -> Pairs:
    """Read the English training pairs of XNLI, a part of MultiNLI: `xnli/en/train-mnli-subset.tsv`.

    Args:
        data_dir: The folder that holds `xnli`.
        limit: Read the first so many rows only.

    Returns:
        Premises, hypotheses and labels.
    """
    files = files_by_language(Path(data_dir) / "xnli", "<xx>/train-mnli-subset.tsv", ["en"])
    return read_each(files, limit, lambda path: Pairs(*columns(path, ("premise", "hypothesis", "label"), limit)))["en"]


def xnli_translations(data_dir: str | Path, limit: int | None = None, split: str = "dev") -> ByLanguage[Translations]:
    """The distinct hypotheses of XNLI as translations, to choose settings of retrieval on, or to mine.

    Args:
        data_dir: The folder that holds `xnli`.
        limit: As `DataSet`.
        split: `dev` or `test`.

    Returns:
        English and foreign sentences per foreign language.
    """
    data = xnli(data_dir, split)
    check_parallel(data, f"{data_dir}/xnli")
    english = data.pop("en").second
    firsts: dict[str, int] = {}
    for row, text in enumerate(english):
        firsts.setdefault(text, row)
    rows = list(firsts.values())[:limit]
    sides = {
        code: Translations([english[row] for row in rows], [pairs.second[row] for row in rows])
        for code, pairs in data.items()
    }
    return ByLanguage(sides, limit)


def check_parallel(data: Mapping[str, Sequence], where: str) -> None:
    """Refuse languages with another number of rows than English, and a set without English.

    Args:
        data: Columns of rows by language.
        where: What they were read from.

    Raises:
        InputError: They are no translations of each other, row by row.
    """
    sizes = {code: len(rows[0]) for code, rows in data.items()}
    if "en" not in sizes:
        raise InputError(f"{where} has no English, whose rows the others translate; there are {', '.join(sizes)}")
    for code, size in sizes.items():
        if size != sizes["en"]:
            raise InputError(
                f"{where} has {size} rows in {code!r} and {sizes['en']} in 'en'; they must be translations"
            )


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
        languages: As `DataSet`.
        limit: As `DataSet`; it counts sentences.
        corpus: `panx`, or another of that layout such as `masakhaner`.

    Returns:
        Words and IOB2 tags per language.
    """
    return DataSet(f"ner/{corpus}", "<xx>/{split}.conll", _tagged)(data_dir, split, languages, limit)


def tatoeba(
    data_dir: str | Path, languages: Iterable[str] | None = None, limit: int | None = None
) -> ByLanguage[Translations]:
    """Read Tatoeba test sentences: `tatoeba/<xx>-en.en` and `tatoeba/<xx>-en.<xx>`, aligned by line.

    Args:
        data_dir: The folder that holds `tatoeba`.
        languages: As `DataSet`; English, which every language has a side of, is passed over.
        limit: As `DataSet`.

    Returns:
        English and foreign sentences per foreign language.
    """
    return DataSet("tatoeba", "<xx>-en.en", _sentences, english=False)(data_dir, "test", languages, limit)


def sts17(data_dir: str | Path, languages: Iterable[str] | None = None, limit: int | None = None) -> ByLanguage[Rated]:
    """Read STS 2017: `sts17/<a>-<b>.tsv` with a header `sentence1 sentence2 score`; `ar-en` has English first.

    Args:
        data_dir: The folder that holds `sts17`.
        languages: Pairs of codes such as `ar-en`, in the order wanted; all that have a file unless given.
        limit: As `DataSet`.

    Returns:
        Pairs and scores from 0 to 5, by `<a>-<b>`.
    """
    return DataSet("sts17", "<xx>.tsv", _rated_between)(data_dir, "test", languages, limit)


def _mixed(firsts: Path, path: Path, names: tuple[str, ...], limit: int | None) -> Pairs:
    """Pairs with the first text from one file, and second text and label from another."""
    texts, others = _by_key(firsts, names), _by_key(path, names)
    if len(names) == 3 and len(texts) != len(others):
        raise InputError(f"{path} has {len(others)} rows and {firsts} {len(texts)}; they must be parallel")
    shared = [key for key in others if key in texts][:limit]
    if not shared:
        raise InputError(f"{path} and {firsts} have no {names[-1]!r} in common; they must be parallel")
    for key in shared:
        if texts[key][2] != others[key][2]:
            given = f"label {others[key][2]!r}, and {texts[key][2]!r} in {firsts}"
            raise InputError(f"{path}, row {key}: {given}; they aren't parallel")
    return Pairs(*([rows[key][place] for key in shared] for place, rows in enumerate((texts, others, others))))


def _by_key(path: Path, names: tuple[str, ...]) -> dict[str, list[str]]:
    """Rows of three columns, by the fourth one named, or else by their number."""
    rows = [list(row) for row in zip(*columns(path, names), strict=True)]
    return {row[-1] if len(names) > 3 else str(number): row[:3] for number, row in enumerate(rows, 1)}


def _links(path: Path, english: list[list[str]], foreign: list[list[str]], links: list[list[str]]) -> list[Links]:
    found = []
    for number, (words, others, written) in enumerate(zip(english, foreign, links, strict=True), 1):
        try:
            found.append(parse_links(" ".join(written), len(words), len(others)))
        except InputError as error:
            raise InputError(f"{path}, line {number}: {error}") from error
    return found
