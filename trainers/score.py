"""Score given translation pairs by a frozen encoder, block by block, whatever the size of the file.

Each pair gets its cosine and its ratio margin (Artetxe & Schwenk 2019, eq. 2). The neighbours that a margin takes are
those of its block and its two languages, with other meanings: copies and other translations of a sentence are no
evidence against it (ours). Where a block holds less than half as many pairs of two languages as a block beside it,
pairs of that one join in as neighbours. Margins of two files are therefore comparable at the same block size only.
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from xling_align.eval.encoding import TextEncoder
from xling_align.eval.metrics.mining import ratio_margin
from xling_align.modeling_xling import InputError

from .data.pairs import Pair, stable_hash
from .data.tokenized import batched

logger = logging.getLogger("xling_align")

COLUMNS = ("source", "target", "source_language", "target_language", "pair_id", "score", "margin", "cosine")
SIDES = ("source", "target")
SCORES = ("margin", "cosine")
OUTPUTS = (".jsonl", ".parquet")
CHUNK = 1024  # rows of the block's similarity matrix held at a time
SAME_MEANING = -2.0  # below any cosine

Languages = tuple[str, str]
Block = TypeVar("Block")


class Group(NamedTuple):
    """The pairs of two languages in a block.

    Attributes:
        rows: Where they stand in the block (pairs,).
        sources: Vectors of length 1 (pairs, dim).
        targets: Likewise.
        meanings: Same meaning, same number (pairs,).
        texts: Same text, same number (pairs, 2).
    """

    rows: np.ndarray
    sources: torch.Tensor
    targets: torch.Tensor
    meanings: torch.Tensor
    texts: torch.Tensor


def windows(blocks: Iterable[Block]) -> Iterator[tuple[Block | None, Block, Block | None]]:
    """Each block with the one before and the one after it.

    >>> list(windows("ab"))
    [(None, 'a', 'b'), ('a', 'b', None)]
    """
    rest = iter(blocks)
    before, own = None, next(rest, None)
    while own is not None:
        after = next(rest, None)
        yield before, own, after
        before, own = own, after


def with_more(own: Group, beside: Iterable[Group | None]) -> Group:
    """A group, and after it pairs of a block beside it, up to that one's number, if it has less than half of that.

    The end of a block cuts a few pairs off their language; among so few, all margins would be high.

    Args:
        own: The group.
        beside: The same languages' in the blocks beside.

    Returns:
        Both as one; the rows are those of `own`.
    """
    most = max((group for group in beside if group), key=lambda group: len(group.rows), default=own)
    missing = len(most.rows) - len(own.rows)
    if missing <= len(own.rows):
        return own
    joined = (torch.cat([mine, theirs[:missing]]) for mine, theirs in zip(own[1:], most[1:], strict=True))
    return Group(own.rows, *joined)


def nearest_means(
    own: torch.Tensor, other: torch.Tensor, meanings: torch.Tensor, texts: torch.Tensor, k: int, count: int
) -> torch.Tensor:
    """Mean cosine of the first vectors to their partners and to the nearest others of other meanings.

    Args:
        own: Vectors of length 1 (pairs, dim).
        other: Their partners', row by row (pairs, dim).
        meanings: Same meaning, same number (pairs,).
        texts: Same partner, same number (pairs,).
        k: How many are taken, the partner included if it is among the nearest.
        count: Vectors whose mean is wanted.

    Returns:
        Means (count,).
    """
    means = []
    _, first = np.unique(meanings.numpy(), return_index=True)  # one partner stands for all of its meaning
    keys = other[first]
    for start in range(0, count, CHUNK):
        rows = slice(start, min(start + CHUNK, count))
        cosines = own[rows] @ keys.T  # (rows, meanings)
        same = (meanings[rows, None] == meanings[first]) | (texts[rows, None] == texts[first])
        cosines.masked_fill_(same, SAME_MEANING)
        partner = (own[rows] * other[rows]).sum(1, keepdim=True)
        nearest = torch.cat([partner, cosines.topk(min(k, len(keys)), 1).values], 1).sort(1, descending=True).values
        nearest = nearest[:, :k]
        found = nearest > SAME_MEANING
        means.append((nearest * found).sum(1) / found.sum(1))
    return torch.cat(means)


def groups_of(pairs: list[Pair], encoder: TextEncoder) -> dict[Languages, Group]:
    """The pairs of a block by their languages, encoded."""
    sources, targets = (torch.from_numpy(side_vectors(pairs, side, encoder)) for side in SIDES)
    rows_of: dict[Languages, list[int]] = {}
    for row, pair in enumerate(pairs):
        rows_of.setdefault((pair["source_language"], pair["target_language"]), []).append(row)
    found = {}
    for languages, rows in rows_of.items():
        meanings = torch.tensor([pairs[row]["pair_id"] for row in rows])
        texts = torch.tensor([[stable_hash(pairs[row][side]) for side in SIDES] for row in rows])
        found[languages] = Group(np.array(rows), sources[rows], targets[rows], meanings, texts)
    return found


def group_scores(own: Group, beside: Iterable[Group | None], k: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and ratio margin of pairs, against one another.

    Args:
        own: Pairs of two languages in a block.
        beside: Those in the blocks beside it.
        k: Neighbours that a cosine is held against.

    Returns:
        Cosines (pairs,) and margins (pairs,).
    """
    count = len(own.rows)
    _, sources, targets, meanings, texts = with_more(own, beside)
    cosines = (own.sources * own.targets).sum(1).numpy()
    forward = nearest_means(sources, targets, meanings, texts[:, 1], k, count)
    backward = nearest_means(targets, sources, meanings, texts[:, 0], k, count)
    return cosines, ratio_margin(cosines, forward.numpy(), backward.numpy())


