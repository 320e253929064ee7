"""The k nearest neighbours of vectors on disk, exact or approximate, in bounded memory.

Keys are searched shard by shard and queries block by block; each query keeps its best k so far. What a shard found is
saved, so that a search that was stopped goes on with the next shard.
"""

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from xling_align.eval.metrics.neighbours import Neighbours
from xling_align.modeling_xling import InputError

EXACT_LIMIT = 200_000  # keys; above this an index is faster than comparing all by more than its build costs
EXACT_SHARD, INDEX_SHARD, QUERY_BLOCK = 50_000, 1_000_000, 16_384
SEARCHES = ("auto", "exact", "approximate")


def load_faiss() -> Any:
    """The FAISS module.

    Returns:
        The module.

    Raises:
        InputError: It is not installed.
    """
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # tells of every instruction set it tries
    try:
        import faiss
    except ImportError as error:
        raise InputError('finding neighbours needs FAISS; run: pip install "xling-align[mining]"') from error
    return faiss


def nearest_neighbours(
    queries: np.ndarray, keys: np.ndarray, k: int, search: str = "auto", save: Path | None = None
) -> Neighbours:
    """Find the nearest keys of each query by cosine.

    Args:
        queries: Vectors of length 1 (queries, dim) float32; a memory map stays on disk.
        keys: Likewise (keys, dim).
        k: Neighbours of each; fewer if there are fewer keys.
        search: `exact`, `approximate`, or `auto`, which is exact up to `EXACT_LIMIT` keys.
        save: A file for what was found so far; a search that was stopped goes on from it.

    Returns:
        The neighbours.
    """
    exact = search == "exact" or search == "auto" and len(keys) <= EXACT_LIMIT
    shard = EXACT_SHARD if exact else INDEX_SHARD
    done, best = restored(save, len(queries), min(k, len(keys)))
    for start in range(done, len(keys), shard):
        part = keys[start : start + shard]
        search_block = exact_search(part) if exact else index_search(part)
        of = f"neighbours among {min(start + shard, len(keys)):,} of {len(keys):,}"
        for block in tqdm(blocks(len(queries)), of, unit=" blocks", leave=False, disable=None):
            cosines, rows = search_block(queries[block], min(k, len(part)))
            merge(best, block, cosines, np.where(rows < 0, -1, rows + start))
        if save:
            write_atomically(save, done=start + shard, cosines=best.cosines, rows=best.rows)
    return best


def blocks(queries: int) -> list[slice]:
    """Slices of at most `QUERY_BLOCK` queries."""
    return [slice(start, start + QUERY_BLOCK) for start in range(0, queries, QUERY_BLOCK)]


def restored(save: Path | None, queries: int, k: int) -> tuple[int, Neighbours]:
    """The row to go on from and what was found before it."""
    if save and save.exists():
        with np.load(save) as saved:
            return int(saved["done"]), Neighbours(saved["cosines"], saved["rows"])
    return 0, Neighbours(np.full((queries, k), -np.inf, np.float32), np.full((queries, k), -1, np.int32))


def write_atomically(path: Path, **arrays: Any) -> None:
    """Write arrays so that a reader sees all of them or the file before."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as stream:
        np.savez(stream, **arrays)
    partial.replace(path)


def merge(best: Neighbours, block: slice, cosines: np.ndarray, rows: np.ndarray) -> None:
    """Keep the best k of what was known and what is new; of equals, what was known."""
    cosines = np.concatenate([best.cosines[block], np.where(rows < 0, -np.inf, cosines)], 1)
    rows = np.concatenate([best.rows[block], rows], 1)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, : best.rows.shape[1]]
    best.cosines[block] = np.take_along_axis(cosines, order, 1)
    best.rows[block] = np.take_along_axis(rows, order, 1)


Search = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]


def exact_search(keys: np.ndarray) -> Search:
    """Compare with every key, where they lie: what `IndexFlatIP` does, without its copy of the keys."""
    faiss = load_faiss()
    return lambda queries, k: faiss.knn(queries, keys, k, metric=faiss.METRIC_INNER_PRODUCT)


def index_search(keys: np.ndarray) -> Search:
    """Compare with the keys of the nearest clusters (IVF)."""
    faiss = load_faiss()
    clusters = max(1, min(round(2 * math.sqrt(len(keys))), len(keys) // 39))  # FAISS wants 39 vectors for each
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(keys.shape[1]), keys.shape[1], clusters, faiss.METRIC_INNER_PRODUCT)
    index.nprobe = max(32, clusters // 25)
    index.cp.max_points_per_centroid = 64
    index.cp.seed = 1234
    index.train(keys)
    index.add(keys)
    return index.search
