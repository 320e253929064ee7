"""Which sentences of two pools are translations of each other, from their vectors alone.

- Candidates are scored by their ratio margin; each sentence proposes its best one (`eval.metrics.mining`). Pairs are
  those that propose each other (`mutual`), or the best of all proposals with each sentence used once (`max`).
- Where documents are known to correspond, candidates come from the same document. The neighbours that a cosine is
  held against still come from the whole pool, or a document of one sentence would have no margin (ours).
- No candidate disappears: what is not taken has a reason.
"""

from typing import NamedTuple

import numpy as np

from xling_align.eval.metrics.mining import Candidates, first_uses, ratio_margin, united

SELECTIONS = ("mutual", "max")
REASONS = (
    "taken",
    "below the threshold",
    "not mutual best",
    "sentence used by a better pair",
    "same text",
    "length",
    "not confirmed",
)
TAKEN, BELOW, NOT_MUTUAL, USED, SAME_TEXT, LENGTH, UNCONFIRMED = range(len(REASONS))
CHUNK = 2**24  # cosines of one document held at a time


class Members(NamedTuple):
    """Which sentences each document holds: document ids in rising order, and the row of a sentence beside each."""

    documents: np.ndarray
    rows: np.ndarray

    def of(self, document: int) -> np.ndarray:
        """Rows of a document's sentences."""
        first, last = (np.searchsorted(self.documents, document, side) for side in ("left", "right"))
        return self.rows[first:last]


def document_candidates(
    vectors: tuple[np.ndarray, np.ndarray],
    members: tuple[Members, Members],
    means: tuple[np.ndarray, np.ndarray],
) -> tuple[Candidates, Candidates]:
    """Each sentence's best candidate by margin, among all sentences of its documents.

    Args:
        vectors: Of the sources and of the targets (sentences, dim), of length 1.
        members: Documents of the sources and of the targets; the same id on both sides is the same document.
        means: Mean cosine of every source and of every target to its nearest neighbours in the whole pool.

    Returns:
        As `best_candidates`.
    """
    best = [none_yet(len(side)) for side in vectors]
    for document in np.intersect1d(members[0].documents, members[1].documents):
        sources, targets = members[0].of(document), members[1].of(document)
        target_vectors, step = vectors[1][targets], max(1, CHUNK // len(targets))
        for start in range(0, len(sources), step):
            part = sources[start : start + step]
            cosines = vectors[0][part] @ target_vectors.T  # (sources, targets)
            margins = ratio_margin(cosines, means[0][part][:, None], means[1][targets])
            for side, rows, axis in ((0, part, 1), (1, targets, 0)):
                at = np.expand_dims(margins.argmax(axis), axis)
                cosine, margin = (np.take_along_axis(each, at, axis).squeeze(axis) for each in (cosines, margins))
                other = (targets if axis else part)[at.squeeze(axis)]
                source, target = (rows, other) if axis else (other, rows)
                propose(best[side], rows, Candidates(source, target, cosine, margin))
    return best[0].at(best[0].source >= 0), best[1].at(best[1].source >= 0)


def none_yet(sentences: int) -> Candidates:
    """A candidate for each sentence, worse than any."""
    rows = np.full(sentences, -1, np.int32)
    return Candidates(rows, rows.copy(), np.zeros(sentences, np.float32), np.full(sentences, -np.inf, np.float32))


def propose(best: Candidates, rows: np.ndarray, new: Candidates) -> None:
    """Replace candidates of sentences by better ones."""
    better = new.margin > best.margin[rows]
    for kept, column in zip(best, new, strict=True):
        kept[rows[better]] = column[better]


class Pool(NamedTuple):
    """What selection knows of one side's sentences besides their vectors.

    Attributes:
        ids: The same for the same text, in either language (sentences,).
        lengths: In characters (sentences,).
    """

    ids: np.ndarray
    lengths: np.ndarray


def select_pairs(
    forward: Candidates,
    backward: Candidates,
    threshold: float,
    selection: str = "mutual",
    pools: tuple[Pool, Pool] | None = None,
    max_length_ratio: float = 3.0,
) -> tuple[Candidates, np.ndarray]:
    """Choose pairs, with each sentence in one at most.

    Args:
        forward: Best candidates of the sources, as `best_candidates` gives them.
        backward: Best candidates of the targets.
        threshold: Smallest margin.
        selection: `mutual` for pairs that are the best of both their sentences, `max` for the best of all candidates.
        pools: Sources and targets, for the filters by text; without them there is no such filter.
        max_length_ratio: How many times longer or shorter than usual a target may be; what is usual is the median
            over the candidates above the threshold that are best for both sides.

    Returns:
        All candidates by falling margin, and the number in `REASONS` of what became of each.
    """
    candidates, mutual = united(forward, backward)
    reasons = np.where(candidates.margin < threshold, BELOW, TAKEN)
    if pools:
        reasons[(reasons == TAKEN) & same_text(candidates, pools)] = SAME_TEXT
        odd = odd_length(candidates, pools, mutual & (reasons == TAKEN), max_length_ratio)
        reasons[(reasons == TAKEN) & odd] = LENGTH
    if selection == "mutual":
        reasons[(reasons == TAKEN) & ~mutual] = NOT_MUTUAL
    else:
        taken = np.flatnonzero(reasons == TAKEN)
        reasons[taken[~first_uses(candidates.source[taken], candidates.target[taken])]] = USED
    return candidates, reasons


def same_text(candidates: Candidates, pools: tuple[Pool, Pool]) -> np.ndarray:
    """Whether a candidate is one sentence twice, as where a pool holds text in the other's language."""
    return pools[0].ids[candidates.source] == pools[1].ids[candidates.target]


def odd_length(
    candidates: Candidates, pools: tuple[Pool, Pool], trusted: np.ndarray, max_length_ratio: float
) -> np.ndarray:
    """Whether a candidate's target is far longer or shorter than that of the trusted candidates (candidates,)."""
    if not trusted.any():
        return np.zeros(len(trusted), bool)
    ratios = np.log(pools[1].lengths[candidates.target] / pools[0].lengths[candidates.source])
    return np.abs(ratios - np.median(ratios[trusted])) > np.log(max_length_ratio)
