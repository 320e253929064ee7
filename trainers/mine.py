"""Mine translation pairs from two files of sentences that are not known to correspond.

One run in order: read and fold out duplicates -> encode -> nearest neighbours both ways -> candidates by ratio margin
-> one-to-one pairs -> Parquet. All that takes long is kept in `OUTPUT.work` as it is done, and a run that was stopped,
by `kill -9` or otherwise, goes on there and ends with the same bytes. The folder is dropped at the end.
"""

import json
import logging
import shutil
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from xling_align.eval.encoding import BLOCK, TextEncoder, model_digest
from xling_align.eval.metrics.mining import best_candidates
from xling_align.eval.metrics.neighbours import Neighbours
from xling_align.modeling_xling import InputError, XLingAlignConfig

from .adaptive.mining import SELECTIONS, Members, Pool, document_candidates, select_pairs
from .adaptive.neighbours import SEARCHES, load_faiss, nearest_neighbours
from .checks import check_at_least, check_choice, check_files
from .data.identification import check_not_swapped, identify
from .data.mined import MinedPairs
from .data.pairs import Languages
from .data.sentences import Sentences, document_ids

logger = logging.getLogger("xling_align")

SIDES = ("source", "target")
NOT_RECORDED = ("source", "target", "output", "keep_work")  # the files are recorded with their sizes


@dataclass
class MineArguments:
    """What to mine and how.

    Attributes:
        source: Text file of one language, a sentence a line, also with `.gz`.
        target: Text file of another.
        source_language: Code of the one.
        target_language: Code of the other.
        output: Parquet file for the pairs; `.json` and `.rejected.parquet` go beside it.
        source_documents: File with a document id for each line of `source`; pairs then come from the same document.
        target_documents: Likewise for `target`.
        k: Neighbours that a cosine is held against.
        threshold: Smallest ratio margin.
        selection: mutual for pairs that are the best of both their sentences, max for the best of all candidates.
        max_length_ratio: How many times longer or shorter than usual a target may be.
        search: exact, approximate, or auto.
        rejected: How many rejected candidates to keep for each reason, drawn at random.
        keep_work: Leave vectors and neighbours in `OUTPUT.work`, to try other thresholds on.
    """

    source: str
    target: str
    source_language: str
    target_language: str
    output: str
    source_documents: str | None = None
    target_documents: str | None = None
    k: int = 4
    threshold: float = 1.06
    selection: str = "mutual"
    max_length_ratio: float = 3.0
    search: str = "auto"
    rejected: int = 1000
    keep_work: bool = False

    def __post_init__(self):
        check_at_least(1, k=self.k, max_length_ratio=self.max_length_ratio)
        check_at_least(0, rejected=self.rejected, threshold=self.threshold)
        check_choice("selection", self.selection, SELECTIONS)
        check_choice("search", self.search, SEARCHES)
        if Path(self.output).suffix != ".parquet":
            raise InputError(f"--output {self.output} must end in .parquet")
        if bool(self.source_documents) != bool(self.target_documents):
            raise InputError("--source_documents and --target_documents go together; give both or neither")
        for side in SIDES:
            Languages(f"{side}_language", getattr(self, f"{side}_language"))
            check_files(getattr(self, side), getattr(self, f"{side}_documents"))
        if self.source_language == self.target_language:
            raise InputError(
                f"both languages are {self.source_language!r}; translations are mined between two languages"
            )
        if Path(self.source).samefile(self.target):
            raise InputError(f"--source and --target are the same file, {self.source}; give one for each language")

    @property
    def languages(self) -> tuple[str, str]:
        """Both codes."""
        return self.source_language, self.target_language

    def beside(self, suffix: str) -> Path:
        """The output's path with another suffix."""
        return Path(self.output).with_suffix(suffix)


