"""Precision and recall of mining, and its time and memory beside brute force.

- Known pairs are hidden in two pools: 30 % of each side has its translation on the other, the rest are distractors,
  which share no sentence with the pairs. Some distractors are close to a translation all the same, so precision is a
  lower bound. Where the language has too few sentences, some in others fill its pool (3,700 of 200,000 for German).
- `xling mine` runs on the two files as its users run it. Then each search finds the neighbours both ways on the same
  vectors, in a process of its own. Brute force is a torch matrix product in blocks, in float32.
- Memory is the most that a process held besides files it maps, without what it held before the search.

    python benchmarks/mining.py --model MODEL --data_dir ../shared/data                  # 10,000 a side
    python benchmarks/mining.py --model MODEL --data_dir ../shared/data --size 200000
"""

import argparse
import json
import multiprocessing
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet as pq
import torch

from xling_align.cli.models import quiet, text_encoder
from xling_align.eval.metrics.mining import best_candidates
from xling_align.eval.metrics.neighbours import Neighbours
from xling_align.modeling_xling import InputError
from xling_align.trainers.adaptive.mining import TAKEN, select_pairs
from xling_align.trainers.adaptive.neighbours import nearest_neighbours
from xling_align.trainers.data.formats import open_bytes
from xling_align.trainers.data.pairs import pair_id_of
from xling_align.trainers.data.readers import read_data_dir
from xling_align.trainers.mine import MineArguments, mine
from xling_align.trainers.programs import log_to_screen

SHARE = 0.3  # of each side that has its translation on the other
SEARCHES = ("brute force", "exact", "approximate")
TASKS = ("xnli", "pawsx", "stsb", "sib200")  # whose texts are distractors; labels have one word and are left out
BLOCK = 2048
THRESHOLDS = (1.0, 1.02, 1.04, 1.06, 1.08, 1.1, 1.15, 1.2, 1.3)


def other_texts(data_dir: Path, language: str) -> Iterator[str]:
    """Sentences of a language from the task data."""
    for path in sorted(path for task in TASKS for path in data_dir.glob(f"{task}/{language}/*.tsv*")):
        with open_bytes(path) as stream:
            for line in stream.read().decode().splitlines()[1:]:
                yield from line.split("\t")
    for path in sorted(data_dir.glob(f"ner/*/{language}/*.conll*")):
        with open_bytes(path) as stream:
            for sentence in stream.read().decode().split("\n\n"):
                yield " ".join(line.split("\t")[0] for line in sentence.splitlines())


def distinct(texts: Iterator[str], taken: set[int], number: int) -> list[str]:
    """The first so many texts of at least two words that are not taken; they are taken then."""
    chosen = []
    for text in texts:
        meaning = pair_id_of(text, "und")
        if meaning not in taken and len(text.split()) > 1 and len(chosen) < number:
            taken.add(meaning)
            chosen.append(text)
    return chosen


