"""Which sentences of two pools are translations of each other, from their vectors alone.

- A candidate is scored by the ratio margin (Artetxe & Schwenk 2019, eq. 2): its cosine over the mean cosine of both
  sentences to their nearest neighbours. A sentence that is near to everything gains nothing by it.
- Each sentence proposes its best candidate; pairs are those that propose each other (`mutual`), or the best of all
  proposals with each sentence used once (`max`).
- Where documents are known to correspond, candidates come from the same document. The neighbours that a cosine is
  held against still come from the whole pool, or a document of one sentence would have no margin (ours).
- No candidate disappears: what is not taken has a reason.
"""

from typing import NamedTuple

import numpy as np

from .neighbours import Neighbours

SELECTIONS = ("mutual", "max")
REASONS = ("taken", "below the threshold", "not mutual best", "sentence used by a better pair", "same text", "length")
TAKEN, BELOW, NOT_MUTUAL, USED, SAME_TEXT, LENGTH = range(len(REASONS))
CHUNK = 2**24  # cosines of one document held at a time


class Candidates(NamedTuple):
    """Pairs that may be translations, as parallel arrays (candidates,).

    Attributes:
        source: Rows of the source pool.
        target: Rows of the target pool.
        cosine: Of the two vectors.
        margin: Ratio margin.
    """

    source: np.ndarray
    target: np.ndarray
    cosine: np.ndarray
    margin: np.ndarray

    def at(self, rows: np.ndarray) -> "Candidates":
        """Some of the candidates, by row or by mask."""
        return Candidates(*(column[rows] for column in self))


def ratio_margin(cosine: np.ndarray, source_mean: np.ndarray, target_mean: np.ndarray) -> np.ndarray:
    """Ratio margin of pairs (Artetxe & Schwenk 2019, eq. 2).

    Args:
        cosine: Of each pair.
        source_mean: Mean cosine of its source to the source's nearest targets.
        target_mean: Mean cosine of its target to the target's nearest sources.

    Returns:
        Margins, 1 for a pair as near as the neighbours are; a mean that is not positive counts as 1e-6.

    Examples:
        >>> ratio_margin(np.array([0.9]), np.array([0.5]), np.array([0.7])).round(3).tolist()
        [1.5]
    """
    return cosine / np.maximum((source_mean + target_mean) / 2, 1e-6)


def best_candidates(forward: Neighbours, backward: Neighbours) -> tuple[Candidates, Candidates]:
    """Each sentence's best candidate by margin, among its nearest neighbours.

    Args:
        forward: Nearest targets of every source.
        backward: Nearest sources of every target.

    Returns:
        Those of the sources in their order, and those of the targets in theirs; sentences without one are left out.
    """
    proposals = []
    for own, other in ((forward, backward), (backward, forward)):
        margins = ratio_margin(own.cosines, own.mean()[:, None], other.mean()[own.rows])  # (sentences, k)
        best = np.where(own.rows < 0, -np.inf, margins).argmax(1)[:, None]
        cosine, row, margin = (np.take_along_axis(each, best, 1)[:, 0] for each in (*own, margins))
        found = row >= 0
        proposals.append(tuple(each[found] for each in (np.arange(len(row), dtype=np.int32), row, cosine, margin)))
    targets, sources, *scores = proposals[1]
    return Candidates(*proposals[0]), Candidates(sources, targets, *scores)


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


def united(forward: Candidates, backward: Candidates) -> tuple[Candidates, np.ndarray]:
    """Both sides' candidates by falling margin, each once, and whether each is the best of both its sentences."""
    codes = [each.source.astype(np.int64) << 32 | each.target for each in (forward, backward)]
    mutual = np.isin(codes[0], codes[1])
    new = ~np.isin(codes[1], codes[0])
    every = Candidates(*(np.concatenate(columns) for columns in zip(forward, backward.at(new), strict=True)))
    order = np.lexsort((every.target, every.source, -every.margin))
    return every.at(order), np.concatenate([mutual, np.zeros(new.sum(), bool)])[order]


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


def first_uses(sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Which pairs are taken when each, in their order, is taken if both its sentences are free (pairs,)."""
    taken = np.zeros(len(sources), bool)
    used: tuple[set[int], set[int]] = (set(), set())
    for row, (source, target) in enumerate(zip(sources.tolist(), targets.tolist(), strict=True)):
        if source not in used[0] and target not in used[1]:
            taken[row] = True
            used[0].add(source)
            used[1].add(target)
    return taken
