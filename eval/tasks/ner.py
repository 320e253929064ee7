"""Zero-shot named entity recognition: a tagger fine-tuned on source-language sentences, in every language."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from xling_align.eval.data_dir import Tagged, limit_of
from xling_align.eval.metrics.entities import entity_scores, entity_types
from xling_align.eval.tasks.result import TaskResult
from xling_align.modeling_xling import InputError


def run(
    tag: Callable[..., Sequence[Sequence[str]]],
    tests: Mapping[str, Tagged],
    types: Iterable[str] | None = None,
    source: str = "en",
) -> TaskResult:
    """Score a tagger's entities in every language.

    Args:
        tag: Called as `tag(sentences, language=code)` with lists of words, returns a list of tags for each; a `Tagger`
            for one.
        tests: Words and tags per language, such as `panx(...)`.
        types: Entity types that the training labels have, such as `Tagger.types`. Others in the tests cannot be
            found: they are left out and named in the metadata. All count unless given.
        source: The language that the tagger was fine-tuned in.

    Returns:
        F1 per language as the main score; all of `entity_scores` and `sentences` as details; `types` and
        `left_out_types` in the metadata.

    Raises:
        InputError: There are no tests, or the tags do not match the words in number.
    """
    if not tests:
        raise InputError("ner needs test sentences in one or more languages; got none")
    present = entity_types(tags for data in tests.values() for tags in data.tags)
    known = present if types is None else sorted(set(types))
    details = {language: _score(tag, data, language, known) for language, data in tests.items()}
    return TaskResult(
        task="ner",
        metric="f1",
        scores={language: scores["f1"] for language, scores in details.items()},
        details=details,
        metadata={"types": known, "left_out_types": sorted(set(present) - set(known)), **limit_of(tests)},
        source=source,
    )


def _score(
    tag: Callable[..., Sequence[Sequence[str]]], data: Tagged, language: str, types: list[str]
) -> dict[str, float]:
    for number, (tokens, tags) in enumerate(zip(data.tokens, data.tags, strict=False), 1):
        if len(tokens) != len(tags):
            raise InputError(f"ner, {language}, sentence {number}: {len(tokens)} words and {len(tags)} tags")
    try:
        scores = entity_scores(data.tags, tag(data.tokens, language=language), types)
    except InputError as error:
        raise InputError(f"ner, {language}: {error}") from error
    return {**scores, "sentences": len(data.tokens)}
