"""The row every reader gives, and how a record of any format becomes such rows.

- Same meaning, same `pair_id`: the id is a hash of the source sentence with case, punctuation and spacing folded,
  so that one English sentence translated in five files is one meaning, whatever the files and their order.
- Languages come from the data where it names them, else from the arguments. A regional code (`de-AT`) counts as its
  language (`de`) unless it is asked for exactly.
- What cannot become a pair becomes a `LeftOut` with its reason; nothing is passed over in silence.
"""

import hashlib
import math
import re
import reprlib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypedDict

from xling_align.modeling_xling import InputError

# What a pair is made from, and the columns each is looked for in.
ROLES = {
    "source": ("source",),
    "target": ("target",),
    "source_language": ("source_language",),
    "target_language": ("target_language",),
    "score": ("score",),
    "pair_id": ("pair_id",),
    "translation": ("translation",),
}
LANGUAGE_CODE = re.compile(r"[a-z]{2,3}([-_@.][a-z0-9]+)*", re.IGNORECASE)
LINE_BREAK = re.compile(r"[\t\n\v\f\r\x85\u2028\u2029]")
TEXT_LIMIT = 1_000_000


class Pair(TypedDict):
    """One sentence and its translation; rows of the same meaning share `pair_id`, a signed 64-bit integer."""

    source: str
    target: str
    source_language: str
    target_language: str
    pair_id: int
    score: float | None


class UnsaidLanguage(InputError):
    """A file does not say which language its sentences are in."""


class LeftOut(str):
    """Why a row is left out, in a few words."""


class _Folding(dict[int, str]):
    """Table for `str.translate`: punctuation, spaces and controls become a space, invisible formatting vanishes."""

    def __missing__(self, code: int) -> str:
        category = unicodedata.category(chr(code))
        # Marks (M) stay: they are vowels in Hindi or Thai. Symbols (S) stay: an emoji is a meaning.
        folded = "" if category == "Cf" else " " if category[0] in "PZ" or category == "Cc" else chr(code)
        self[code] = folded
        return folded


_FOLDING = _Folding()


def stable_hash(text: str) -> int:
    """Return blake2b of the text as a signed 64-bit integer, the same in every process and on every machine."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def pair_id_of(source: str, source_language: str) -> int:
    """Return the id of what a source sentence means.

    Args:
        source: The sentence; case, width, punctuation and spacing do not count.
        source_language: Its language; only the primary subtag counts, so `en-US` and `en` are one.

    Returns:
        A signed 64-bit integer.

    Examples:
        >>> pair_id_of("Good morning!", "en") == pair_id_of("good  morning", "en-GB")
        True
        >>> pair_id_of("Gift", "en") == pair_id_of("Gift", "de")
        False
    """
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", source).casefold())
    folded = " ".join(plain.translate(_FOLDING).split())
    language = source_language.replace("_", "-").partition("-")[0].lower()
    return stable_hash(f"{language}\t{folded or plain}")


def counted(number: int, thing: str) -> str:
    """Return `1 pair`, `2 pairs`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


class Languages:
    """The languages asked for on one side (all, if none are) and what those met so far count as."""

    def __init__(self, flag: str, asked: str | Iterable[str] | None):
        codes = [asked] if isinstance(asked, str) else list(asked or ())
        for code in codes:
            if not LANGUAGE_CODE.fullmatch(code):
                raise InputError(f"--{flag} {code!r} is not an ISO 639 code; give one such as 'de' or 'pt-BR'")
        self.flag = flag
        self.asked = {_subtags(code): code for code in codes}
        self.met: dict[str, str | None] = {}

    def match(self, code: str) -> str | None:
        """Return what a row in `code` counts as, None if it was not asked for.

        Args:
            code: The language as the data names it.

        Returns:
            The longest asked code that `code` begins with; its primary subtag if nothing was asked for.

        Examples:
            >>> Languages("target_language", ["pt", "pt-BR"]).match("pt_BR")
            'pt-BR'
            >>> Languages("target_language", ["pt", "pt-BR"]).match("pt-PT")
            'pt'
        """
        if code not in self.met:
            subtags = _subtags(code)
            ends = range(len(subtags), 0, -1)
            self.met[code] = (
                next((self.asked[subtags[:end]] for end in ends if subtags[:end] in self.asked), None)
                if self.asked
                else subtags[0]
            )
        return self.met[code]

    def only(self, given: str) -> str:
        """Return the one language asked for.

        Args:
            given: The file, for the message.

        Returns:
            The code as it was asked for.

        Raises:
            UnsaidLanguage: None or several were asked for.
        """
        if len(self.asked) != 1:
            several = f"; --{self.flag} names {len(self.asked)}" if self.asked else ""
            raise UnsaidLanguage(
                f"{given} does not say which language its sentences are in{several}; add --{self.flag} with one code, "
                f"or columns source_language and target_language"
            )
        return next(iter(self.asked.values()))

    def check_all_met(self, given: str) -> None:
        """Refuse a file which names its languages but not all of those asked for.

        Args:
            given: The file, for the message.

        Raises:
            InputError: A language asked for was not met.
        """
        absent = [code for code in self.asked.values() if code not in self.met.values()]
        if self.met and absent:
            there = ", ".join(sorted(self.met)[:60])
            raise InputError(f"{given} holds no {', '.join(map(repr, absent))}; --{self.flag} can be: {there}")


