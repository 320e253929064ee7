"""Labelled texts, pairs and sentences of words: from a file to rows, from rows to token ids, from those to batches.

A row is a dict: `text` and `label`, `text`, `text_pair` and `label`, or `tokens` and `tags`; and its `language`, if
the model is to know it. The first sub-word of a word carries the word's tag, the others carry none.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from xling_align.eval.reading import conll_sentences
from xling_align.modeling_xling import InputError, XLingAlignConfig, nearest

from .formats import jsonl_records, parquet_records, tsv_records
from .pairs import LeftOut

ROLES = {"sequence": ("text", "label"), "pair": ("text", "text_pair", "label"), "token": ("tokens", "tags")}
TABLES = {".tsv": lambda path: tsv_records(path, header=True), ".jsonl": jsonl_records, ".parquet": parquet_records}
CONLL = (".conll", ".iob2", ".bio")
UNLABELLED = -100  # what torch's cross entropy passes over


def read_labelled(
    path: str | Path, task: str, columns: Mapping[str, str] | None = None, language: str | None = None
) -> list[dict]:
    """Read labelled rows; unlike pairs, none is left out: a label that got lost would go unnoticed.

    Args:
        path: A `.tsv` file with a header, a `.jsonl` or `.parquet` file, or for words a `.conll` file (a word and its
            tag a line, a blank line between sentences); each also with `.gz`, which is found by itself.
        task: `sequence`, `pair` or `token`.
        columns: The column of each part that is not called as the part itself, such as `{"label": "category"}`;
            `language` may be among them.
        language: Language of rows without a column for it.

    Returns:
        The rows, each with its `place` for errors that are found later.

    Raises:
        InputError: There is no such file or task or column, a row cannot be used, or there is no row.
    """
    if task not in ROLES:
        raise InputError(f"--task {task!r} is not one of {', '.join(ROLES)}")
    columns = dict(columns or {})
    for role in columns:
        if role not in (*ROLES[task], "language"):
            raise InputError(f"--columns {role!r} is no part of a {task} row; the parts are {', '.join(ROLES[task])}")
    file = _existing(Path(path).expanduser())
    suffix = Path(file.name.lower().removesuffix(".gz")).suffix
    if suffix in CONLL and task == "token":
        rows = [
            {"tokens": words, "tags": tags, "language": language, "place": f"{file}, sentence from line {number}"}
            for number, words, tags in conll_sentences(file)
        ]
    elif suffix in TABLES:
        rows = [
            _row(record, task, columns, language, f"{file}, row {number}") for number, record in TABLES[suffix](file)
        ]
    else:
        accepted = [*TABLES, *(CONLL if task == "token" else ())]
        raise InputError(f"{file} has the suffix {suffix!r}; for --task {task} it can be {', '.join(accepted)}")
    if not rows:
        raise InputError(f"{file} is empty; give a file with labelled rows")
    return rows


def _existing(path: Path) -> Path:
    for each in (path, path.parent / f"{path.name}.gz"):
        if each.is_file():
            return each
    close = nearest(path.name, [each.name for each in path.parent.glob("*")])
    raise InputError(f"there is no {str(path)!r}, with .gz or without{close}")


def _row(record: Any, task: str, columns: Mapping[str, str], language: str | None, place: str) -> dict:
    if isinstance(record, LeftOut):
        raise InputError(f"{place}: {record}")
    row: dict[str, Any] = {"language": language, "place": place}
    for role in (*ROLES[task], *(("language",) if "language" in columns else ())):
        column = columns.get(role, role)
        if column not in record:
            known = f"{nearest(column, list(record))}; there are {', '.join(record)}"
            raise InputError(f"{place}: no column {column!r}{known} (name it by --columns {role}=COLUMN)")
        row[role] = record[column]
    return checked_row(row, place)


def checked_row(row: Mapping[str, Any], place: str) -> dict:
    """Return the row with its label as text, or its tags.

    Args:
        row: As the module says.
        place: Where it comes from, for the error.

    Returns:
        A new row.

    Raises:
        InputError: A part is missing or empty, or words and tags differ in number.
    """
    if "tokens" in row or "tags" in row:
        tokens, tags = row.get("tokens"), row.get("tags")
        if not (isinstance(tokens, list | tuple) and isinstance(tags, list | tuple) and tokens):
            raise InputError(f"{place}: tokens and tags must be lists, of one or more words")
        if len(tokens) != len(tags):
            raise InputError(f"{place}: {len(tokens)} tokens and {len(tags)} tags")
        return {**row, "tokens": [str(word) for word in tokens], "tags": [str(tag) for tag in tags]}
    if row.get("label") in (None, ""):
        raise InputError(f"{place}: no label")
    for name in ("text", "text_pair"):
        if (name == "text" or name in row) and not str(row.get(name) or "").strip():
            raise InputError(f"{place}: no {name}")
    return {**row, "label": str(row["label"])}


def label_names(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the labels or tags that occur, in alphabetical order."""
    return sorted({name for row in rows for name in (row["tags"] if "tags" in row else [str(row["label"])])})


