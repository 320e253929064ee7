"""One round's mining of one language, on disk: what the words say, confirmed by other views of the same sentences.

Before the first round there are pairs by words alone, which need no model (`mine_lexically`).
"""

import json
import shutil
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from transformers import PreTrainedTokenizerBase

from xling_align.eval.encoding import TextEncoder
from xling_align.eval.metrics.f1 import set_scores
from xling_align.eval.metrics.mining import Candidates, best_candidates
from xling_align.eval.metrics.neighbours import Neighbours

from .adaptive.lexical import bags_of, by_lexicon, lexical_neighbours, with_translations
from .adaptive.mining import TAKEN, Pool, select_pairs
from .adaptive.rounds import confirm, overlap
from .adaptive.words import by_words, word_states
from .data.formats import text_lines
from .data.mined import MinedPairs
from .data.pairs import LeftOut, Pair, pair_id_of
from .data.sentences import NO_LANGUAGE, Sentences
from .data.tokenized import batched
from .mine import SIDES, MineArguments, provenance, read_pools, recorded, searched

MOST_SENTENCES = 50_000  # of each side that are compared by words alone, all with all
FEWEST_TAUGHT = 100  # pairs of the round before, or they tell nothing of words
MOST_ASKED = 100_000  # sentences of each side whose letters and words are held in memory, about 5 kilobytes each
MOST_LETTERS = 2_000  # of a sentence that are read for that
LIBRARIES = ("xling-align", "tokenizers", "anyascii", "scikit-learn", "sparse-dot-topn")  # that it depends on
Lines = set[tuple[int, int]]


class Proposals(NamedTuple):
    """Neighbours of every source and of every target, by sentence vectors or by words."""

    forward: Neighbours
    backward: Neighbours

    def chosen(self, arguments: MineArguments, threshold: float, facts: tuple[Pool, Pool]) -> tuple:
        """Candidates, and what became of each."""
        best = best_candidates(self.forward, self.backward)
        return select_pairs(*best, threshold, arguments.selection, facts, arguments.max_length_ratio)

    def best(self, arguments: MineArguments, facts: tuple[Pool, Pool]) -> Candidates:
        """What is chosen whatever its margin; of neighbours that share nothing none is."""
        candidates, reasons = self.chosen(arguments, 0.0, facts)
        return candidates.at((reasons == TAKEN) & (candidates.cosine > 0))


def mine_confirmed(
    arguments: MineArguments, encoder: TextEncoder, number: int, before: Path | None, lexicon: bool = False
) -> dict[str, Any]:
    """Mine one language and write what is confirmed; what is there already is not made again.

    Args:
        arguments: As `mine`; the threshold is that of the margin by words.
        encoder: The model.
        number: Of the round.
        before: Pairs of the round before, if there was one.
        lexicon: Whether letters, and words as these translate them, are asked, too; not of fewer than a hundred
            pairs, and not in texts of more than 100,000 sentences.

    Returns:
        What the JSON beside the output holds, and the Jaccard `overlap` with the round before: of its pairs and those
        of this round that reach its threshold too. What a lower threshold lets in is no change of mind. In the
        first round it is 0: what words alone found has margins of another kind.
    """
    output, work = Path(arguments.output), arguments.beside(".work")
    earlier, threshold = (lines_of(read_rows(before)), threshold_of(before)) if before else (set(), 0.0)
    if not output.exists():
        work.mkdir(parents=True, exist_ok=True)
        write_confirmed(arguments, encoder, number, earlier, work, lexicon)
    shutil.rmtree(work, ignore_errors=True)
    found = lines_of(read_rows(output), threshold)
    provenance = json.loads(arguments.beside(".json").read_text(encoding="utf-8"))
    return {**provenance, "overlap": overlap(found, earlier) if number > 1 else 0.0}


def write_confirmed(
    arguments: MineArguments, encoder: TextEncoder, number: int, before: Lines, work: Path, lexicon: bool
) -> None:
    """Find a round's pairs and write them, with rejected candidates and provenance beside them.

    Args:
        arguments: As `mine_confirmed`.
        encoder: The model.
        number: Of the round.
        before: Lines of the pairs of the round before.
        work: Folder for what takes long.
        lexicon: As `mine_confirmed`.
    """
    pools = read_pools(arguments, work)
    _, *found = searched(arguments, encoder, pools, work)
    sentences = Proposals(*found)
    states = [
        word_states(work / f"{side}.words", pool.after(0), encoder, code)
        for side, pool, code in zip(SIDES, pools, arguments.languages, strict=True)
    ]
    words = Proposals(by_words(sentences.forward, *states), by_words(sentences.backward, *states[::-1]))
    facts = Pool(pools[0].ids, pools[0].lengths), Pool(pools[1].ids, pools[1].lengths)
    candidates, reasons = words.chosen(arguments, arguments.threshold, facts)
    proposals = {"sentence vectors": sentences}
    if lexicon and len(before) >= FEWEST_TAUGHT and max(map(len, pools)) <= MOST_ASKED:
        proposals["letters and words"] = by_last_pairs(sentences, pools, encoder.tokenizer, before)
    views = {"round before": before}
    for name, each in proposals.items():
        views[name] = set(pool_lines(each.best(arguments, facts), pools))
    weights = confirm(reasons, pool_lines(candidates, pools), list(views.values()))
    told = {"round": number, "views": list(views), **provenance(arguments, encoder)}
    told["versions"] |= {name: version(name) for name in LIBRARIES if len(views) > 2}
    figures = {"weight": weights, "round": np.full(len(weights), number)}
    mined = MinedPairs(pools, arguments.languages, candidates, reasons, told, figures)
    mined.write(Path(arguments.output), arguments.rejected)


