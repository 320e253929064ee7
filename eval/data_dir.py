r"""Read the evaluation sets of a local data folder, one split of all its languages at a time.

- The layout is that of the functions' docstrings; each file may also be gzip-compressed, as `name.gz`.
- Tables are plain TSV: a quote is a character like any other, and only `\n` or `\r\n` ends a line.
- No row is left out in silence: a missing folder, file or language, an empty file, a line that cannot be used or two
  sides that differ in length is an `InputError` in one line, with file and line number where there is one.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from xling_align.eval.metrics.word_alignment import Links, parse_links
from xling_align.eval.reading import (
    ByLanguage,
    aligned,
    beside,
    columns,
    columns_without_header,
    files_by_language,
    limit_of,
    numbered_lines,
    read_each,
)
from xling_align.modeling_xling import InputError

__all__ = [
    "ByLanguage",
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
    files = files_by_language(Path(data_dir) / "sib200", f"<xx>/{split}.tsv", languages)
    return read_each(files, limit, lambda path: Texts(*columns(path, ("text", "category"), limit)))


def mldoc(
    data_dir: str | Path, split: str = "test", languages: Iterable[str] | None = None, limit: int | None = None
) -> ByLanguage[Texts]:
    """Read MLDoc topics: `mldoc/<xx>/<split>.tsv`, `label<TAB>text` without a header.

    The corpus is licensed and can't be shipped; those who hold RCV1 and RCV2 make these files by its official program.

    Args:
        data_dir: The folder that holds `mldoc`.
        split: `train`, `dev` or `test`.
        languages: As `sib200`.
        limit: As `sib200`.

    Returns:
        Texts and labels per language.
    """

    def read(path: Path) -> Texts:
        rows = list(islice(columns_without_header(path, ("label", "text")), limit))
        return Texts([text for _, text in rows], [label for label, _ in rows])

    return read_each(files_by_language(Path(data_dir) / "mldoc", f"<xx>/{split}.tsv", languages), limit, read)


def pawsx(
    data_dir: str | Path,
    split: str = "test",
    languages: Iterable[str] | None = None,
    limit: int | None = None,
    first: str | None = None,
) -> ByLanguage[Pairs]:
    """Read PAWS-X pairs: `pawsx/<xx>/<split>.tsv` with a header `id sentence1 sentence2 label`; train is English only.

    Args:
        data_dir: The folder that holds `pawsx`.
        split: `train`, `dev` or `test`.
        languages: As `sib200`.
        limit: As `sib200`.
        first: For pairs in two languages: the language that the first text of every pair is taken from, joined by
            `id`; rows that it lacks are left out.

    Returns:
        Pairs per language, that of the second text, labelled `1` (same meaning) or `0`.
    """
    names = ("sentence1", "sentence2", "label", "id")
    return _pairs(Path(data_dir) / "pawsx", f"<xx>/{split}.tsv", names, languages, limit, first)


def xnli(
    data_dir: str | Path,
    split: str = "test",
    languages: Iterable[str] | None = None,
    limit: int | None = None,
    first: str | None = None,
) -> ByLanguage[Pairs]:
    """Read XNLI pairs: `xnli/<xx>/<split>.tsv` with a header `premise hypothesis label`.

    Args:
        data_dir: The folder that holds `xnli`.
        split: `dev` or `test`.
        languages: As `sib200`.
        limit: As `sib200`.
        first: For pairs in two languages: the language that every premise is taken from, row by row.

    Returns:
        Premises, hypotheses and labels per language, that of the hypothesis; row i means the same in all.
    """
    names = ("premise", "hypothesis", "label")
    return _pairs(Path(data_dir) / "xnli", f"<xx>/{split}.tsv", names, languages, limit, first)


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
        limit: As `sib200`.
        split: `dev` or `test`.

    Returns:
        English and foreign sentences per foreign language.
    """
    data = xnli(data_dir, split)
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
    files = files_by_language(Path(data_dir) / "ner" / corpus, f"<xx>/{split}.conll", languages)
    return read_each(files, limit, lambda path: _tagged(path, limit))


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

    def read(path: Path) -> Translations:
        language = path.name.partition("-en.")[0]
        english, foreign = aligned(path, beside(path, f"{language}-en.{language}"))
        return Translations(english[:limit], foreign[:limit])

    files = files_by_language(Path(data_dir) / "tatoeba", "<xx>-en.en", _without_english(languages))
    return read_each(files, limit, read)


def lexicon(
    data_dir: str | Path, split: str = "test", languages: Iterable[str] | None = None, limit: int | None = None
) -> ByLanguage[Translations]:
    """Read bilingual lexicons: `lexicon/<xx>-en.tsv`, `english<TAB>foreign<TAB>split` without a header.

    Args:
        data_dir: The folder that holds `lexicon`.
        split: `train` or `test`.
        languages: As `tatoeba`.
        limit: As `sib200`; it counts entries.

    Returns:
        English words and a translation of each per foreign language; a word has as many entries as translations.
    """

    def read(path: Path) -> Translations:
        rows = columns_without_header(path, ("english", "foreign", "split"))
        chosen = list(islice((row for row in rows if row[2] == split), limit))
        if not chosen:
            raise InputError(f"{path} has no entry of the split {split!r}; its third column says train or test")
        return Translations([row[0] for row in chosen], [row[1] for row in chosen])

    files = files_by_language(Path(data_dir) / "lexicon", "<xx>-en.tsv", _without_english(languages))
    return read_each(files, limit, read)


