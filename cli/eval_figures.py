"""The plots of an evaluation that need vectors: languages' clouds, classes, and words beside their translations."""

from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from xling_align.cli.subject import Data, Subject

if TYPE_CHECKING:
    from xling_align.eval.drawing import Figure

CLOUD = 400  # texts of all languages together
TEXTS = 300  # of a language whose classes are drawn
WORDS = 12


def figures(subjects: Mapping[str, Subject], data: Mapping[str, Data], worst: Mapping[str, str]) -> list["Figure"]:
    """Draw what the tasks' data allow; a kind of plot that has no data, or too few, is left out.

    Args:
        subjects: The models by name.
        data: What each task was scored on.
        worst: By task, the language that the first model does worst in; its classes and words are drawn.

    Returns:
        Clouds, classes in English and in the worst language, word pairs.
    """
    from xling_align.eval.projections import FEWEST, vector_figures, vector_spaces, word_pairs

    encoders = {name: subject.encode for name, subject in subjects.items()}
    topics = next(((task, own.tests) for task, own in data.items() if has(own.tests, "texts", "labels")), None)
    sides = next((own.tests for own in data.values() if has(own.tests, "english", "foreign")), None)
    lexicon = data["lexicon"].tests if "lexicon" in data else None
    labelled: dict[str, Any] = {}
    if topics:
        task, tests = topics
        chosen = [code for code in dict.fromkeys(["en", worst[task]]) if code in tests]
        labelled = {code: [column[:TEXTS] for column in tests[code]] for code in chosen}
        labelled = {code: rows for code, rows in labelled.items() if len(rows[0]) >= FEWEST}
    found = vector_figures(encoders, translations_of(sides) if sides else {}, labelled)
    if lexicon:
        code = worst["lexicon"]
        words = first_entries(lexicon[code])
        if 2 * len(words) >= FEWEST:
            english, foreign = zip(*words, strict=True)
            spaces = vector_spaces(encoders, {"en": english, code: foreign})
            found.append(word_pairs(spaces, english, foreign, ("en", code)))
    return found


def has(tests: Mapping[str, Any], *fields: str) -> bool:
    """Whether a task's rows have these fields and no others."""
    return getattr(next(iter(tests.values())), "_fields", ()) == fields


def translations_of(sides: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The first sentences of each language and their English translations, by language and by meaning."""
    each = max(2, CLOUD // (2 * len(sides)))
    texts: dict[str, dict[str, str]] = {"en": {}}
    for code, rows in sides.items():
        for place, (english, foreign) in enumerate(islice(zip(*rows, strict=True), each), 1):
            texts["en"][f"{code} {place}"] = english
            texts.setdefault(code, {})[f"{code} {place}"] = foreign
    return texts


def first_entries(lexicon: Any) -> list[tuple[str, str]]:
    """The first words that are not spelt alike, each English and each foreign word once."""
    chosen: dict[str, str] = {}
    for english, foreign in zip(*lexicon, strict=True):
        if english != foreign and english not in chosen and foreign not in chosen.values():
            chosen[english] = foreign
        if len(chosen) == WORDS:
            break
    return list(chosen.items())