def hidden_pairs(data_dir: Path, language: str, size: int) -> tuple[list[str], list[str], dict[int, int]]:
    """Two pools with known pairs in them.

    Args:
        data_dir: The data folder.
        language: Of the targets; the sources are English.
        size: Sentences of each pool.

    Returns:
        Sources, targets, and the target row of each source row that has one.

    Raises:
        InputError: There are not enough sentences.
    """
    generator = random.Random(0)
    taken: tuple[set[int], set[int]] = (set(), set())
    pairs = []
    for row in read_data_dir(data_dir, [language]):
        ids = pair_id_of(row["source"], "und"), pair_id_of(row["target"], "und")
        if ids[0] not in taken[0] and ids[1] not in taken[1]:
            pairs.append((row["source"], row["target"]))
            taken[0].add(ids[0])
            taken[1].add(ids[1])
    generator.shuffle(pairs)
    known, rest = pairs[: int(SHARE * size)], pairs[int(SHARE * size) :]
    distractors = size - len(known)
    english = (row["source"] for row in read_data_dir(data_dir) if row["target_language"] != language)
    sources = distinct(english, taken[0], distractors)
    foreign = (row["target"] for row in read_data_dir(data_dir) if pair_id_of(row["source"], "und") not in taken[0])
    targets = [target for _, target in rest[:distractors]]
    others = chain(other_texts(data_dir, language), foreign)
    targets += distinct(others, taken[1], distractors - len(targets))
    if min(len(sources), len(targets)) < distractors:
        raise InputError(
            f"there are {len(sources)} distractors in 'en' and {len(targets)} in {language!r}, {distractors} needed; "
            "lower --size"
        )
    pools = [source for source, _ in known] + sources, [target for _, target in known] + targets
    orders = [generator.sample(range(size), size) for _ in pools]
    places = [{old: new for new, old in enumerate(order)} for order in orders]
    gold = {places[0][row]: places[1][row] for row in range(len(known))}
    return *([pool[old] for old in order] for pool, order in zip(pools, orders, strict=True)), gold  # pyright: ignore


def brute_force(queries: np.ndarray, keys: np.ndarray, k: int) -> Neighbours:
    """The nearest keys by a matrix product in blocks."""
    every, found = torch.from_numpy(np.array(keys)), []
    for start in range(0, len(queries), BLOCK):
        found.append((torch.from_numpy(np.array(queries[start : start + BLOCK])) @ every.T).topk(k))
    return Neighbours(*(torch.cat([each[part] for each in found]).numpy() for part in range(2)))


class Peak(threading.Thread):
    """Watches the memory of this process that is no mapped file."""

    def __init__(self):
        super().__init__(daemon=True)
        self.before = self.most = self.now()
        self.start()

    def now(self) -> int:
        """Bytes held."""
        memory = psutil.Process().memory_info()
        return memory.rss - memory.shared

    def run(self) -> None:
        """Look every 5 ms."""
        while True:
            self.most = max(self.most, self.now())
            time.sleep(0.005)


def search(name: str, work: str, dim: int, k: int, results) -> None:
    """Find the neighbours both ways in this process, and tell the time and memory that took."""
    vectors = [
        np.memmap(Path(work) / f"{side}.vectors", np.float32, "r").reshape(-1, dim) for side in ("source", "target")
    ]
    queries, keys = np.ones((8, 8), np.float32), np.ones((8, 8), np.float32)
    find = brute_force if name == "brute force" else (lambda *given: nearest_neighbours(*given, search=name))
    find(queries, keys, 1)  # whatever is loaded or started once
    watch, start = Peak(), time.perf_counter()
    forward, backward = find(vectors[0], vectors[1], k), find(vectors[1], vectors[0], k)
    seconds = time.perf_counter() - start
    np.savez(Path(work) / f"{name}.npz", *forward, *backward)
    results.put((seconds, (watch.most - watch.before) / 2**20))


