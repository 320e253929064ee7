"""Word alignment: which words of two sentences mean the same, by the similarity of their states."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from xling_align.eval.data_dir import WordAligned, limit_of
from xling_align.eval.metrics.neighbours import unit
from xling_align.eval.metrics.word_alignment import (
    Link,
    alignment_scores,
    diagonal,
    mutual_argmax,
    softmax_links,
)
from xling_align.eval.tasks.result import TaskResult
from xling_align.modeling_xling import InputError

Setting = tuple[int | None, float | None]


def run(
    encode_words: Callable[..., Sequence[np.ndarray]],
    tests: Mapping[str, WordAligned],
    dev: Mapping[str, WordAligned] | None = None,
    layers: Sequence[int | None] = (None,),
    thresholds: Sequence[float | None] = (None,),
    source: str = "en",
) -> TaskResult:
    """Align words and score the links against gold ones.

    Of several layers or thresholds, the pair with the best mean F1 over the languages of `dev` serves all languages:
    some have no development set, and none is large enough to choose by.

    Args:
        encode_words: Called as `encode_words(sentences, language=code, layer=layer)` with lists of words, returns an
            array (words, dim) per sentence, a zero row where a word has no vector; a `WordEncoder` for one.
        tests: Sentence pairs and links per foreign language, such as `wordalign(...)`.
        dev: Pairs to choose a setting on, where there are several; never those of `tests`.
        layers: Hidden layers to choose from; None is the last.
        thresholds: None links words that are each other's nearest by cosine (SimAlign); a number links those whose
            softmax probability is above it both ways (awesome-align, on words instead of sub-words).
        source: The language of the English side.

    Returns:
        F1 per language as the main score, for higher is better there; `aer`, `precision`, `recall`, `f1`,
        `diagonal_f1` (what linking words in the same place scores) and `sentences` as details; layer, threshold and
        the languages that they were chosen on in the metadata.

    Raises:
        InputError: There are no tests, there are several settings and nothing to choose on, or the data do not match.
    """
    if not tests or not layers or not thresholds:
        raise InputError("word alignment needs sentence pairs in one or more languages, a layer and a threshold")
    choices = len(layers) * len(thresholds)
    if choices > 1 and not dev:
        raise InputError(f"{choices} layers and thresholds to choose from, and no dev set; give one, or one setting")
    chosen: Setting = (layers[0], thresholds[0])
    choice = {}
    if dev and choices > 1:
        chosen, choice = _chosen(encode_words, dev, layers, thresholds, source)
    details = {
        language: _score(_states(encode_words, data, source, language, chosen[0]), data, language, chosen[1])
        for language, data in tests.items()
    }
    metadata = {"layer": chosen[0], "threshold": chosen[1], **choice, **limit_of(tests)}
    scores = {language: scores["f1"] for language, scores in details.items()}
    return TaskResult("word_alignment", "f1", scores, details, metadata, source)


def _chosen(
    encode_words: Callable, dev: Mapping[str, WordAligned], layers: Sequence, thresholds: Sequence, source: str
) -> tuple[Setting, dict]:
    """The setting with the best mean F1; each layer is encoded once, whatever the thresholds."""
    means = {}
    for layer in layers:
        states = {code: _states(encode_words, data, source, code, layer) for code, data in dev.items()}
        for threshold in thresholds:
            scores = [_score(states[code], data, code, threshold)["f1"] for code, data in dev.items()]
            means[layer, threshold] = float(np.mean(scores))
    best = max(means, key=lambda setting: means[setting])
    return best, {"chosen_on": sorted(dev), "dev_f1": means[best]}


def _states(
    encode_words: Callable, data: WordAligned, source: str, language: str, layer: int | None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Word states of both sentences of each pair."""
    if not len(data.english) == len(data.foreign) == len(data.links) > 0:
        counts = f"{len(data.english)} and {len(data.foreign)} sentences, links of {len(data.links)}"
        raise InputError(f"word alignment, {language}: {counts}")
    english = encode_words(data.english, language=source, layer=layer)
    return list(zip(english, encode_words(data.foreign, language=language, layer=layer), strict=True))


def _score(
    states: Sequence[tuple[np.ndarray, np.ndarray]], data: WordAligned, language: str, threshold: float | None
) -> dict[str, float]:
    found = [links(first, second, threshold) for first, second in states]
    positions = [diagonal(len(words), len(others)) for words, others in zip(data.english, data.foreign, strict=True)]
    try:
        scores, by_position = alignment_scores(found, data.links), alignment_scores(positions, data.links)
    except InputError as error:
        raise InputError(f"{language}: {error}") from error
    return {**scores, "diagonal_f1": by_position["f1"], "sentences": len(data.english)}


def links(first: np.ndarray, second: np.ndarray, threshold: float | None = None) -> set[Link]:
    """Link the words of two sentences; words without a vector stay without a link.

    >>> first, second = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]), np.array([[0.1, 2.0], [3.0, 0.2]])
    >>> sorted(links(first, second)), sorted(links(first, second, threshold=0.5))
    ([(0, 1), (2, 0)], [(0, 1), (2, 0)])

    Args:
        first: States of a sentence's words, (I, dim).
        second: States of its translation's words, (J, dim).
        threshold: As `run`.

    Returns:
        Links (word of the first, word of the second).
    """
    rows, columns = (np.flatnonzero(np.any(states, axis=1)) for states in (first, second))
    if not len(rows) or not len(columns):
        return set()
    first, second = np.asarray(first, np.float64)[rows], np.asarray(second, np.float64)[columns]
    if threshold is None:
        found = mutual_argmax(unit(first) @ unit(second).T)
    else:
        found = softmax_links(first @ second.T, threshold)
    return {(int(rows[row]), int(columns[column])) for row, column in found}
