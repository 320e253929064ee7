"""Cross-lingual transfer: what is left of a source-language score in the other languages."""

from xling_align.modeling_xling import InputError


def transfer_summary(scores: dict[str, float], source: str = "en") -> dict[str, float]:
    """Summarise one score per language as XTREME does, with the worst languages beside the gap.

    The gap alone can be gamed: a model that gets worse in the source language closes it. Read the four together.
    Reference: XTREME (Hu et al., 2020), section 5.1, for the gap; `worst_five` is ours.

    >>> summary = transfer_summary({"en": 0.75, "de": 0.5, "sw": 0.25})
    >>> summary["source"], summary["mean_others"], summary["gap"], summary["worst_five"]
    (0.75, 0.375, 0.375, 0.375)

    Args:
        scores: A score per language code, higher is better.
        source: The language that the task was learnt in.

    Returns:
        `source`, `mean_others`, `gap` (source minus mean of the others), and `worst_five`, the mean of the five
        lowest others (of all, where there are fewer).

    Raises:
        InputError: `scores` lacks the source language, or holds nothing else.
    """
    others = sorted(score for language, score in scores.items() if language != source)
    if source not in scores or not others:
        given = ", ".join(sorted(scores)) or "none"
        raise InputError(f"a transfer summary needs a score for {source!r} and for one more language; got {given}")
    mean = sum(others) / len(others)
    worst = others[:5]
    return {
        "source": scores[source],
        "mean_others": mean,
        "gap": scores[source] - mean,
        "worst_five": sum(worst) / len(worst),
    }