def wordalign(
    data_dir: str | Path, split: str = "test", languages: Iterable[str] | None = None, limit: int | None = None
) -> ByLanguage[WordAligned]:
    """Read word alignments: `wordalign/<xx>-en/<split>.{en,<xx>,align}`, aligned by line, words split at spaces.

    Args:
        data_dir: The folder that holds `wordalign`.
        split: `train` (silver), `dev` or `test` (gold).
        languages: As `tatoeba`.
        limit: As `sib200`; it counts sentence pairs.

    Returns:
        Words and links per foreign language; links are written as `parse_links` reads them, the English word first.
    """

    def read(path: Path) -> WordAligned:
        language = path.parent.name.partition("-en")[0]
        foreign, links = (beside(path, f"{split}.{ending}") for ending in (language, "align"))
        sides = [[line.split() for line in lines[:limit]] for lines in aligned(path, foreign, links)]
        return WordAligned(sides[0], sides[1], _links(links, *sides))

    files = files_by_language(Path(data_dir) / "wordalign", f"<xx>-en/{split}.en", _without_english(languages))
    return read_each(files, limit, read)


def stsb(
    data_dir: str | Path, split: str = "test", languages: Iterable[str] | None = None, limit: int | None = None
) -> ByLanguage[Rated]:
    """Read the multilingual STS benchmark: `stsb/<xx>/<split>.tsv` with a header `sentence1 sentence2 score`.

    Args:
        data_dir: The folder that holds `stsb`.
        split: `train`, `dev` or `test`.
        languages: As `sib200`.
        limit: As `sib200`.

    Returns:
        Pairs and scores from 0 to 5 per language.
    """
    files = files_by_language(Path(data_dir) / "stsb", f"<xx>/{split}.tsv", languages)
    return read_each(files, limit, lambda path: _rated(path, (path.parent.name, path.parent.name), limit))


def sts17(data_dir: str | Path, languages: Iterable[str] | None = None, limit: int | None = None) -> ByLanguage[Rated]:
    """Read STS 2017: `sts17/<a>-<b>.tsv` with a header `sentence1 sentence2 score`; `ar-en` has English first.

    Args:
        data_dir: The folder that holds `sts17`.
        languages: Pairs of codes such as `ar-en`, in the order wanted; all that have a file unless given.
        limit: As `sib200`.

    Returns:
        Pairs and scores from 0 to 5, by `<a>-<b>`.
    """

    def read(path: Path) -> Rated:
        name = path.name.partition(".")[0]
        one, _, other = name.partition("-")
        return _rated(path, STS17_COLUMNS.get(name, (one, other)), limit)

    return read_each(files_by_language(Path(data_dir) / "sts17", "<xx>.tsv", languages), limit, read)


def _without_english(languages: Iterable[str] | None) -> list[str] | None:
    """Codes asked for, less that of the side which every file has."""
    if languages is None:
        return None
    return [code for code in ([languages] if isinstance(languages, str) else languages) if code != "en"]


def _pairs(
    root: Path,
    pattern: str,
    names: tuple[str, ...],
    languages: Iterable[str] | None,
    limit: int | None,
    first: str | None,
) -> ByLanguage[Pairs]:
    """Read pairs from the first three columns named; a fourth tells which rows are the same in all languages."""
    files = files_by_language(root, pattern, languages)
    if first is None:
        return read_each(files, limit, lambda path: Pairs(*columns(path, names[:3], limit)))
    firsts = files_by_language(root, pattern, [first])[first]
    return read_each(files, limit, lambda path: _mixed(firsts, path, names, limit))


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


def _rated(path: Path, languages: tuple[str, str], limit: int | None) -> Rated:
    first, second, cells = columns(path, ("sentence1", "sentence2", "score"), limit)
    scores = []
    for number, cell in enumerate(cells, 2):
        try:
            scores.append(float(cell))
        except ValueError:
            raise InputError(f"{path}, line {number}: the score {cell!r} is not a number") from None
    return Rated(first, second, scores, languages)


def _links(path: Path, english: list[list[str]], foreign: list[list[str]], links: list[list[str]]) -> list[Links]:
    found = []
    for number, (words, others, written) in enumerate(zip(english, foreign, links, strict=True), 1):
        try:
            found.append(parse_links(" ".join(written), len(words), len(others)))
        except InputError as error:
            raise InputError(f"{path}, line {number}: {error}") from error
    return found


def _sentences(path: Path) -> Iterator[tuple[list[str], list[str]]]:
    """Give the words and the tags of each sentence of a CoNLL file."""
    words: list[str] = []
    tags: list[str] = []
    for number, line in numbered_lines(path):
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
