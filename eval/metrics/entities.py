"""Named entities: F1 of whole entities, as the library `seqeval` defines it."""

from collections.abc import Iterable, Sequence
from typing import Any

from xling_align.eval.extras import eval_extra
from xling_align.modeling_xling import InputError

Tags = Sequence[Sequence[str]]


def entity_scores(gold: Tags, predicted: Tags, types: Iterable[str] | None = None) -> dict[str, float]:
    """Score predicted entities; one is right where its type, its first and its last word all are.

    This is seqeval's default mode, averaged over all entities ("micro"): an I- tag that continues nothing starts an
    entity, as conlleval reads it. Without any entity to find or found, the scores are 0.

    >>> gold = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-ORG"]]
    >>> predicted = [["B-PER", "I-PER", "O", "B-ORG"], ["O", "I-ORG"]]
    >>> scores = entity_scores(gold, predicted)
    >>> round(scores["f1"], 3), round(scores["precision"], 3), round(scores["recall"], 3), scores["entities"]
    (0.667, 0.667, 0.667, 3)
    >>> entity_scores(gold, predicted, types=["PER", "ORG"])["recall"]
    1.0

    Args:
        gold: Tags of each sentence: `O`, `B-<type>` or `I-<type>`.
        predicted: Tags of the same words.
        types: Entity types that count; words of all others count as `O` on both sides. All count unless given.

    Returns:
        `f1`, `precision`, `recall`, and `entities`, the number of gold entities.

    Raises:
        InputError: Sentences or words do not match in number, or there is no sentence.
    """
    if problem := _problem(gold, predicted):
        raise InputError(problem)
    with eval_extra():
        from seqeval.metrics.sequence_labeling import precision_recall_fscore_support
    known = None if types is None else {"O", *(f"{prefix}-{name}" for prefix in "BI" for name in types)}
    sides = [
        [[tag if known is None or tag in known else "O" for tag in tags] for tags in side]
        for side in (gold, predicted)
    ]
    scores: Any = precision_recall_fscore_support(*sides, average="micro", zero_division=0)  # pyright: ignore
    precision, recall, f1, entities = scores
    return {"f1": float(f1), "precision": float(precision), "recall": float(recall), "entities": int(entities)}


def entity_types(tags: Iterable[Iterable[str]]) -> list[str]:
    """Return the entity types that tags name, in alphabetical order.

    >>> entity_types([["B-PER", "I-PER", "O"], ["B-LOC"]])
    ['LOC', 'PER']
    """
    return sorted({tag[2:] for sentence in tags for tag in sentence if tag[:2] in ("B-", "I-")})


def _problem(gold: Tags, predicted: Tags) -> str | None:
    if len(gold) != len(predicted) or not gold:
        return f"entities: tags of {len(predicted)} sentences predicted for {len(gold)}"
    for number, (given, found) in enumerate(zip(gold, predicted, strict=True), 1):
        if len(given) != len(found):
            return f"entities, sentence {number}: {len(found)} tags predicted for {len(given)} words"
    return None
