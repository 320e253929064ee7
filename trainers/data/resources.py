"""How much parallel text each language has, and what is done about it (section 2.2 of the adaptive framework)."""

import logging
from collections import Counter
from dataclasses import dataclass

import numpy as np

from xling_align.modeling_xling import InputError, XLingAlignConfig

from .tokenized import TokenizedPairs

logger = logging.getLogger("xling_align")

KNOWN, BOTH, MINED = "known pairs", "known and mined pairs", "mined pairs"


def strategy(pairs: int, many: int) -> str:
    """What rounds of mining and training take for a language, by how many known pairs it has.

    Args:
        pairs: Its known pairs.
        many: With as many, none are mined.

    Returns:
        `KNOWN`, `BOTH` or `MINED`.

    Example:
        >>> strategy(20_000, 10_000), strategy(5_000, 10_000), strategy(0, 10_000)
        ('known pairs', 'known and mined pairs', 'mined pairs')
    """
    return KNOWN if pairs >= many else BOTH if pairs else MINED


def to_mine(pairs: dict[str, int], texts: list[str], many: int, filtered: bool = False) -> list[str]:
    """Log the strategy for each language.

    Args:
        pairs: Known pairs of each language.
        texts: Codes of the languages with text to mine in.
        many: See `strategy`.
        filtered: Whether pairs that the evidence speaks against are left out.

    Returns:
        The languages to mine pairs of.

    Raises:
        InputError: There is none.
    """
    plan = {code: strategy(number, many if code in texts else 0) for code, number in pairs.items()}
    for code, kind in plan.items():
        kept = ", those that the evidence keeps" if filtered else ""
        logger.info("plan: %s has %s known pairs and is trained on %s%s", code, f"{pairs[code]:,}", kind, kept)
    mined = [code for code, kind in plan.items() if kind != KNOWN]
    if not mined:
        raise InputError(
            f"{', '.join(texts)}: {many:,} known pairs or more, so none are mined; raise --many_pairs, or train on "
            "the known pairs by xling align"
        )
    return mined


def group_shares(counts: np.ndarray, temperature: float) -> np.ndarray:
    """Share of each language pair in the batches: p ~ n^(1/T), n its pairs (Arivazhagan et al. 2019).

    Args:
        counts: Pairs of each (groups,).
        temperature: T; 1 leaves the shares as they are, towards infinity all are alike.

    Returns:
        Shares (groups,).

    Example:
        >>> group_shares(np.array([900, 100]), 2.0).tolist()
        [0.75, 0.25]
    """
    raised = counts.astype(np.float64) ** (1 / temperature)
    return raised / raised.sum()


def balanced_order(groups: np.ndarray, temperature: float, generator: np.random.Generator) -> np.ndarray:
    """As many pair numbers as there are pairs, in random order, each group with its share.

    A group that is to have more than its pairs has each of them as often as the next, give or take one.

    Args:
        groups: Language pair of each pair (pairs,).
        temperature: Of `group_shares`.
        generator: Draws.

    Returns:
        Pair numbers.
    """
    _, numbers, counts = np.unique(groups, return_inverse=True, return_counts=True)
    wanted = np.maximum(np.rint(group_shares(counts, temperature) * len(groups)).astype(int), 1)
    members = np.split(np.argsort(numbers, kind="stable"), np.cumsum(counts)[:-1])
    drawn = []
    for rows, number in zip(members, wanted, strict=True):
        copies, rest = divmod(number, len(rows))
        drawn += [np.tile(rows, copies), generator.permutation(rows)[:rest]]
    return generator.permutation(np.concatenate(drawn))


@dataclass(frozen=True)
class LanguagePlan:
    """What one language is trained on.

    Attributes:
        language: Its code.
        pairs: Its pairs with any other language.
        share: Of the pairs in the batches.
    """

    language: str
    pairs: int
    share: float


def resource_plan(pairs: TokenizedPairs, config: XLingAlignConfig, temperature: float) -> list[LanguagePlan]:
    """The plan for every language of a model but the source language, those with most pairs first.

    Args:
        pairs: The training pairs.
        config: The model's.
        temperature: See `group_shares`.

    Returns:
        One plan for each language.
    """
    groups, counts = np.unique(pairs.groups, return_counts=True)
    shares = group_shares(counts, temperature)
    number, share = Counter(), Counter()
    for group, count, part in zip(groups.tolist(), counts.tolist(), shares.tolist(), strict=True):
        for row in {group >> 16, group & 0xFFFF}:
            number[row] += count
            share[row] += part
    rows = {code: config.language_id(code) for code in config.languages if code != config.source_language}
    plans = [LanguagePlan(code, number[row], share[row]) for code, row in rows.items()]
    return sorted(plans, key=lambda plan: -plan.pairs)


def tell_plan(plans: list[LanguagePlan], few: int | None) -> None:
    """Log the plan, a line for each language that has pairs and one for those without.

    Args:
        plans: Of `resource_plan`.
        few: A language with fewer pairs has them taken as they are; None if pairs are not weighed at all.
    """
    for plan in plans:
        if plan.pairs:
            how = "" if few is None else ", weighed" if plan.pairs >= few else ", as they are: too few to weigh"
            number, share = f"{plan.pairs:,}", 100 * plan.share
            logger.info("%-4s %9s pairs, %4.1f %% of the batches%s", plan.language, number, share, how)
    without = [plan.language for plan in plans if not plan.pairs]
    if without:
        logger.info("no pairs, not trained on: %s (xling self_train mines pairs from plain text)", ", ".join(without))
