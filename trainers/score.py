"""Score given translation pairs by a frozen encoder, block by block, whatever the size of the file.

Each pair gets its cosine and its ratio margin (Artetxe & Schwenk 2019, eq. 2). The neighbours that a margin takes are
those of its block and its two languages, with other meanings: copies and other translations of a sentence are no
evidence against it (ours). Margins of two files are therefore comparable at the same block size only.
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from xling_align.eval.encoding import TextEncoder
from xling_align.eval.metrics.mining import ratio_margin
from xling_align.modeling_xling import InputError

from .data.pairs import Pair, stable_hash

logger = logging.getLogger("xling_align")

COLUMNS = ("source", "target", "source_language", "target_language", "pair_id", "score", "margin", "cosine")
SCORES = ("margin", "cosine")
OUTPUTS = (".jsonl", ".parquet")
CHUNK = 1024  # rows of the block's similarity matrix held at a time
SAME_MEANING = -2.0  # below any cosine


def even_blocks(pairs: Iterable[Pair], size: int) -> Iterator[list[Pair]]:
    """Blocks of `size` pairs; a rest of less than half goes with the block before it.

    A short last block would give its pairs few neighbours, and high margins.

    >>> [len(block) for block in even_blocks(range(11), 4)], [len(block) for block in even_blocks(range(9), 4)]
    ([4, 4, 3], [4, 5])
    """
    rest = iter(pairs)
    block = list(islice(rest, size))
    while block:
        following = list(islice(rest, size))
        if following and 2 * len(following) < size:
            block, following = block + following, []
        yield block
        block = following


def nearest_means(
    own: torch.Tensor, other: torch.Tensor, meanings: torch.Tensor, texts: torch.Tensor, k: int
) -> torch.Tensor:
    """Mean cosine of each vector to its partner and to the nearest others of other meanings.

    Args:
        own: Vectors of length 1 (pairs, dim).
        other: Their partners', row by row (pairs, dim).
        meanings: Same meaning, same number (pairs,).
        texts: Same partner, same number (pairs,).
        k: How many count, the partner included if it is among the nearest.

    Returns:
        Means (pairs,).
    """
    means = []
    _, first = np.unique(meanings.numpy(), return_index=True)  # one partner stands for all of its meaning
    keys = other[first]
    for start in range(0, len(own), CHUNK):
        rows = slice(start, start + CHUNK)
        cosines = own[rows] @ keys.T  # (rows, meanings)
        same = (meanings[rows, None] == meanings[first]) | (texts[rows, None] == texts[first])
        cosines.masked_fill_(same, SAME_MEANING)
        partner = (own[rows] * other[rows]).sum(1, keepdim=True)
        nearest = torch.cat([partner, cosines.topk(min(k, len(keys)), 1).values], 1).sort(1, descending=True).values
        nearest = nearest[:, :k]
        found = nearest > SAME_MEANING
        means.append((nearest * found).sum(1) / found.sum(1))
    return torch.cat(means)


def pair_scores(pairs: list[Pair], encoder: TextEncoder, k: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and ratio margin of pairs, against one another.

    Args:
        pairs: One block, of any languages.
        encoder: A frozen model; its vectors have length 1.
        k: Neighbours that a cosine is held against.

    Returns:
        Cosines (pairs,) and margins (pairs,).
    """
    vectors = [side_vectors(pairs, side, encoder) for side in ("source", "target")]
    cosines, margins = (np.zeros(len(pairs), np.float32) for _ in range(2))

    def languages(row: int) -> tuple[str, str]:
        return pairs[row]["source_language"], pairs[row]["target_language"]

    for _, group in groupby(sorted(range(len(pairs)), key=languages), key=languages):
        rows = np.array(list(group))
        sources, targets = (torch.from_numpy(side[rows]) for side in vectors)
        meanings = torch.tensor([pairs[row]["pair_id"] for row in rows])
        texts = [torch.tensor([stable_hash(pairs[row][side]) for row in rows]) for side in ("source", "target")]
        cosines[rows] = (sources * targets).sum(1).numpy()
        forward = nearest_means(sources, targets, meanings, texts[1], k)
        backward = nearest_means(targets, sources, meanings, texts[0], k)
        margins[rows] = ratio_margin(cosines[rows], forward.numpy(), backward.numpy())
    return cosines, margins


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
        pairs: As many as there are; up to one and a half blocks are held at a time.
        encoder: A frozen model; its vectors have length 1.
        score: Which of `SCORES` goes into the column `score`.
        block: Pairs whose margins are taken against one another.
        k: Neighbours that a cosine is held against.

    Yields:
        The block's pairs with their scores, as dicts from `COLUMNS`.
    """
    for part in even_blocks(pairs, block):
        cosines, margins = pair_scores(part, encoder, k)
        values = {"margin": margins, "cosine": cosines}
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
