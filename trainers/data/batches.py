"""Which pairs share a batch, and how they are laid out: length buckets, no two pairs of one meaning, one tensor."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import Sampler

from xling_align.modeling_xling import InputError

from .pairs import counted
from .resources import balanced_order


def distinct_batches(
    order: np.ndarray, pair_ids: np.ndarray, size: int, most: int = 1
) -> tuple[list[np.ndarray], list[int]]:
    """Cut an order into batches in which no meaning occurs more than `most` times.

    Args:
        order: Pair numbers in the wanted order.
        pair_ids: Meaning of every pair (pairs,).
        size: Pairs in a batch.
        most: Pairs of one meaning in a batch.

    Returns:
        The full batches, and the pairs that were left over.
    """
    batches, current, seen, waiting = [], [], Counter(), []
    queue = list(order[::-1])
    while queue:
        index = queue.pop()
        meaning = pair_ids[index]
        if seen[meaning] == most:
            waiting.append(index)
            continue
        seen[meaning] += 1
        current.append(index)
        if len(current) == size:
            batches.append(np.array(current))
            current, seen = [], Counter()
            queue.extend(reversed(waiting))
            waiting = []
    return batches, current + waiting


def neighbours_by_meaning(order: np.ndarray, lengths: np.ndarray, pair_ids: np.ndarray) -> np.ndarray:
    """An order by length in which pairs of one meaning stand together, at the length of the longest of them.

    Args:
        order: Pair numbers (M,).
        lengths: Tokens of every pair.
        pair_ids: Meaning of every pair.

    Returns:
        The same pair numbers (M,).

    Example:
        >>> neighbours_by_meaning(np.array([0, 1, 2]), np.array([3, 4, 9]), np.array([7, 8, 7])).tolist()
        [1, 0, 2]
    """
    _, meanings = np.unique(pair_ids[order], return_inverse=True)
    longest = np.zeros(len(order), dtype=lengths.dtype)
    np.maximum.at(longest, meanings, lengths[order])
    return order[np.lexsort((meanings, longest[meanings]))]


class LengthBucketSampler(Sampler[int]):
    """Pair numbers in an order in which every `batch_size` neighbours are of like length and of distinct meanings.

    With `together`, up to four pairs of one meaning share a batch, but no more than half of it.

    Each epoch yields the same number of batches, in an order that depends on `seed` and epoch alone, so that a run
    resumes exactly. Pairs of a meaning that has more pairs than there are batches wait for another epoch.

    Args:
        lengths: Tokens of each pair (pairs,).
        pair_ids: Meaning of each pair (pairs,).
        batch_size: Pairs in a batch, over all processes.
        seed: Of the order.
        groups: Language pair of each pair (pairs,); wanted where `temperature` is not 1.
        temperature: How even the language pairs' shares are, see `group_shares`; an epoch has as many pairs as ever.
        together: Whether pairs of one meaning stand together, for a loss that has several positives.

    Raises:
        InputError: A batch of one pair, or more pairs in a batch than meanings.
    """

    bucket = 64  # batches that are shuffled together and sorted by length

    def __init__(
        self,
        lengths: np.ndarray,
        pair_ids: np.ndarray,
        batch_size: int,
        seed: int = 0,
        groups: np.ndarray | None = None,
        temperature: float = 1.0,
        together: bool = False,
    ):
        if batch_size < 2:
            raise InputError("a batch of one pair has no negative; set --per_device_train_batch_size to 2 or more")
        self.lengths, self.pair_ids, self.batch_size, self.seed, self.epoch = lengths, pair_ids, batch_size, seed, 0
        self.groups = None if temperature == 1 else groups
        self.temperature, self.together = temperature, together
        self.num_batches = len(self._shuffle(np.random.default_rng([seed, 0])))
        if self.num_batches == 0:
            raise InputError(
                f"a batch of {batch_size} pairs needs as many different meanings, and the data has "
                f"{len(np.unique(pair_ids))}; lower --per_device_train_batch_size or give more pairs"
            )

    def _shuffle(self, generator: np.random.Generator) -> list[np.ndarray]:
        """The batches of one pass over the pairs, in random order."""
        if self.groups is None:
            order = generator.permutation(len(self.lengths))
        else:
            order = balanced_order(self.groups, self.temperature, generator)
        if self.together:  # a meaning's pairs at its first one's place, so that they fall into one bucket
            _, first, meanings = np.unique(self.pair_ids[order], return_index=True, return_inverse=True)
            order = order[np.argsort(first[meanings], kind="stable")]
        batches, left = [], []
        for start in range(0, len(order), self.bucket * self.batch_size):
            chunk = np.concatenate(
                [np.array(left, dtype=order.dtype), order[start : start + self.bucket * self.batch_size]]
            )
            if self.together:
                chunk, most = neighbours_by_meaning(chunk, self.lengths, self.pair_ids), min(4, self.batch_size // 2)
            else:
                chunk, most = chunk[np.argsort(self.lengths[chunk], kind="stable")], 1
            full, left = distinct_batches(chunk, self.pair_ids, self.batch_size, most)
            batches.extend(full)
        return [batches[row] for row in generator.permutation(len(batches))]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.num_batches * self.batch_size

    def __iter__(self) -> Iterator[int]:
        generator, given = np.random.default_rng([self.seed, self.epoch]), 0
        while given < self.num_batches:  # a pass may fall a batch short of the first epoch's; the next one fills it
            for batch in self._shuffle(generator)[: self.num_batches - given]:
                given += 1
                yield from batch.tolist()


def eval_size(pair_ids: np.ndarray, given: int, processes: int) -> int:
    """Pairs of each process in a batch of evaluation, no more than there are different meanings.

    Args:
        pair_ids: Meaning of each pair (pairs,).
        given: Pairs of each process, if there are enough.
        processes: How many evaluate together.

    Returns:
        The size.

    Raises:
        InputError: The batch would have a single pair.
    """
    meanings = len(np.unique(pair_ids))
    size = min(given, meanings // processes)
    if size * processes < 2:
        raise InputError(
            f"an eval set of {counted(meanings, 'meaning')} gives no batch of two with --per_device_eval_batch_size "
            f"{given}; raise it, or give more pairs"
        )
    return size


def padded_width(longest: int, multiple_of: int, limit: int | None) -> int:
    """Length of a batch's rows in tokens: that of the longest, rounded up to a multiple within the limit.

    >>> [padded_width(longest, 8, 20) for longest in (7, 8, 17, 24)]
    [8, 8, 20, 24]
    """
    width = -(-longest // multiple_of) * multiple_of
    return max(longest, min(width, limit)) if limit else width


class PairCollator:
    """Lay N pairs out as 2N padded rows: sources first, then their translations.

    Args:
        pad_token_id: What pads.
        multiple_of: Lengths are rounded up to a multiple of this, within the limit.
        max_length: Longest row.
        with_scores: Whether the batches hold the pairs' scores too.
    """

    def __init__(
        self, pad_token_id: int, multiple_of: int = 8, max_length: int | None = None, with_scores: bool = False
    ):
        self.pad_token_id, self.multiple_of, self.max_length = pad_token_id, multiple_of, max_length
        self.with_scores = with_scores

    def __call__(self, pairs: list[dict]) -> dict[str, torch.Tensor]:
        """A batch: `input_ids`, `attention_mask` (2N, words), `language_ids` (2N,), `pair_ids` and `scores` (N,)."""
        texts = [pair[side] for side in ("source", "target") for pair in pairs]
        width = padded_width(max(map(len, texts)), self.multiple_of, self.max_length)
        input_ids = np.full((len(texts), width), self.pad_token_id, dtype=np.int64)
        attention_mask = np.zeros_like(input_ids)
        for row, text in enumerate(texts):
            input_ids[row, : len(text)] = text
            attention_mask[row, : len(text)] = 1
        languages = [pair[side] for side in ("source_language", "target_language") for pair in pairs]
        scores = [pair["score"] for pair in pairs] if self.with_scores else []
        return {
            **({"scores": torch.tensor(np.array(scores, np.float32))} if scores else {}),
            "input_ids": torch.from_numpy(input_ids),
            "attention_mask": torch.from_numpy(attention_mask),
            "language_ids": torch.tensor(np.array(languages), dtype=torch.long),
            "pair_ids": torch.tensor(np.array([pair["pair_id"] for pair in pairs]), dtype=torch.long),
        }