def tokenize_labelled(
    rows: Sequence[Mapping[str, Any]],
    labels: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    config: XLingAlignConfig,
    max_length: int = 128,
) -> list[dict]:
    """Tokenise labelled rows, once for all epochs.

    Args:
        rows: Rows of one kind.
        labels: Names, in the order of the model's logits.
        tokenizer: The model's tokenizer.
        config: The model's config: its languages and its longest text.
        max_length: Longest text in tokens; longer ones are cut.

    Returns:
        Dicts with `input_ids` (tokens,), where the tokenizer gives them `token_type_ids`, `labels` (a number, or one
        per token) and `language_ids` (a number; 0 where the row or the model does not say).

    Raises:
        InputError: There are no rows, they are of several kinds, a label is not one of the names, or the language is
            not one of the model's.
    """
    places = [row.get("place") or f"row {number}" for number, row in enumerate(rows, 1)]
    rows = [checked_row(row, place) for row, place in zip(rows, places, strict=True)]
    kinds = {tuple(name for name in ("tokens", "text_pair", "text") if name in row) for row in rows}
    if len(kinds) != 1:
        raise InputError(
            f"labelled rows must be of one kind, texts or pairs or words; got {len(rows)} of {len(kinds)}"
        )
    numbers = {name: number for number, name in enumerate(labels)}
    limit = min(max_length, config.max_position_embeddings or max_length)
    options: dict[str, Any] = {"truncation": True, "max_length": limit, "return_attention_mask": False}
    words = "tokens" in rows[0]
    if words:
        encoded = tokenizer([row["tokens"] for row in rows], is_split_into_words=True, **options)
    else:
        second = [row["text_pair"] for row in rows] if "text_pair" in rows[0] else None
        encoded = tokenizer([row["text"] for row in rows], second, **options)
    names = [name for name in ("input_ids", "token_type_ids") if name in encoded]
    tokenized = []
    for number, row in enumerate(rows):
        given = [_number(name, numbers, places[number]) for name in (row["tags"] if words else [row["label"]])]
        tokenized.append(
            {
                **{name: np.array(encoded[name][number]) for name in names},
                "labels": word_labels(encoded.word_ids(number), given) if words else given[0],
                "language_ids": config.language_id(row["language"]) if config.languages and row.get("language") else 0,
            }
        )
    return tokenized


def _number(name: str, numbers: Mapping[str, int], place: str) -> int:
    if name not in numbers:
        known = f"{nearest(name, list(numbers))}; the labels are {', '.join(list(numbers)[:20])}"
        raise InputError(f"{place}: label {name!r} is not one of the training labels{known}")
    return numbers[name]


def check_labels(rows: Iterable[Mapping[str, Any]], labels: Sequence[str]) -> None:
    """Refuse rows of `read_labelled` with a label or tag that is not one of a classifier's, by `InputError`."""
    numbers = {name: number for number, name in enumerate(labels)}
    for row in rows:
        for name in row["tags"] if "tags" in row else [row["label"]]:
            _number(name, numbers, row["place"])


def word_labels(word_ids: Sequence[int | None], tags: Sequence[int]) -> np.ndarray:
    """Give each word's tag to its first sub-word.

    >>> word_labels([None, 0, 0, 1, None], [5, 7]).tolist()
    [-100, 5, -100, 7, -100]

    Args:
        word_ids: Which word each token belongs to (tokens,); None for special tokens.
        tags: Tag of each word (words,).

    Returns:
        The tags (tokens,), `UNLABELLED` for all other tokens.
    """
    labels = np.full(len(word_ids), UNLABELLED)
    before = None
    for position, word in enumerate(word_ids):
        if word is not None and word != before:
            labels[position] = tags[word]
        before = word
    return labels


class LabelledCollator:
    """Lay tokenised rows out as one padded batch.

    Args:
        pad_token_id: What pads.
        max_length: Longest row; widths are rounded up to a multiple of 8 within it.
    """

    def __init__(self, pad_token_id: int, max_length: int | None = None):
        self.padding = {"input_ids": pad_token_id, "labels": UNLABELLED}
        self.max_length = max_length

    def __call__(self, rows: Sequence[dict]) -> dict[str, torch.Tensor]:
        """A batch: `input_ids`, `attention_mask` (batch, tokens), `labels` (batch,) or (batch, tokens), and so on."""
        longest = max(len(row["input_ids"]) for row in rows)
        width = max(longest, min(-(-longest // 8) * 8, self.max_length or longest + 8))
        batch = {name: self._laid_out(name, [row[name] for row in rows], width) for name in rows[0]}
        lengths = torch.tensor([len(row["input_ids"]) for row in rows])
        batch["attention_mask"] = (torch.arange(width) < lengths.unsqueeze(1)).long()
        return batch

    def _laid_out(self, name: str, values: list, width: int) -> torch.Tensor:
        if not isinstance(values[0], np.ndarray):
            return torch.tensor(values)
        laid_out = np.full((len(values), width), self.padding.get(name, 0), dtype=np.int64)
        for row, value in zip(laid_out, values, strict=True):
            row[: len(value)] = value
        return torch.from_numpy(laid_out)
