"""Pairs as token ids: tokenised once, held flat in memory, four bytes a token."""

import logging
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from xling_align.modeling_xling import InputError, XLingAlignConfig, nearest

from .pairs import pair_id_of

logger = logging.getLogger(__name__)

Row = TypeVar("Row")
CHUNK = 100_000  # texts counted at a time


class TokenizedTexts(Dataset):
    """Token ids of N texts.

    Args:
        tokens: Ids of all texts, one after another.
        ends: Where each text ends among the tokens (N,).
    """

    def __init__(self, tokens: np.ndarray, ends: np.ndarray):
        self.tokens, self.ends = tokens, ends
        self.pair_ids = np.arange(len(ends))  # each text is its own meaning

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> dict:
        return {"input_ids": self.text(int(index))}

    def text(self, row: int) -> np.ndarray:
        """Token ids of one text."""
        return self.tokens[self.ends[row - 1] if row else 0 : self.ends[row]]

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each text (N,)."""
        return np.diff(self.ends, prepend=0)


class TokenizedPairs(Dataset):
    """Token ids of N pairs; texts 2i and 2i + 1 are the source and the target of pair i.

    Args:
        tokens: Ids of all texts, one after another.
        ends: Where each text ends among the tokens (2N,).
        languages: Language row of each text (2N,).
        pair_ids: Meaning of each pair (N,).
        scores: Score of each pair (N,), NaN for a pair without one; None where none has.
    """

    def __init__(
        self,
        tokens: np.ndarray,
        ends: np.ndarray,
        languages: np.ndarray,
        pair_ids: np.ndarray,
        scores: np.ndarray | None = None,
    ):
        self.tokens, self.ends, self.languages, self.pair_ids = tokens, ends, languages, pair_ids
        self.scores = scores

    def __len__(self) -> int:
        return len(self.pair_ids)

    def text(self, row: int) -> np.ndarray:
        """Token ids of one text."""
        return self.tokens[self.ends[row - 1] if row else 0 : self.ends[row]]

    def __getitem__(self, index: int) -> dict:
        source = 2 * int(index)
        scored = {} if self.scores is None else {"score": self.scores[index]}
        return {
            **scored,
            "source": self.text(source),
            "target": self.text(source + 1),
            "source_language": self.languages[source],
            "target_language": self.languages[source + 1],
            "pair_id": self.pair_ids[index],
        }

    def words(self, row: int) -> np.ndarray:
        """The distinct words of one text by number, without its first and its last token, which are special."""
        return np.unique(self.text(row)[1:-1])

    def take(self, rows: np.ndarray, targets: np.ndarray | None = None) -> "TokenizedPairs":
        """Some of the pairs.

        Args:
            rows: Which (M,); a row may occur several times.
            targets: Pairs whose targets, of the same languages, take the place of their own (M,).

        Returns:
            M pairs.
        """
        texts = np.stack([2 * rows, 2 * (rows if targets is None else targets) + 1], 1).ravel()
        lengths = np.diff(self.ends, prepend=0)
        moved = lengths[texts]
        ends = np.cumsum(moved)
        places = np.repeat((self.ends - lengths)[texts] - (ends - moved), moved) + np.arange(ends[-1])
        languages = self.languages.reshape(-1, 2)[rows].ravel()
        scores = None if self.scores is None else self.scores[rows]
        return TokenizedPairs(self.tokens[places], ends, languages, self.pair_ids[rows], scores)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of the longer side of each pair (N,)."""
        return np.diff(self.ends, prepend=0).reshape(-1, 2).max(1)

    @property
    def groups(self) -> np.ndarray:
        """Language pair of each pair as one number (N,): source row times 2^16 plus target row."""
        source, target = self.languages.astype(np.int64).reshape(-1, 2).T
        return (source << 16) + target

    def token_counts(self, num_languages: int, vocab_size: int) -> torch.Tensor:
        """How often each language uses each token (num_languages + 1, vocab); feeds `init_language_embeddings`."""
        counts = np.zeros((num_languages + 1, vocab_size), np.int64)
        for start in range(0, len(self.ends), CHUNK):  # a whole corpus at once would take ten times its own memory
            ends = self.ends[start : start + CHUNK]
            first = self.ends[start - 1] if start else 0
            rows = np.repeat(self.languages[start : start + CHUNK].astype(np.int64), np.diff(ends, prepend=first))
            places = rows * vocab_size + self.tokens[first : ends[-1]]
            counts += np.bincount(places, minlength=counts.size).reshape(counts.shape)
        return torch.from_numpy(counts)


def join_pairs(parts: Sequence[TokenizedPairs]) -> TokenizedPairs:
    """Several sets of tokenised pairs as one."""
    before = np.cumsum([0, *(len(part.tokens) for part in parts[:-1])])
    scores = [np.full(len(part), np.nan, np.float32) if part.scores is None else part.scores for part in parts]
    return TokenizedPairs(
        np.concatenate([part.tokens for part in parts]),
        np.concatenate([part.ends + offset for part, offset in zip(parts, before, strict=True)]),
        np.concatenate([part.languages for part in parts]),
        np.concatenate([part.pair_ids for part in parts]),
        scores_or_none(np.concatenate(scores)),
    )


def scores_or_none(scores: np.ndarray) -> np.ndarray | None:
    """Scores of pairs (N,); None where all are NaN."""
    return None if np.isnan(scores).all() else scores


