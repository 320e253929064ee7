"""Which language a text is in, so that two sides or files in each other's place are noticed.

The identifier is a naive Bayes classifier of byte sequences for 139 languages (Lui & Baldwin 2012, by `py3langid`). Of
two languages in each other's place it need know but one.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import chain, combinations, islice
from pathlib import Path

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from xling_align.modeling_xling import InputError

from .formats import text_lines
from .pairs import LeftOut, Pair

LETTERS = 200  # of each text that are looked at
TEXTS = 1000  # of each side that are looked at
FEWEST = 3  # texts that tell


@cache
def identifier() -> LanguageIdentifier:
    """What tells languages, loaded once (half a second)."""
    return LanguageIdentifier.from_model_file(MODEL_FILE)


def identify(texts: Iterable[str]) -> str:
    """The language of the first texts, as far as 139 languages go; `und` of fewer than three.

    >>> identify(["one cup of tea", "with milk", "please"]), identify(["eine Tasse Tee", "mit Milch", "bitte"])
    ('en', 'de')
    """
    first = [text[:LETTERS] for text in islice(texts, TEXTS)]
    return identifier().classify(" ".join(first))[0] if len(first) >= FEWEST else "und"


def base(language: str) -> str:
    """A code without its script and region."""
    return language.partition("-")[0].lower()


def first_texts(path: str | Path) -> list[str]:
    """The first lines of a text file, as many as are looked at; a file without any is refused."""
    lines = (line for _, line in text_lines(Path(path)) if not isinstance(line, LeftOut))
    if not (texts := list(islice(lines, TEXTS))):
        raise InputError(f"{path} holds no sentence; give a text file with a sentence a line")
    return texts


def swapped(claimed: tuple[str, str], found: tuple[str, str], names: tuple[str, str]) -> bool:
    """Whether two languages are swapped, as far as texts and file names tell.

    Nothing in a model tells: its language states follow the language that is claimed.

    Args:
        claimed: The codes that are given.
        found: What the texts of both sides are in, as `identify` has it.
        names: Of both sides' files.

    Returns:
        Whether neither side is in its own language, and one is in the other's or both bear the other's code and not
        their own.

    Example:
        >>> swapped(("en", "de"), ("de", "en"), ("a.txt", "b.txt")), swapped(("en", "chr"), ("ff", "en"), ("a", "b"))
        (True, True)
        >>> swapped(("en", "chr"), ("en", "ff"), ("a", "b")), swapped(("en", "de"), ("la", "la"), ("de.txt", "en.txt"))
        (False, True)
    """
    own = [base(code) for code in claimed]
    if any(text == one for text, one in zip(found, own, strict=True)):
        return False
    parts = [set(Path(name).name.lower().replace("-", ".").replace("_", ".").split(".")) for name in names]
    named = [other in part and one not in part for part, one, other in zip(parts, own, own[::-1], strict=True)]
    return all(named) or any(text == other for text, other in zip(found, own[::-1], strict=True))


def check_not_swapped(languages: tuple[str, str], found: tuple[str, str], names: tuple[str, str], advice: str) -> None:
    """Refuse two sides of which each looks like the other's language.

    Args:
        languages: The codes that are claimed.
        found: What the texts of both sides are in, as `identify` has it.
        names: What the sides are called, such as their files.
        advice: What to do about it.

    Raises:
        InputError: They do.
    """
    if swapped(languages, found, names):
        raise InputError(f"{names[0]} looks like {languages[1]!r} and {names[1]} like {languages[0]!r}; {advice}")


def check_texts_not_swapped(files: Mapping[str, str], advice: str) -> None:
    """Refuse text files of which two look like each other's language.

    Args:
        files: Text files by language.
        advice: What to do about it.
    """
    found = {code: identify(first_texts(path)) for code, path in files.items()}
    for one, other in combinations(files, 2):
        check_not_swapped((one, other), (found[one], found[other]), (files[one], files[other]), advice)


def not_swapped(pairs: Iterable[Pair], file: str | Path) -> Iterator[Pair]:
    """Pairs as they come, unless the first of them say that the sides of two languages are swapped.

    Args:
        pairs: Of any languages.
        file: Where they come from.

    Returns:
        The pairs.
    """
    rows = iter(pairs)
    first = list(islice(rows, TEXTS))
    check_sides(first, file)
    return chain(first, rows)


def check_sides(pairs: Iterable[Pair], file: str | Path) -> None:
    """Refuse pairs the first of which say that the sides of two languages are swapped.

    Args:
        pairs: Of any languages; no more are read than are looked at.
        file: Where they come from.
    """
    first = list(islice(pairs, TEXTS))
    names = f"the source side of {file}", "its target side"
    for languages in dict.fromkeys((row["source_language"], row["target_language"]) for row in first):
        own = [row for row in first if (row["source_language"], row["target_language"]) == languages]
        found = identify(row["source"] for row in own), identify(row["target"] for row in own)
        check_not_swapped(languages, found, names, "swap the languages or the columns")