def _subtags(code: str) -> tuple[str, ...]:
    return tuple(re.split(r"[-_@.]", code.strip().lower()))


class _Unusable(Exception):
    """Raised for one row, with the reason."""


class PairBuilder:
    """Turns the records of one table into pairs; which column is what is settled at its first record."""

    def __init__(self, table: str, columns: Mapping[str, str], sources: Languages, targets: Languages):
        self.table = table
        self.columns = columns
        self.sources = sources
        self.targets = targets
        self.names: dict[str, str] = {}
        self.nested = False
        self.fixed: dict[str, str | None] = {}

    def rows(self, record: dict[str, Any] | LeftOut) -> Iterator[Pair | LeftOut]:
        """Give a record's pairs, and for each that is unusable its reason."""
        if isinstance(record, LeftOut):
            yield record
            return
        if not self.names:
            self._settle(record)
        try:
            for source, source_language, target, target_language in self._texts(record):
                yield self._row(record, source, source_language, target, target_language)
        except _Unusable as reason:
            yield LeftOut(reason)

    def _settle(self, record: dict[str, Any]) -> None:
        present = {role: name for role, names in ROLES.items() for name in names[::-1] if name in record}
        names = present | dict(self.columns)
        if not {"source", "target"} <= names.keys() and "translation" not in names:
            names = {"source": "source", "target": "target"} | names
        for role, name in names.items():
            if name not in record:
                raise InputError(_no_column(self.table, role, name, list(record)))
        self.nested = "translation" in names and not {"source", "target"} <= names.keys()
        if not self.nested:
            self.fixed = {
                role: None if role in names else languages.only(self.table)
                for role, languages in (("source_language", self.sources), ("target_language", self.targets))
            }
        self.names = names

    def _texts(self, record: dict[str, Any]) -> Iterator[tuple[Any, str, Any, str]]:
        """Give (source, its language, target, its language) for each translation in a record."""
        if self.nested:
            yield from self._nested_texts(record)
            return
        source_language = self.fixed["source_language"] or self._language(record, "source_language", self.sources)
        target_language = self.fixed["target_language"] or self._language(record, "target_language", self.targets)
        yield record.get(self.names["source"]), source_language, record.get(self.names["target"]), target_language

    def _language(self, record: dict[str, Any], role: str, languages: Languages) -> str:
        code = record.get(self.names[role])
        if not isinstance(code, str) or not LANGUAGE_CODE.fullmatch(code.strip()):
            raise _Unusable(f"{role} {reprlib.repr(code)} is not an ISO 639 code")
        language = languages.match(code.strip())
        if language is None:
            raise _Unusable(f"{role} {reprlib.repr(code)} was not asked for")
        return language

    def _nested_texts(self, record: dict[str, Any]) -> Iterator[tuple[Any, str, Any, str]]:
        """Give the pairs of a `translation` column: `{"en": ..., "de": ...}` or a list of (language, text)."""
        texts = _translations(record.get(self.names["translation"]))
        sources = self._nested_sources(record, texts)
        matching = [item for item in texts if sources.match(item[0])]
        if not matching:
            raise _Unusable(f"no text in {', '.join(map(repr, sources.asked.values()))}")
        chosen = min(matching, key=lambda item: len(item[0]))
        source_language = sources.match(chosen[0]) or chosen[0]
        found = False
        for item in texts:
            language = self.targets.match(item[0])
            # Unless it is asked for, another variant of the source language is no translation.
            if item is chosen or language is None or (not self.targets.asked and item in matching):
                continue
            found = True
            yield chosen[1], source_language, item[1], language
        if not found:
            asked = ", ".join(map(repr, self.targets.asked.values()))
            raise _Unusable(f"no text in {asked or 'a second language'}")

    def _nested_sources(self, record: dict[str, Any], texts: list[tuple[str, Any]]) -> Languages:
        if self.sources.asked:
            return self.sources
        declared = record.get(self.names.get("source_language", "source_language"))
        if not isinstance(declared, str) or not LANGUAGE_CODE.fullmatch(declared):
            there = ", ".join(code for code, _ in texts[:30])
            raise InputError(
                f"{self.table} does not say which of its languages ({there}) is the source; add --source_language"
            )
        return Languages("source_language", _subtags(declared)[0])

    def _row(
        self, record: dict[str, Any], source: Any, source_language: str, target: Any, target_language: str
    ) -> Pair | LeftOut:
        try:
            source, target = _side(source, "source"), _side(target, "target")
            score = _score(record.get(self.names.get("score", "score")))
            pair_id = _given_id(record.get(self.names.get("pair_id", "pair_id")))
        except _Unusable as reason:
            return LeftOut(reason)
        return Pair(
            source=source,
            target=target,
            source_language=source_language,
            target_language=target_language,
            pair_id=pair_id_of(source, source_language) if pair_id is None else pair_id,
            score=score,
        )


