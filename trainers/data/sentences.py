"""The distinct sentences of a plain text file of any size, on disk.

A sentence counts once, whatever its case, punctuation and spacing: copies of it would be one another's nearest
neighbours and hide how near a translation is.
"""

import hashlib
import mmap
from array import array
from collections.abc import Iterator, Set
from pathlib import Path

import numpy as np

from xling_align.modeling_xling import InputError

from .formats import text_lines
from .pairs import LeftOut, pair_id_of, stable_hash
from .readers import ReadReport

NO_LANGUAGE = "und"


def usable_lines(path: Path, report: ReadReport) -> Iterator[tuple[int, str]]:
    """The lines of a text file that hold a sentence, by number from 1, with single spaces.

    Args:
        path: UTF-8 text, also with `.gz`.
        report: Counts them, and the others with their reasons.

    Yields:
        Number and text.
    """
    for number, line in text_lines(path):
        text = line if isinstance(line, LeftOut) else " ".join(line.split()) or LeftOut("empty line")
        if "\0" in text:
            text = LeftOut("NUL character")
        if isinstance(text, LeftOut):
            report.leave_out(str(path), f"line {number}: {text}")
        else:
            report.good[str(path)] += 1
            yield number, text


def no_sentence(path: str | Path, report: ReadReport) -> str:
    """What is wrong with a file without any usable line."""
    reason = f"; {report.bad.total()} lines are unusable ({report.examples[0]})" if report.bad else ""
    return f"{path} holds no sentence{reason}; give a text file with a sentence a line"


class Sentences:
    """The distinct sentences of a file, by row, in the order of their first lines.

    Attributes:
        path: The file they come from.
        report: Lines read and left out.
        ids: Hash of each sentence, folded (sentences,).
        lengths: In characters (sentences,).
        lines: Number of each sentence's first line in the file, from 1 (sentences,).
        occurrences: Line numbers of every usable line, and the row of its sentence.
        total_lines: Lines in the file, good and bad.
        digest: Hash of all usable lines.
    """

    def __init__(self, path: str | Path, copy: Path):
        """Read a file.

        Args:
            path: UTF-8 text, a sentence a line, also with `.gz`.
            copy: Where the text is kept for random access.

        Raises:
            InputError: There is no such file, or no sentence in it.
        """
        self.path, self.report = Path(path), ReadReport()
        ids, lengths, lines, ends = array("q"), array("i"), array("q"), array("q", [0])
        digest = hashlib.blake2b(digest_size=16)
        with copy.open("wb") as stream:
            for number, text in usable_lines(self.path, self.report):
                digest.update(text.encode() + b"\n")
                ids.append(pair_id_of(text, NO_LANGUAGE))
                lengths.append(len(text))
                lines.append(number)
                ends.append(ends[-1] + stream.write(text.encode()))
        if not ids:
            raise InputError(no_sentence(path, self.report))
        self.total_lines = self.report.good.total() + self.report.bad.total()
        self.digest = digest.hexdigest()
        _, first, inverse = np.unique(np.asarray(ids), return_index=True, return_inverse=True)
        order = np.argsort(first)
        keep = first[order]
        self.ids, self.lengths, self.lines = (np.asarray(column)[keep] for column in (ids, lengths, lines))
        self._starts, self._ends = np.asarray(ends)[keep], np.asarray(ends)[keep + 1]
        self.occurrences = np.asarray(lines), np.argsort(order).astype(np.int32)[inverse]
        with copy.open("rb") as stream:
            self._text = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> str:
        return self._text[self._starts[row] : self._ends[row]].decode()

    def after(self, start: int) -> Iterator[str]:
        """The sentences from a row on."""
        return (self[row] for row in range(start, len(self)))

    @property
    def summary(self) -> dict:
        """Name and size of the file, how many sentences it holds and what was dropped, with the first reasons."""
        duplicates = self.report.good.total() - len(self)
        left_out = {
            "left_out": self.report.bad.total(),
            "first_left_out": self.report.first_bad.get(str(self.path), []),
        }
        named = {"file": str(self.path), "bytes": self.path.stat().st_size, "lines": self.total_lines}
        return {**named, "sentences": len(self), "duplicates": duplicates, **left_out}

    def __str__(self) -> str:
        facts = self.summary
        reasons = f" ({'; '.join(facts['first_left_out'])})" if facts["left_out"] else ""
        return (
            f"{self.path}: {len(self):,} sentences, {facts['duplicates']:,} duplicates dropped, "
            f"{facts['left_out']:,} left out{reasons}"
        )


def copy_without(path: str | Path, copy: Path, ids: Set[int]) -> int:
    """Copy a text file without some of its sentences; their lines are empty, so that line numbers stay.

    Args:
        path: UTF-8 text, a sentence a line, also with `.gz`.
        copy: Where the copy goes, as plain text.
        ids: Hashes of the sentences to leave out, folded, as in `Sentences.ids`.

    Returns:
        How many lines were emptied.
    """
    emptied = 0
    with copy.open("w", encoding="utf-8", newline="\n") as stream:
        for _, line in text_lines(Path(path)):
            text = "" if isinstance(line, LeftOut) else line
            if pair_id_of(text, NO_LANGUAGE) in ids:
                text, emptied = "", emptied + 1
            stream.write(f"{text}\n")
    return emptied


def document_ids(path: str | Path, sentences: Sentences) -> tuple[np.ndarray, np.ndarray]:
    """Documents that each sentence occurs in.

    Args:
        path: A document id a line, beside the lines of the text file; an empty line is no document.
        sentences: Those of the text file.

    Returns:
        Hashes of document ids in rising order, and beside each the row of a sentence in it; each such pair once.

    Raises:
        InputError: The files differ in lines.
    """
    documents = array("q")
    for _, line in text_lines(Path(path)):
        documents.append(0 if isinstance(line, LeftOut) or not line.strip() else stable_hash(line.strip()))
    if len(documents) != sentences.total_lines:
        raise InputError(
            f"{path} has {len(documents)} lines and {sentences.path} {sentences.total_lines}; "
            "give one document id for each line of text"
        )
    lines, rows = sentences.occurrences
    document = np.asarray(documents, dtype=np.int64)[lines - 1]
    both = np.unique(np.stack([document, rows])[:, document != 0], axis=1)
    return both[0], both[1].astype(np.int32)
