"""Which script a text is in, and which one a language is written in."""

import unicodedata
from collections import Counter
from collections.abc import Iterable

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
