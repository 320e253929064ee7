"""The demo corpus: real translations that ship inside well-known packages, read in place.

- Training pairs, English to 13 languages: emoji names (package emoji) and interface messages (Django).
- Retrieval: emoji meanings that are held out with all ZWJ and gender variants of their base emoji, one per base.
- Zero-shot classification: is this name a territory, a language, a script or a currency (CLDR, package Babel)?
  Learned on English names, tested on the names in the other languages.
- Nothing held out is in the training text: a pair goes as soon as one side equals, case aside, a held-out name or a
  CLDR name of any language.
- What is held out depends on a hash of the emoji or code, not on its position, so a release of a package that adds
  emoji moves few of the others.
"""

import hashlib
import importlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from xling_align.modeling_xling import InputError

from .formats import catalog_records
from .pairs import LeftOut

LANGUAGES = ("ar", "de", "es", "fa", "fr", "id", "it", "ja", "ko", "pt", "ru", "tr", "zh")
WITH_ENGLISH = ("en", *LANGUAGES)
SEED = 13
HELD_OUT = {"test": slice(0, 300), "dev": slice(300, 600)}
CODE_FOLDS = {"train": range(5), "test": range(4), "dev": range(4, 5)}
CATEGORIES = {"territory": "territories", "language": "languages", "script": "scripts", "currency": "currencies"}
ITEMS_PER_CLASS = {"train": 250, "test": 120, "dev": 120}
DJANGO_LOCALES = {"zh": "zh_Hans"}

# Flags are territory names; a skin tone adds the same two words to every name.
FLAG_OR_SKIN_TONE = re.compile("[\U0001f1e6-\U0001f1ff\U000e0020-\U000e007f\U0001f3fb-\U0001f3ff]")
PEOPLE = frozenset("🧑👨👩🧒👦👧🧓👴👵🫅🤴👸🎅🤶👫👬👭💏💑👪💃🕺")
PLACEHOLDER = re.compile(r"%\(\w+\)\w|%\w|\{\w*\}")


@dataclass(frozen=True)
class DemoCorpus:
    """Training pairs, a retrieval task and a zero-shot classification task, disjoint from each other.

    Attributes:
        languages: The 13 languages beside English.
        pairs: Rows with `source` (English), `target`, `source_language`, `target_language`, `pair_id` (equal for equal
            English text) and `score` (None).
        retrieval: Names by language, English included; position i is the same meaning in every language.
        classification_train: English texts and their labels.
        classification: Test texts and labels by language, English not among them.
    """

    languages: tuple[str, ...]
    pairs: list[dict]
    retrieval: dict[str, list[str]]
    classification_train: tuple[list[str], list[str]]
    classification: dict[str, tuple[list[str], list[str]]]


def load_demo_corpus(held_out: str = "test") -> DemoCorpus:
    """Read the corpus from the installed packages.

    Args:
        held_out: "test", or "dev" for tuning: other meanings and other codes.

    Returns:
        The corpus.

    Raises:
        InputError: If `held_out` is another word or a package is missing.
    """
    if held_out not in HELD_OUT:
        raise InputError(f"held_out '{held_out}' is not one of {', '.join(HELD_OUT)}")
    names = emoji_names()
    order = held_out_order(names)
    meanings = order[HELD_OUT[held_out]]
    cldr = {language: cldr_names(language) for language in WITH_ENGLISH}
    return DemoCorpus(
        languages=LANGUAGES,
        pairs=training_pairs(names, meanings, cldr),
        retrieval={language: [names[emoji][language] for emoji in meanings] for language in WITH_ENGLISH},
        classification_train=classification_items(cldr, "en", "train"),
        classification={language: classification_items(cldr, language, held_out) for language in LANGUAGES},
    )


def emoji_names() -> dict[str, dict[str, str]]:
    """Return the names of every emoji by language, without flags and skin tones."""
    emoji = _demo_package("emoji")
    emoji.config.load_language(list(WITH_ENGLISH))
    return {
        symbol: {language: data[language].strip(":").replace("_", " ") for language in WITH_ENGLISH}
        for symbol, data in emoji.EMOJI_DATA.items()
        if data["status"] <= emoji.STATUS["fully_qualified"]
        and not FLAG_OR_SKIN_TONE.search(symbol)
        and all(language in data for language in WITH_ENGLISH)
    }


def base_emoji(symbol: str) -> str:
    """Return what all variants of an emoji share: its first code point, one and the same for all people."""
    return "🧑" if symbol[0] in PEOPLE else symbol[0]


