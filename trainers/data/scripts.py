"""Which script a text is in, and which one a language is written in."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, combinations, islice
from pathlib import Path

from xling_align.modeling_xling import InputError

from .formats import text_lines
from .pairs import LeftOut, Pair

# What languages are written in, where it is not Latin; `unicodedata.name` begins with these words.
SCRIPTS = {
    "ARABIC": "ar fa ur ps sd ug ckb",
    "ARMENIAN": "hy",
    "BENGALI": "bn as",
    "CJK": "zh ja yue wuu",
    "CYRILLIC": "ru uk bg be mk sr kk ky tg mn tt ba cv",
    "DEVANAGARI": "hi mr ne sa",
    "ETHIOPIC": "am ti",
    "GEORGIAN": "ka",
    "GREEK": "el",
    "GUJARATI": "gu",
    "GURMUKHI": "pa",
    "HANGUL": "ko",
    "HEBREW": "he yi",
    "KANNADA": "kn",
    "KHMER": "km",
    "LAO": "lo",
    "MALAYALAM": "ml",
    "MYANMAR": "my",
    "ORIYA": "or",
    "SINHALA": "si",
    "TAMIL": "ta",
    "TELUGU": "te",
    "THAI": "th",
    "TIBETAN": "bo dz",
}
SCRIPT_OF = {code: script for script, codes in SCRIPTS.items() for code in codes.split()}
LETTERS = 200  # of each text that are looked at
TEXTS = 1000  # of each side that are looked at


def script_of(language: str) -> str:
    """The script of a language; Latin for those that are not listed.

    >>> script_of("sr-Latn"), script_of("uk"), script_of("de")
    ('LATIN', 'CYRILLIC', 'LATIN')
    """
    return "LATIN" if "latn" in language.lower() else SCRIPT_OF.get(language.partition("-")[0].lower(), "LATIN")


def main_script(texts: Iterable[str]) -> str:
    """The commonest script among the letters of texts; empty if there are none.

    >>> main_script(["OK, \u0445\u043e\u0440\u043e\u0448\u043e"]), main_script(["3 > 2"])
    ('CYRILLIC', '')
    """
    letters = Counter(letter for text in texts for letter in text[:LETTERS] if letter.isalpha())
    scripts: Counter[str] = Counter()
    for letter, count in letters.items():
        word = unicodedata.name(letter, "?").split()[0]
        scripts["CJK" if word in ("HIRAGANA", "KATAKANA") else word] += count
    return max(scripts, key=scripts.__getitem__, default="")


def first_texts(path: str | Path) -> list[str]:
    """The first lines of a text file, as many as are looked at."""
    lines = (line for _, line in text_lines(Path(path)) if not isinstance(line, LeftOut))
    return list(islice(lines, TEXTS))


def swapped(languages: tuple[str, str], texts: tuple[Iterable[str], Iterable[str]], names: tuple[str, str]) -> bool:
    """Whether two languages are swapped, as far as scripts and file names tell.

    Nothing in the model tells: its language states follow the language that is claimed.

    Args:
        languages: The codes that are claimed.
        texts: Of both sides.
        names: Of both sides' files.

    Returns:
        Whether both sides are in the other's script and not in their own, or bear the other's code and not their own.

    Example:
        >>> swapped(("en", "ru"), (["\u0445\u043e\u0440\u043e\u0448\u043e"], ["good"]), ("a.txt", "b.txt"))
        True
        >>> swapped(("en", "de"), (["gut"], ["good"]), ("de.txt", "en.txt"))
        True
    """
    claimed = tuple(script_of(code) for code in languages)
    found = tuple(main_script(islice(side, TEXTS)) for side in texts)
    parts = [set(Path(name).name.lower().replace("-", ".").replace("_", ".").split(".")) for name in names]
    both = zip(parts, languages, languages[::-1], strict=True)
    named = [other in part and own not in part for part, own, other in both]
    return claimed[0] != claimed[1] and found == claimed[::-1] or found[0] == found[1] and all(named)


def check_not_swapped(
    languages: tuple[str, str], texts: tuple[Iterable[str], Iterable[str]], names: tuple[str, str], advice: str
) -> None:
    """Refuse two sides of which each looks like the other's language.

    Args:
        languages: The codes that are claimed.
        texts: Of both sides.
        names: What the sides are called, such as their files.
        advice: What to do about it.

    Raises:
        InputError: They do.
    """
    if swapped(languages, texts, names):
        raise InputError(f"{names[0]} looks like {languages[1]!r} and {names[1]} like {languages[0]!r}; {advice}")


def check_texts_not_swapped(files: Mapping[str, str], advice: str) -> None:
    """Refuse text files of which two look like each other's language.

    Args:
        files: Text files by language.
        advice: What to do about it.
    """
    texts = {code: first_texts(path) for code, path in files.items()}
    for one, other in combinations(files, 2):
        check_not_swapped((one, other), (texts[one], texts[other]), (files[one], files[other]), advice)


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
        sides = [row["source"] for row in own], [row["target"] for row in own]
        check_not_swapped(languages, sides, names, "swap the languages or the columns")