def by_last_pairs(
    found: Proposals, pools: tuple[Sentences, Sentences], tokenizer: PreTrainedTokenizerBase, before: Lines
) -> Proposals:
    """The same neighbours by letters and by words, translated by what the pairs of the round before show.

    Args:
        found: Neighbours by sentence vectors.
        pools: The sentences.
        tokenizer: That says what the words are.
        before: Lines of the pairs of the round before.

    Returns:
        The neighbours.
    """
    texts = [[text[:MOST_LETTERS] for text in pool.after(0)] for pool in pools]
    bags = bags_of((texts[0], texts[1]), (word_bags(texts[0], tokenizer), word_bags(texts[1], tokenizer)))
    lines = np.array(sorted(before), int).reshape(-1, 2).T
    source, target = (np.searchsorted(pool.lines, own) for pool, own in zip(pools, lines, strict=True))
    nothing = np.zeros(len(before), np.float32)
    sources, targets = with_translations(bags, Candidates(source, target, nothing, nothing))
    return Proposals(by_lexicon(found.forward, sources, targets), by_lexicon(found.backward, targets, sources))


def mine_lexically(arguments: MineArguments, tokenizer: PreTrainedTokenizerBase, rounds: int) -> dict[str, Any]:
    """Mine one language by words alone and write what is found; what is there already is not made again.

    Args:
        arguments: As `mine`; of long files `MOST_SENTENCES` are drawn.
        tokenizer: That says what the words are.
        rounds: How often translations of words are learned.

    Returns:
        What the JSON beside the output holds, and an `overlap` of 0: there is no round before.
    """
    output, work = Path(arguments.output), arguments.beside(".work")
    if not output.exists():
        work.mkdir(parents=True, exist_ok=True)
        pools, generator = read_pools(arguments, work), np.random.default_rng(0)
        rows = [np.sort(generator.permutation(len(pool))[:MOST_SENTENCES]) for pool in pools]
        texts = [[pool[row][:MOST_LETTERS] for row in own] for pool, own in zip(pools, rows, strict=True)]
        words = [word_bags(own, tokenizer) for own in texts]
        found = lexical_neighbours((texts[0], texts[1]), (words[0], words[1]), arguments.k, rounds)
        forward, backward = (
            each._replace(source=rows[0][each.source], target=rows[1][each.target]) for each in best_candidates(*found)
        )
        facts = Pool(pools[0].ids, pools[0].lengths), Pool(pools[1].ids, pools[1].lengths)
        candidates, reasons = select_pairs(
            forward, backward, arguments.threshold, "mutual", facts, arguments.max_length_ratio
        )
        settings = recorded(arguments) | {"lexical_rounds": rounds, "sentences": [len(own) for own in rows]}
        told = {"round": 0, "settings": settings, "versions": {name: version(name) for name in LIBRARIES}}
        mined = MinedPairs(pools, arguments.languages, candidates, reasons, told)
        mined.write(output, arguments.rejected)
    shutil.rmtree(work, ignore_errors=True)
    return {**json.loads(arguments.beside(".json").read_text(encoding="utf-8")), "overlap": 0.0}


def word_bags(texts: Iterable[str], tokenizer: PreTrainedTokenizerBase) -> sparse.csr_matrix:
    """Which words of the vocabulary are in which texts (texts, vocab)."""
    special = tokenizer.all_special_ids
    found = [
        np.setdiff1d(np.asarray(ids, int), special)
        for block in batched(texts, 4000)
        for ids in tokenizer(block, add_special_tokens=False, verbose=False)["input_ids"]
    ]
    ends, words = np.cumsum([0, *map(len, found)]), np.concatenate(found)
    size = max(tokenizer.get_vocab().values()) + 1  # ids may have holes
    return sparse.csr_matrix((np.ones(len(words), np.float32), words, ends), shape=(len(found), size))


def pool_lines(candidates: Candidates, pools: tuple[Sentences, Sentences]) -> list[tuple[int, int]]:
    """Where the sentences of candidates stand in their files."""
    sides = (pool.lines[rows].tolist() for pool, rows in zip(pools, candidates[:2], strict=True))
    return list(zip(*sides, strict=True))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a Parquet file."""
    import pyarrow.parquet as pq

    return pq.read_table(path).to_pylist()


def threshold_of(output: Path) -> np.float32:
    """Smallest margin that a round's pairs were mined by, as precise as the margins are."""
    provenance = json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))
    return np.float32(provenance["settings"]["threshold"])


def lines_of(rows: list[dict[str, Any]], threshold: float | np.float32 = 0.0) -> Lines:
    """Where the sentences of mined pairs with a margin that is large enough stand in their files."""
    return {(row["source_line"], row["target_line"]) for row in rows if row["margin"] >= threshold}


def meaning(row: Any) -> tuple[int, int]:
    """What tells a pair from others, whatever its case, punctuation and languages."""
    return pair_id_of(row["source"], NO_LANGUAGE), pair_id_of(row["target"], NO_LANGUAGE)


def hidden_pairs(gold: Iterable[Pair], source: str, target: str) -> set[tuple[int, int]]:
    """Known pairs both of whose sentences are in the files.

    Args:
        gold: Known pairs.
        source: Text file.
        target: Text file.

    Returns:
        Meanings of the pairs.
    """
    there = [
        {pair_id_of(line, NO_LANGUAGE) for _, line in text_lines(Path(path)) if not isinstance(line, LeftOut)}
        for path in (source, target)
    ]
    return {pair for pair in map(meaning, gold) if pair[0] in there[0] and pair[1] in there[1]}


def quality(output: Path, gold: set[tuple[int, int]]) -> dict[str, float]:
    """`precision`, `recall` and `f1` of a round's pairs against the known ones."""
    return set_scores(set(map(meaning, read_rows(output))), gold)