def mine(arguments: MineArguments, encoder: TextEncoder) -> dict[str, Any]:
    """Mine pairs and write them.

    Args:
        arguments: What to mine and how.
        encoder: A frozen model of ours, or any encoder; its vectors have length 1.

    Returns:
        What the JSON beside the output holds.

    Raises:
        InputError: The input can't be mined: no sentences, one language twice, the files swapped, a language that
            the model lacks, FAISS absent; or the output can't be written.
    """
    load_faiss()
    if isinstance(encoder.model.config, XLingAlignConfig):
        for code in arguments.languages:
            encoder.model.config.language_id(code)
    work = arguments.beside(".work")
    try:
        work.mkdir(parents=True, exist_ok=True)
        with FileLock(work / "lock", timeout=0):
            result = mined(arguments, encoder, work)
            if not arguments.keep_work:
                shutil.rmtree(work)
        return result
    except Timeout as error:
        raise InputError(f"another command is mining into {arguments.output}; wait for it or name another") from error
    except OSError as error:
        place = error.filename or work
        raise InputError(f"{place} can't be written ({error.strerror or error}); make room or name another") from error


def mined(arguments: MineArguments, encoder: TextEncoder, work: Path) -> dict[str, Any]:
    """As `mine`, with a work folder that is there and locked."""
    try:
        pools = read_pools(arguments, work)
        documents = read_documents(arguments, pools)
    except InputError:
        if not (work / "vectors.json").exists():  # what an earlier run has done is kept
            shutil.rmtree(work)
        raise
    vectors, forward, backward = searched(arguments, encoder, pools, work)
    proposals = (
        document_candidates(vectors, documents, (forward.mean(), backward.mean()))
        if documents
        else best_candidates(forward, backward)
    )
    facts = Pool(pools[0].ids, pools[0].lengths), Pool(pools[1].ids, pools[1].lengths)
    candidates, reasons = select_pairs(
        *proposals, arguments.threshold, arguments.selection, facts, arguments.max_length_ratio
    )
    found = MinedPairs(pools, arguments.languages, candidates, reasons, provenance(arguments, encoder))
    return found.write(Path(arguments.output), arguments.rejected)


def searched(
    arguments: MineArguments, encoder: TextEncoder, pools: tuple[Sentences, Sentences], work: Path
) -> tuple[tuple[np.ndarray, np.ndarray], Neighbours, Neighbours]:
    """Vectors of both pools, and the neighbours both ways; what is kept in the work folder is not made again.

    Args:
        arguments: What to mine.
        encoder: The model.
        pools: Sources and targets.
        work: The folder.

    Returns:
        Vectors of the sources and of the targets, the nearest targets of every source, and the nearest sources of
        every target.
    """
    go_on_or_start_over(work, "vectors", vectors_manifest(arguments, encoder, pools))
    sources, targets = (
        encoded(work / f"{side}.vectors", pool, encoder, code)
        for side, pool, code in zip(SIDES, pools, arguments.languages, strict=True)
    )
    go_on_or_start_over(work, "neighbours", {"k": arguments.k, "search": arguments.search})
    forward = neighbours(sources, targets, arguments, work / "neighbours.forward.npz")
    backward = neighbours(targets, sources, arguments, work / "neighbours.backward.npz")
    return (sources, targets), forward, backward


def read_pools(arguments: MineArguments, work: Path) -> tuple[Sentences, Sentences]:
    """Both files' sentences.

    Args:
        arguments: What to mine.
        work: Folder for copies.

    Returns:
        Sources and targets.

    Raises:
        InputError: A file holds none, both hold the same, or each is in the other's language.
    """
    pools = Sentences(arguments.source, work / "source.txt"), Sentences(arguments.target, work / "target.txt")
    for pool in pools:
        logger.info(pool)
    common, smaller = len(np.intersect1d(pools[0].ids, pools[1].ids)), min(map(len, pools))
    if common > smaller / 2:
        raise InputError(
            f"{common} of {smaller} sentences are in both {arguments.source} and {arguments.target}; "
            "give a file for each language"
        )
    found = identify(pools[0].after(0)), identify(pools[1].after(0))
    names = arguments.source, arguments.target
    check_not_swapped(arguments.languages, found, names, "swap --source_language and --target_language")
    return pools


