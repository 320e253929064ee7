"""Bitext mining: find the translations in two lists in which most sentences have none."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from xling_align.eval.data_dir import ByLanguage, Translations, limit_of
from xling_align.eval.metrics.f1 import set_scores
from xling_align.eval.metrics.mining import Mined, Pair, best_threshold, mine
from xling_align.eval.tasks.result import TaskResult
from xling_align.modeling_xling import InputError


class Pool(NamedTuple):
    """Two lists of sentences and the pairs (row of the first, row of the second) that are translations."""

    english: list[str]
    foreign: list[str]
    gold: set[Pair]


def run(
    encode: Callable[..., np.ndarray],
    tests: Mapping[str, Pool],
    dev: Mapping[str, Pool],
    source: str = "en",
    k: int = 4,
) -> TaskResult:
    """Mine pairs by ratio margin, with the threshold of each language chosen for the best F1 on its dev pool.

    This is the protocol of BUCC (Zweigenbaum et al., 2017) as Artetxe and Schwenk (2019) score it.

    Args:
        encode: Called as `encode(texts, language=code)`, returns vectors (N, dim); a `TextEncoder` for one.
        tests: A pool per foreign language; `pools` makes them from translations.
        dev: Pools of the same languages with other sentences.
        source: The language of the English side.
        k: Neighbours that a margin is taken over.

    Returns:
        F1 per language as the main score; `precision`, `recall`, `f1`, `threshold`, `best_f1` (what the best threshold
        on the test itself would have given) and `gold` (the number of translations) as details.

    Raises:
        InputError: There are no tests, or a language has no dev pool.
    """
    if not tests or (missing := sorted(set(tests) - set(dev))):
        lacking = f"none for {', '.join(missing)}" if tests else "no tests"
        raise InputError(
            f"mining needs a pool to test on and one to choose the threshold on per language; got {lacking}"
        )
    details = {}
    for language, pool in tests.items():
        threshold = _threshold(_mined(encode, dev[language], source, language, k), dev[language])
        mined = _mined(encode, pool, source, language, k)
        best = set_scores(_above(mined, _threshold(mined, pool)), pool.gold)["f1"]
        scores = set_scores(_above(mined, threshold), pool.gold)
        details[language] = {**scores, "threshold": threshold, "best_f1": best, "gold": len(pool.gold)}
    scores = {language: scores["f1"] for language, scores in details.items()}
    return TaskResult("mining", "f1", scores, details, {"neighbours": k, **limit_of(tests)}, source)


def pools(data: Mapping[str, Translations], share: float = 0.3, seed: int = 0) -> ByLanguage[Pool]:
    """Make pools out of translations: most lose the one side or the other.

    Args:
        data: English sentences and their translations per language. Where a sentence occurs twice on either side, its
            first pair counts alone.
        share: Part of each side that has its translation on the other.
        seed: Which sentences, and in which order they lie.

    Returns:
        A pool per language.

    Raises:
        InputError: `share` is not within 0 to 1, or a language has too few sentences.
    """
    if not 0 < share <= 1:
        raise InputError(f"share is {share}; it must be above 0 and at most 1")
    return ByLanguage({code: _pool(sides, share, seed, code) for code, sides in data.items()}, **limit_of(data))


def _pool(sides: Translations, share: float, seed: int, language: str) -> Pool:
    generator = np.random.default_rng(seed)
    pairs = _distinct(sides)
    order = generator.permutation(len(pairs))
    both = round(len(pairs) * share / (2 - share))  # then each side has both + (all - both) / 2 sentences
    if not both:
        raise InputError(f"mining, {language}: {len(pairs)} distinct translations are too few for a pool")
    half = both + (len(pairs) - both) // 2
    english = generator.permutation(order[:half])
    foreign = generator.permutation(np.concatenate([order[:both], order[half:]]))
    place = {int(row): column for column, row in enumerate(foreign)}
    gold = {(row, place[int(pair)]) for row, pair in enumerate(english) if int(pair) in place}
    return Pool([pairs[pair][0] for pair in english], [pairs[pair][1] for pair in foreign], gold)


def _distinct(sides: Translations) -> list[tuple[str, str]]:
    """Pairs without those whose English or foreign side was there before."""
    seen: tuple[set[str], set[str]] = set(), set()
    kept = []
    for english, foreign in zip(*sides, strict=True):
        if english not in seen[0] and foreign not in seen[1]:
            kept.append((english, foreign))
        seen[0].add(english)
        seen[1].add(foreign)
    return kept


def _mined(encode: Callable[..., np.ndarray], pool: Pool, source: str, language: str, k: int) -> Mined:
    if not pool.english or not pool.foreign or not pool.gold:
        raise InputError(f"mining, {language}: a pool needs sentences on both sides and a translation among them")
    return mine(encode(pool.english, language=source), encode(pool.foreign, language=language), k)


def _threshold(mined: Mined, pool: Pool) -> float:
    return best_threshold(mined.margins, np.array([pair in pool.gold for pair in mined.pairs]), len(pool.gold))


def _above(mined: Mined, threshold: float) -> set[Pair]:
    return {pair for pair, margin in zip(mined.pairs, mined.margins, strict=True) if margin >= threshold}