def held_out_order(names: dict[str, dict[str, str]]) -> list[str]:
    """Return the emoji that may be held out, the plainest of each base, in the order in which they are taken."""
    plainest = {}
    for symbol in sorted(names, key=lambda symbol: (len(symbol), symbol)):
        plainest.setdefault(base_emoji(symbol), symbol)
    symbols = [symbol for base, symbol in plainest.items() if base != "🧑"]
    return sorted(symbols, key=lambda symbol: stable_id(f"{SEED} {symbol}"))


def message_pairs(language: str) -> Iterator[tuple[str, str]]:
    """Yield Django's interface messages in English and in one language."""
    django = Path(str(_demo_package("django").__file__)).parent
    folders = [django / "conf" / "locale", *sorted(django.glob("contrib/*/locale"))]
    locale = DJANGO_LOCALES.get(language, language)
    for path in [path for folder in folders for path in sorted((folder / locale / "LC_MESSAGES").glob("*.po"))]:
        for _, record in catalog_records(path, "en", language):
            if not isinstance(record, LeftOut):
                yield " ".join(record["source"].split()), " ".join(record["target"].split())


def training_pairs(names: dict[str, dict[str, str]], unseen: list[str], cldr: dict[str, list]) -> list[dict]:
    """Return the pairs of all languages, without the held-out meanings, their variants and the CLDR names."""
    bases = {base_emoji(symbol) for symbol in unseen}
    trained = [translations for symbol, translations in names.items() if base_emoji(symbol) not in bases]
    forbidden = {names[symbol][language].casefold() for symbol in unseen for language in WITH_ENGLISH}
    forbidden |= {name.casefold() for categories in cldr.values() for name, _, _ in categories}
    rows = []
    for language in LANGUAGES:
        texts = [(translations["en"], translations[language]) for translations in trained]
        texts += [(source, target) for source, target in message_pairs(language) if _mostly_text(source)]
        rows += [
            _pair(source, target, language)
            for source, target in dict.fromkeys(texts)
            if _differs(source, target) and forbidden.isdisjoint((source.casefold(), target.casefold()))
        ]
    return rows


def cldr_names(language: str) -> list[tuple[str, str, str]]:
    """Return CLDR's (name, category, code) of territories, languages, scripts and currencies."""
    locale = _demo_package("babel").Locale(language)
    return [
        (name, category, code)
        for category, attribute in CATEGORIES.items()
        for code, name in getattr(locale, attribute).items()
    ]


def classification_items(cldr: dict[str, list], language: str, fold: str) -> tuple[list[str], list[str]]:
    """Return the texts and labels of one language whose codes belong to a fold.

    Left out: names of two categories ("Arabic", a language and a script), names with a digit (years give a currency
    away), and outside English the names that are also English ones, which would be no transfer.

    Args:
        cldr: The result of `cldr_names` by language.
        language: The language to read.
        fold: One of "train", "dev", "test".

    Returns:
        Texts and labels, at most `ITEMS_PER_CLASS` per label.
    """
    categories_of = Counter(name for name, _ in {(name.casefold(), category) for name, category, _ in cldr[language]})
    english = {name.casefold() for name, _, _ in cldr["en"]} if language != "en" else set()
    items = {category: {} for category in CATEGORIES}
    for name, category, code in sorted(cldr[language], key=lambda item: stable_id(f"{item[1]} {item[2]}")):
        usable = categories_of[name.casefold()] == 1 and not re.search(r"\d", name) and name.casefold() not in english
        if usable and stable_id(f"{SEED} {category} {code}") % 5 in CODE_FOLDS[fold]:
            items[category][name] = category
    chosen = [item for names in items.values() for item in list(names.items())[: ITEMS_PER_CLASS[fold]]]
    return [name for name, _ in chosen], [label for _, label in chosen]


def stable_id(text: str) -> int:
    """Return a 63-bit number that is the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def _pair(source: str, target: str, language: str) -> dict:
    return {
        "source": source,
        "target": target,
        "source_language": "en",
        "target_language": language,
        "pair_id": stable_id(source.casefold()),
        "score": None,
    }


def _mostly_text(message: str) -> bool:
    """Whether placeholders make up at most half of a message, and the rest has a letter."""
    rest = PLACEHOLDER.sub("", message)
    return 2 * len(rest) >= len(message) and any(character.isalpha() for character in rest)


def _differs(source: str, target: str) -> bool:
    return source.casefold() != target.casefold()


def _demo_package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"the demo corpus reads package '{name}'; run pip install \"xling-align[demo]\"") from error