def read_documents(arguments: MineArguments, pools: tuple[Sentences, Sentences]) -> tuple[Members, Members] | None:
    """Documents of both sides' sentences.

    Args:
        arguments: Names the files.
        pools: The sentences.

    Returns:
        Sources' and targets', None if there are no such files.

    Raises:
        InputError: The two sides share no document.
    """
    if not arguments.source_documents or not arguments.target_documents:
        return None
    sources = Members(*document_ids(arguments.source_documents, pools[0]))
    targets = Members(*document_ids(arguments.target_documents, pools[1]))
    shared = np.intersect1d(sources.documents, targets.documents)
    if not len(shared):
        raise InputError(
            f"{arguments.source_documents} and {arguments.target_documents} have no document id in common; "
            "documents that correspond need the same id"
        )
    counts = [len(np.unique(side.documents)) for side in (sources, targets)]
    logger.info("%d documents on both sides, of %d and %d", len(shared), *counts)
    return sources, targets


def vectors_manifest(
    arguments: MineArguments, encoder: TextEncoder, pools: tuple[Sentences, Sentences]
) -> dict[str, Any]:
    """What the vectors depend on."""
    return {
        "model": model_digest(encoder.model, encoder.tokenizer),
        "texts": [pool.digest for pool in pools],
        "languages": arguments.languages,
        "encoding": [encoder.pooling, encoder.batch_size, encoder.max_length, encoder.bf16],
        "versions": versions(),
    }


def provenance(arguments: MineArguments, encoder: TextEncoder) -> dict[str, Any]:
    """What pairs were mined by: settings, the model by its name and by what it computes, and versions."""
    settings = recorded(arguments) | {"model": encoder.model.name_or_path, "batch_size": encoder.batch_size}
    settings["model_digest"] = model_digest(encoder.model, encoder.tokenizer)
    return {"settings": settings, "versions": versions()}


def recorded(arguments: MineArguments) -> dict[str, Any]:
    """The arguments that say how pairs were mined."""
    return {key: value for key, value in asdict(arguments).items() if key not in NOT_RECORDED}


def versions() -> dict[str, str]:
    """Versions of what vectors and neighbours depend on."""
    ours = {name: version(name) for name in ("xling-align", "torch", "transformers", "tokenizers")}
    return {**ours, "faiss": load_faiss().__version__}


def go_on_or_start_over(work: Path, step: str, manifest: dict[str, Any]) -> None:
    """Drop what an earlier run left of a step, and of the steps after it, if that was made from something else."""
    path, text = work / f"{step}.json", json.dumps(manifest, sort_keys=True)
    if path.exists() and path.read_text(encoding="utf-8") == text:
        logger.info("going on with the %s in %s", step, work)
        return
    encoded = [path for ending in ("vectors", "words", "ends.npy") for path in work.glob(f"*.{ending}")]
    for old in [*work.glob("neighbours.*"), *(encoded if step == "vectors" else [])]:
        old.unlink()
    path.write_text(text, encoding="utf-8")


def encoded(path: Path, pool: Sentences, encoder: TextEncoder, language: str) -> np.ndarray:
    """A pool's vectors, from a file that is filled up block by block.

    Args:
        path: The file.
        pool: The sentences.
        encoder: The model.
        language: Of the sentences.

    Returns:
        The vectors (sentences, dim), on disk.
    """
    dim = encoder.model.config.hidden_size
    block_bytes = BLOCK * dim * 4
    with path.open("ab") as stream:
        done = min(stream.tell() // block_bytes * BLOCK, len(pool))  # a block cut short is made again
        if stream.tell() < len(pool) * dim * 4:
            stream.truncate(done * dim * 4)
            texts = tqdm(
                pool.after(done), f"encoding {language}", len(pool), initial=done, unit=" texts", disable=None
            )
            for block in encoder.blocks(texts, language):
                stream.write(block.tobytes())
                stream.flush()
    return np.memmap(path, np.float32, "r", shape=(len(pool), dim))


def neighbours(queries: np.ndarray, keys: np.ndarray, arguments: MineArguments, save: Path) -> Neighbours:
    """The nearest keys of each query; what was found so far is kept in a file."""
    logger.info("nearest of %s sentences for each of %s", f"{len(keys):,}", f"{len(queries):,}")
    return nearest_neighbours(queries, keys, arguments.k, arguments.search, save)
