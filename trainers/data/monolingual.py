"""Single sentences by language, for a queue of negatives: files whose names end in their language."""

import logging
from array import array
from collections.abc import Iterable, Iterator, Mapping, MutableSequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from xling_align.modeling_xling import InputError, XLingAlignConfig

from .formats import text_lines
from .pairs import LANGUAGE_CODE, LeftOut, pair_id_of
from .tokenized import TokenizedTexts, tokenize_texts

logger = logging.getLogger("xling_align")

SUFFIXES = (".txt", ".txt.gz")


class MonolingualTexts:
    """Token ids of single sentences, their languages, and what they mean as far as a hash can tell.

    Args:
        texts: Their token ids.
        languages: Language row of each (texts,).
        ids: Meaning of each (texts,): that of a pair one of whose sides is the same sentence.
    """

    def __init__(self, texts: TokenizedTexts, languages: np.ndarray, ids: np.ndarray):
        self.texts, self.languages, self.ids = texts, languages, ids
        self.order = lru_cache(maxsize=2)(self._order)

    def __len__(self) -> int:
        return len(self.texts)

    def _order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng(epoch).permutation(len(self))

    def rows(self, first: int, count: int) -> np.ndarray:
        """Text numbers (count,) from the `first` on of an endless sequence of epochs, each in an order of its own."""
        places = np.arange(first, first + count)
        return np.array([self.order(place // len(self))[place % len(self)] for place in places.tolist()])


def language_of(path: Path) -> str:
    """The language that a file's name ends in.

    Args:
        path: Such as `de.txt`, `news.de.txt` or `news.de.txt.gz`.

    Returns:
        Its code.

    Raises:
        InputError: It ends in none.
    """
    stem = path.name.removesuffix(".gz").removesuffix(".txt")
    code = stem.rpartition(".")[2]
    if not LANGUAGE_CODE.fullmatch(code) or not path.name.endswith(SUFFIXES):
        raise InputError(f"the name of {path} does not end in its language; name it such as de.txt or news.de.txt.gz")
    return code


def text_files(paths: Iterable[str]) -> Iterator[Path]:
    """The files that are named, and those of the folders that are named.

    Args:
        paths: Files or folders.

    Yields:
        Files.

    Raises:
        InputError: A folder holds no text file, or a path is not there.
    """
    for path in map(Path, paths):
        if not path.is_dir():
            if not path.is_file():
                raise InputError(f"there is no file or folder {path}; give --monolingual_files de.txt ... or a folder")
            yield path
            continue
        found = sorted(file for file in path.iterdir() if file.name.endswith(SUFFIXES))
        if not found:
            raise InputError(f"{path} holds no text file; name them such as de.txt or news.de.txt.gz")
        yield from found


def sentences(
    paths: Iterable[Path], config: XLingAlignConfig, languages: MutableSequence[int], ids: MutableSequence[int]
) -> Iterator[str]:
    """The sentences of files, one after another.

    Args:
        paths: Files whose names end in their language.
        config: The model's.
        languages: Gets the language row of each.
        ids: Gets the meaning of each.

    Yields:
        Sentences.

    Raises:
        InputError: There is no sentence in a file, or its language is not one of the model's.
    """
    for path in paths:
        code = language_of(path)
        row, before, left_out = config.language_id(code), len(ids), 0
        for _, line in text_lines(path):
            text = "" if isinstance(line, LeftOut) else line.strip()
            if not text:
                left_out += 1
                continue
            languages.append(row)
            ids.append(pair_id_of(text, code))
            yield text
        if len(ids) == before:
            raise InputError(f"{path} holds no sentence; give a text file with a sentence a line")
        logger.info("%s: %s single sentences, %s lines left out", path, f"{len(ids) - before:,}", f"{left_out:,}")


def known_meanings(ids: np.ndarray, pairs: Iterable[Mapping[str, Any]]) -> np.ndarray:
    """Meanings of single sentences, by the pairs that they occur in; only those sentences' ids are held.

    Args:
        ids: Hashes of the sentences (texts,).
        pairs: Known pairs.

    Returns:
        The `pair_id` of the first pair that has a sentence on either side, its own hash where none has (texts,).
    """
    there, meanings = set(ids.tolist()), {}
    for pair in pairs:
        for text, code in ((pair["source"], pair["source_language"]), (pair["target"], pair["target_language"])):
            own = pair_id_of(text, code)
            if own in there:
                meanings.setdefault(own, pair["pair_id"])
    return np.array([meanings.get(own, own) for own in ids.tolist()], np.int64)


def read_monolingual(
    paths: Iterable[str],
    tokenizer: PreTrainedTokenizerBase,
    config: XLingAlignConfig,
    max_length: int,
    pairs: Iterable[Mapping[str, Any]] = (),
) -> MonolingualTexts:
    """Read and tokenise single sentences.

    Args:
        paths: Files whose names end in their language, or folders of such.
        tokenizer: The model's.
        config: The model's.
        max_length: Longest text in tokens; longer ones are cut.
        pairs: What is trained on; a sentence that is among them is no negative of its own translation.

    Returns:
        The sentences.
    """
    languages, ids = array("h"), array("q")
    limit = min(max_length, config.max_position_embeddings or max_length)
    texts = tokenize_texts(sentences(text_files(paths), config, languages, ids), tokenizer, limit)
    meanings = known_meanings(np.frombuffer(ids, np.int64), pairs)
    return MonolingualTexts(texts, np.frombuffer(languages, np.int16), meanings)