def side_vectors(pairs: list[Pair], side: str, encoder: TextEncoder) -> np.ndarray:
    """Vectors of one side (pairs, dim); a text that occurs several times is encoded once."""
    by_language: dict[str, dict[str, list[int]]] = {}
    for row, pair in enumerate(pairs):
        by_language.setdefault(pair[f"{side}_language"], {}).setdefault(pair[side], []).append(row)
    vectors = np.zeros((len(pairs), encoder.model.config.hidden_size), np.float32)
    for language, rows_of in by_language.items():
        for vector, rows in zip(encoder(list(rows_of), language), rows_of.values(), strict=True):
            vectors[rows] = vector
    return vectors


def scored(
    pairs: Iterable[Pair], encoder: TextEncoder, score: str = "margin", block: int = 20_000, k: int = 4
) -> Iterator[list[dict[str, Any]]]:
    """Score pairs block by block, in their order.

    Args:
        pairs: As many as there are; three blocks are held at a time.
        encoder: A frozen model; its vectors have length 1.
        score: Which of `SCORES` goes into the column `score`.
        block: Pairs whose margins are taken against one another.
        k: Neighbours that a cosine is held against.

    Yields:
        The block's pairs with their scores, as dicts from `COLUMNS`.
    """
    blocks = ((part, groups_of(part, encoder)) for part in batched(pairs, block))
    for before, (part, groups), after in windows(blocks):
        values = {name: np.zeros(len(part), np.float32) for name in SCORES}
        for languages, group in groups.items():
            beside = [other[1].get(languages) for other in (before, after) if other]
            values["cosine"][group.rows], values["margin"][group.rows] = group_scores(group, beside, k)
        yield [
            {**pair, "score": float(values[score][row]), **{name: float(values[name][row]) for name in SCORES}}
            for row, pair in enumerate(part)
        ]


def write_scored(blocks: Iterable[list[dict[str, Any]]], output: Path) -> np.ndarray:
    """Write scored pairs as JSONL or Parquet; the file gets its name when it is complete.

    Args:
        blocks: As `scored` gives them.
        output: Ends in `.jsonl` or `.parquet`.

    Returns:
        Cosine and margin of each pair (pairs, 2).

    Raises:
        InputError: The file can't be written.
    """
    partial, values = output.with_suffix(".partial"), []
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with (parquet_rows if output.suffix == ".parquet" else jsonl_rows)(partial) as write:
            for rows in blocks:
                write(rows)
                values.append(np.array([[row["cosine"], row["margin"]] for row in rows], np.float32))
                logger.info("%s pairs scored", f"{sum(map(len, values)):,}")
        partial.replace(output)
    except OSError as error:
        raise InputError(f"{output} can't be written ({error.strerror or error}); name another file") from error
    finally:
        partial.unlink(missing_ok=True)
    return np.concatenate(values)


@contextmanager
def jsonl_rows(path: Path) -> Iterator[Callable[[list[dict[str, Any]]], None]]:
    """A function that writes rows to a JSONL file."""
    with path.open("w", encoding="utf-8") as stream:
        yield lambda rows: stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@contextmanager
def parquet_rows(path: Path) -> Iterator[Callable[[list[dict[str, Any]]], None]]:
    """A function that writes rows to a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, number, real = pa.string(), pa.int64(), pa.float32()
    schema = pa.schema(zip(COLUMNS, (text, text, text, text, number, real, real, real), strict=True))
    with pq.ParquetWriter(path, schema) as writer:
        yield lambda rows: writer.write_table(pa.Table.from_pylist(rows, schema))