def _no_column(table: str, role: str, name: str, present: list[str]) -> str:
    nearest = get_close_matches(name, present, 1) or get_close_matches(name.lower(), present, 1)
    hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
    there = ", ".join(map(reprlib.repr, present[:30])) or "none"
    return f"{table} has no column {name!r}{hint}; it has {there}; say which is the {role} with --columns {role}=NAME"


def _translations(value: Any) -> list[tuple[str, Any]]:
    """Return the (language, text) of a `translation` value, without absent texts and keys that are no language."""
    if isinstance(value, dict):
        # The Hub's `TranslationVariableLanguages` keeps two lists.
        codes, texts = value.get("language"), value.get("translation")
        listed = isinstance(codes, list) and isinstance(texts, list)
        items = zip(codes or (), texts or (), strict=False) if listed else value.items()
    elif isinstance(value, list):
        items = value
    else:
        raise _Unusable(f"translation is {type(value).__name__}, an object from language to text expected")
    pairs = [item for item in items if isinstance(item, Sequence) and len(item) == 2]
    return [
        (code, text)
        for code, text in pairs
        if isinstance(code, str) and LANGUAGE_CODE.fullmatch(code) and text is not None
    ]


def _side(value: Any, role: str) -> str:
    """Return a side's text on one line, without outer white space."""
    if value is None:
        raise _Unusable(f"empty {role}")
    if not isinstance(value, str):
        raise _Unusable(f"{role} is {type(value).__name__}, text expected")
    text = " ".join(value.split()) if LINE_BREAK.search(value) else value.strip()
    if not text:
        raise _Unusable(f"empty {role}")
    if len(text) > TEXT_LIMIT:
        raise _Unusable(f"{role} has {len(text)} characters, at most {TEXT_LIMIT} expected")
    if "\0" in text:
        raise _Unusable(f"NUL character in {role}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _Unusable(f"half a surrogate pair in {role}") from None
    return text


def _score(value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        score = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        score = math.nan
    if not math.isfinite(score):
        raise _Unusable(f"score {reprlib.repr(value)} is not a finite number")
    return score


def _given_id(value: Any) -> int | None:
    """Return an id column's value as a signed 64-bit integer (other text hashed), None if there is none."""
    if value is None or value == "":
        return None
    whole = isinstance(value, int) and not isinstance(value, bool) or isinstance(value, float) and value.is_integer()
    digits = isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}", value)
    if (whole or digits) and -(2**63) <= int(value) < 2**63:
        return int(value)
    if isinstance(value, str):
        return stable_hash(value)
    raise _Unusable(f"pair_id {reprlib.repr(value)} is neither text nor a 64-bit integer")
