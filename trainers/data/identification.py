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

from .pairs import Pair
from .readers import ReadReport
from .sentences import no_sentence, usable_lines

LETTERS = 200  # of each text that are looked at
TEXTS = 1000  # of each side that are looked at
FEWEST = 3  # texts that tell


@cache
def identifier() -> LanguageIdentifier:
    """What tells languages, loaded once (half a second)."""
    return LanguageIdentifier.from_model_file(MODEL_FILE)


def identify(texts: Iterable[str]) -> str:
    """The language of the first texts, as far as 139 languages go; empty of fewer than three with letters.

    >>> identify(["one cup of tea", "with milk", "please"]), identify(["eine Tasse Tee", "mit Milch", "bitte"])
    ('en', 'de')
    >>> identify(["1", "2", "3:0"])
    ''
    """
    first = [text[:LETTERS] for text in islice(texts, TEXTS) if any(map(str.isalpha, text[:LETTERS]))]
    return identifier().classify(" ".join(first))[0] if len(first) >= FEWEST else ""


def base(language: str) -> str:
    """A code without its script and region."""
    return language.partition("-")[0].lower()


def first_texts(path: str | Path) -> list[str]:
    """The first lines of a text file, as many as are looked at; a file without any is refused."""
    report = ReadReport()
    texts = [text for _, text in islice(usable_lines(Path(path), report), TEXTS)]
    if not texts:
        raise InputError(no_sentence(path, report))
    return texts


def told_swapped(claimed: tuple[str, str], found: tuple[str, str]) -> bool:
    """Whether texts tell that two languages are swapped.

    Nothing in a model tells: its language states follow the language that is claimed.

    Args:
        claimed: The codes that are given; scripts and regions are not told apart.
        found: What the texts of both sides are in, as `identify` has it.

    Returns:
        Whether each side is in the other's language; of a language that can't be told, whether the other's text is in
        its place and none in the other's.

    Example:
        >>> told_swapped(("en", "de-AT"), ("de", "en")), told_swapped(("en", "de"), ("fr", "en"))
        (True, False)
        >>> told_swapped(("en", "chr"), ("ff", "en")), told_swapped(("en", "chr"), ("en", "ff"))
        (True, False)
    """
    own, labels = [base(code) for code in claimed], identifier().labels
    known = [code in labels for code in own]
    return any(known) and all(
        text == other if there else text not in ("", one)
        for text, one, other, there in zip(found, own, own[::-1], known[::-1], strict=True)
    )


def named_swapped(claimed: tuple[str, str], names: tuple[str, str]) -> bool:
    """Whether each of two files bears the other's code and not its own.

    >>> [named_swapped(("en", "de"), names) for names in (("de.txt", "en.txt"), ("en-de.de", "en-de.en"))]
    [True, False]
    """
    own = [base(code) for code in claimed]
    parts = [set(Path(name).name.lower().replace("-", ".").replace("_", ".").split(".")) for name in names]
    return all(other in part and one not in part for part, one, other in zip(parts, own, own[::-1], strict=True))


def check_not_swapped(languages: tuple[str, str], found: tuple[str, str], names: tuple[str, str], advice: str) -> None:
    """Refuse two sides that are in each other's place.

    Args:
        languages: The codes that are claimed.
        found: What the texts of both sides are in, as `identify` has it.
        names: What the sides are called, such as their files.
        advice: What to do about it.

    Raises:
        InputError: The texts tell, or the names do and neither text is in its own language.
    """
    if told_swapped(languages, found):
        raise InputError(f"{names[0]} looks like {found[0]!r} and {names[1]} like {found[1]!r}; {advice}")
    own = any(text == base(code) for text, code in zip(found, languages, strict=True))
    if not own and named_swapped(languages, names):
        first, second = languages
        raise InputError(f"{names[0]} is named after {second!r} and {names[1]} after {first!r}; {advice}")


def check_texts_not_swapped(files: Mapping[str, str], advice: str) -> None:
    """Refuse text files without a sentence, and those of which two are in each other's place.

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