def join_texts(first: TokenizedTexts, second: TokenizedTexts) -> TokenizedTexts:
    """Two sets of tokenised texts as one."""
    tokens = np.concatenate([first.tokens, second.tokens])
    return TokenizedTexts(tokens, np.concatenate([first.ends, second.ends + len(first.tokens)]))


def tokenize_texts(
    texts: Iterable[str | tuple[str, str]], tokenizer: PreTrainedTokenizerBase, max_length: int = 128
) -> TokenizedTexts:
    """Tokenise single texts, or pairs as one text each; those without any text are skipped.

    Args:
        texts: Sentences, or (source, target) for one sequence of both.
        tokenizer: The model's tokenizer.
        max_length: Longest text in tokens; longer ones are cut.

    Returns:
        The texts as token ids.

    Raises:
        InputError: There is no text.
    """
    tokens, ends = array("i"), array("q")
    for chunk in batched((text for text in texts if "".join(text).strip()), 4000):
        for ids in token_ids(tokenizer, chunk, max_length):
            tokens.extend(ids)
            ends.append(len(tokens))
    if not ends:
        raise InputError("there are no texts to train on")
    return TokenizedTexts(np.frombuffer(tokens, np.int32), np.frombuffer(ends, np.int64))


def batched(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    """Lists of at most `size` rows."""
    iterator = iter(rows)
    while chunk := list(islice(iterator, size)):
        yield chunk


def complete_row(row: Mapping[str, Any], source_language: str | None, target_language: str | None) -> dict:
    """A row with all columns, from a dataset that may leave out the languages.

    Args:
        row: What the dataset gives.
        source_language: Used where the row does not say.
        target_language: Used where the row does not say.

    Returns:
        The row with its languages.

    Raises:
        InputError: A column is missing.
    """
    defaults = {"source_language": source_language, "target_language": target_language}
    row = {**{name: value for name, value in defaults.items() if value}, **row}
    for name in ("source", "target", "source_language", "target_language"):
        if name not in row:
            raise InputError(
                f"the pairs have no column {name!r}{nearest(name, list(row))}, only {', '.join(row)}; "
                "name the columns source, target, source_language, target_language"
            )
    return row


def token_ids(tokenizer: PreTrainedTokenizerBase, texts: list, limit: int) -> list[list[int]]:
    """Token ids of texts, as the tokenizer itself gives them; a third of its time where it stands on `tokenizers`.

    Args:
        tokenizer: The model's tokenizer.
        texts: N texts, or pairs of texts for one sequence of both.
        limit: Longest text in tokens, special ones included; longer ones are cut.

    Returns:
        N lists.
    """
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if not hasattr(backend, "encode_batch_fast"):
        return tokenizer(texts, truncation=True, max_length=limit)["input_ids"]  # pyright: ignore[reportReturnType]
    before, side = (backend.truncation, backend.padding), tokenizer.truncation_side
    backend.no_padding()
    backend.enable_truncation(limit, direction=side)
    try:
        return [encoding.ids for encoding in backend.encode_batch_fast(texts)]
    finally:
        backend.no_truncation()
        for enable, settings in zip((backend.enable_truncation, backend.enable_padding), before, strict=True):
            if settings:
                enable(**settings)


def tokenize_pairs(
    rows: Iterable[Mapping[str, Any]],
    tokenizer: PreTrainedTokenizerBase,
    config: XLingAlignConfig,
    max_length: int = 128,
    source_language: str | None = None,
    target_language: str | None = None,
) -> TokenizedPairs:
    """Tokenise pairs.

    Args:
        rows: Dicts with `source`, `target`, `source_language`, `target_language` and, if known, `pair_id`
            and `score`; a `datasets.Dataset` is one such.
        tokenizer: The model's tokenizer.
        config: The model's config: its languages and its longest text.
        max_length: Longest text in tokens; longer ones are cut.
        source_language: Language of rows without `source_language`.
        target_language: Language of rows without `target_language`.

    Returns:
        The pairs as token ids; for a model that knows no languages, all of the unknown one.

    Raises:
        InputError: No pairs, a missing column, or a language that the model does not have.
    """
    limit = min(max_length, config.max_position_embeddings or max_length)
    tokens, ends, languages, pair_ids, scores = (array(kind) for kind in "iqhqf")
    empty = 0

    @cache  # a config's attributes are slow to get at
    def language_id(code: str) -> int:
        return config.language_id(code) if config.languages else 0

    for chunk in batched(rows, 2000):
        chunk = [complete_row(row, source_language, target_language) for row in chunk]
        kept = [row for row in chunk if str(row["source"]).strip() and str(row["target"]).strip()]
        empty += len(chunk) - len(kept)
        texts = [str(row[side]) for row in kept for side in ("source", "target")]
        if not texts:
            continue
        for ids in token_ids(tokenizer, texts, limit):
            tokens.extend(ids)
            ends.append(len(tokens))
        for row in kept:
            codes = (row["source_language"], row["target_language"])
            languages.extend(map(language_id, codes))
            known = row.get("pair_id")
            pair_ids.append(pair_id_of(row["source"], row["source_language"]) if known is None else known)
            scores.append(math.nan if row.get("score") is None else row["score"])
    if empty:
        logger.warning("%d pairs left out: one side is empty", empty)
    if not pair_ids:
        raise InputError("there are no pairs to train on; give rows with a source and a target text")
    kinds = (np.int32, np.int64, np.int16, np.int64)
    sides = (tokens, ends, languages, pair_ids)
    columns = [np.frombuffer(side, kind) for side, kind in zip(sides, kinds, strict=True)]
    return TokenizedPairs(*columns, scores=scores_or_none(np.frombuffer(scores, np.float32)))
