"""How much parallel text each language has, and what is done about it (section 2.2 of the adaptive framework)."""

import logging
from collections import Counter
from dataclasses import dataclass

import numpy as np

from xling_align.modeling_xling import XLingAlignConfig

from .tokenized import TokenizedPairs

logger = logging.getLogger("xling_align")

FILTERED, BOTH, MINED = "filtered pairs", "filtered and mined pairs", "mined pairs"


def strategy(pairs: int, few: int = 100, many: int = 10_000) -> str:
    """What a language is trained on, by how many pairs it has.

    Args:
        pairs: Its pairs.
        few: With fewer, pairs are mined, and those that are there are taken as they are: too few to tell the bad ones.
        many: With as many, none are mined.

    Returns:
        `FILTERED`, `BOTH` or `MINED`.

    Example:
        >>> strategy(20_000), strategy(5_000), strategy(0)
        ('filtered pairs', 'filtered and mined pairs', 'mined pairs')
    """
    return FILTERED if pairs >= many else BOTH if pairs >= few else MINED


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
    """What is planned for one language.

    Attributes:
        language: Its code.
        pairs: Its pairs with any other language.
        strategy: Of `strategy`.
        share: Of the pairs in the batches.
    """

    language: str
    pairs: int
    strategy: str
    share: float


def resource_plan(
    pairs: TokenizedPairs, config: XLingAlignConfig, few: int, many: int, temperature: float
) -> list[LanguagePlan]:
    """The plan for every language of a model but the source language, those with most pairs first.

    Args:
        pairs: The training pairs.
        config: The model's.
        few: See `strategy`.
        many: See `strategy`.
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
    plans = [
        LanguagePlan(code, number[row], strategy(number[row], few, many), share[row]) for code, row in rows.items()
    ]
    return sorted(plans, key=lambda plan: -plan.pairs)


def tell_plan(plans: list[LanguagePlan], filtered: bool) -> None:
    """Log the plan, a line for each language that has pairs and one for those without.

    Args:
        plans: Of `resource_plan`.
        filtered: Whether pairs are weighed at all.
    """
    for plan in plans:
        if plan.pairs:
            what = plan.strategy if filtered else plan.strategy.replace("filtered", "all")
            logger.info(
                "%-4s %9s pairs, %4.1f %% of the batches: %s", plan.language, f"{plan.pairs:,}", 100 * plan.share, what
            )
    without = [plan.language for plan in plans if not plan.pairs]
    if without:
        logger.info("no pairs, not trained on: %s (xling self_train mines pairs from plain text)", ", ".join(without))