def in_own_process(name: str, work: Path, dim: int, k: int) -> tuple[float, float]:
    """Seconds and MiB of a search."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=search, args=(name, str(work), dim, k, results))
    process.start()
    found = results.get()
    process.join()
    return found


def mined_pairs(path: Path, threshold: float) -> set[tuple[int, int]]:
    """The pairs that the neighbours in a file lead to."""
    with np.load(path) as saved:
        forward, backward = Neighbours(saved["arr_0"], saved["arr_1"]), Neighbours(saved["arr_2"], saved["arr_3"])
    candidates, reasons = select_pairs(*best_candidates(forward, backward), threshold)
    chosen = candidates.at(reasons == TAKEN)
    return set(zip(chosen.source.tolist(), chosen.target.tolist(), strict=True))


def quality(found: set[tuple[int, int]], gold: dict[int, int]) -> tuple[float, float, float]:
    """Precision, recall and F1 in %."""
    right = len(found & set(gold.items()))
    precision, recall = 100 * right / max(len(found), 1), 100 * right / len(gold)
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-9)


def main(argv: list[str] | None = None) -> dict[str, dict[str, float]]:
    """Measure and print.

    Args:
        argv: The command line without the program; `sys.argv` unless given.

    Returns:
        Figures by search.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder or Hub id")
    parser.add_argument("--data_dir", default="../shared/data", help="folder with parallel/ and the task data")
    parser.add_argument("--language", default="de", help="of the targets (default de)")
    parser.add_argument("--size", type=int, default=10_000, help="sentences of each pool (default 10,000)")
    parser.add_argument("--k", type=int, default=4, help="neighbours (default 4)")
    parser.add_argument("--threshold", type=float, default=MineArguments.threshold, help="smallest margin")
    parser.add_argument("--searches", nargs="+", default=SEARCHES, choices=SEARCHES)
    given = parser.parse_args(argv)
    quiet()
    log_to_screen(True)
    *pools, gold = hidden_pairs(Path(given.data_dir), given.language, given.size)
    encoder = text_encoder(given.model)
    with tempfile.TemporaryDirectory() as folder:
        output, files = Path(folder) / "pairs.parquet", [Path(folder) / name for name in ("source.txt", "target.txt")]
        for path, texts in zip(files, pools, strict=True):
            path.write_text("\n".join(texts) + "\n", encoding="utf-8")
        source, target = map(str, files)
        settings = {"k": given.k, "threshold": given.threshold, "keep_work": True}
        arguments = MineArguments(source, target, "en", given.language, str(output), **settings)
        start = time.perf_counter()
        result = mine(arguments, encoder)
        seconds = time.perf_counter() - start
        table = pq.read_table(output, columns=["source_line", "target_line"]).to_pydict()
        found = {(s - 1, t - 1) for s, t in zip(table["source_line"], table["target_line"], strict=True)}
        precision, recall, f1 = quality(found, gold)
        print(f"\n{given.size:,} x {given.size:,}, en-{given.language}, {len(gold):,} known pairs, {given.model}")
        print(f"xling mine: {seconds:.0f} s, {result['pairs']:,} pairs, {json.dumps(result['rejected'])}")
        print(f"precision {precision:.1f} %, recall {recall:.1f} %, F1 {f1:.1f}\n")
        work = output.with_suffix(".work")
        return compare(given, work, encoder.model.config.hidden_size, gold)


def compare(given: argparse.Namespace, work: Path, dim: int, gold: dict[int, int]) -> dict[str, dict[str, float]]:
    """Run the searches one after another and print both tables."""
    figures: dict[str, dict[str, float]] = {}
    first = given.searches[0]
    print("| search | s | ratio | MiB | ratio | pairs | precision | recall | in common |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in given.searches:
        seconds, memory = in_own_process(name, work, dim, given.k)
        found = mined_pairs(work / f"{name}.npz", given.threshold)
        common = len(found & mined_pairs(work / f"{first}.npz", given.threshold)) / max(len(found), 1)
        precision, recall, _ = quality(found, gold)
        figures[name] = {"seconds": seconds, "memory": memory, "precision": precision, "recall": recall}
        ratios = [figures[name][key] / max(figures[first][key], 1e-9) for key in ("seconds", "memory")]
        print(
            f"| {name} | {seconds:.1f} | {ratios[0]:.2f} | {memory:.0f} | {ratios[1]:.2f} | {len(found):,} | "
            f"{precision:.1f} | {recall:.1f} | {100 * common:.2f} % |",
            flush=True,
        )
    print("\n| threshold | pairs | precision | recall | F1 |\n| ---: | ---: | ---: | ---: | ---: |")
    for threshold in THRESHOLDS:
        found = mined_pairs(work / f"{first}.npz", threshold)
        print(f"| {threshold} | {len(found):,} | " + " | ".join(f"{x:.1f}" for x in quality(found, gold)) + " |")
    return figures


if __name__ == "__main__":
    main()
