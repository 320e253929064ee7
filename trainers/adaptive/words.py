"""A second look at nearest neighbours, word by word (ours).

Two sentences are as near as their words find each other: the mean over the words of a sentence of the cosine to the
nearest word of the other, both ways (as BERTScore, Zhang et al. 2020, but with the plain mean of both). Where sentence
vectors are hardly aligned, this tells translations from sentences of one topic far better than the vectors do.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from xling_align.eval.encoding import BLOCK, TextEncoder, eval_mode
from xling_align.eval.metrics.neighbours import Neighbours

from ..data.tokenized import batched


class WordStates:
    """States of the words of many sentences, on disk.

    Args:
        path: File of the states; `.ends.npy` lies beside it.
        dim: Size of a state.

    Attributes:
        states: Of all words, one sentence after another, of length 1 (words, dim) float16.
        ends: Where each sentence ends among them (sentences,).
    """

    def __init__(self, path: Path, dim: int):
        self.ends = np.load(path.with_suffix(".ends.npy"))
        self.states = np.memmap(path, np.float16, "r", shape=(int(self.ends[-1]), dim))

    def of(self, row: int) -> np.ndarray:
        """A sentence's words (words, dim) float32."""
        return self.states[self.ends[row - 1] if row else 0 : self.ends[row]].astype(np.float32)


def word_states(path: Path, texts: Iterable[str], encoder: TextEncoder, language: str) -> WordStates:
    """Encode sentences into words, unless that is done.

    Args:
        path: File for the states.
        texts: Sentences of one language.
        encoder: The model.
        language: Their code.

    Returns:
        The states.
    """
    done = path.with_suffix(".ends.npy")
    if not done.exists():
        lengths: list[int] = []
        with path.open("wb") as stream:
            for block in batched(tqdm(texts, f"words of {language}", unit=" texts", disable=None), BLOCK):
                for states in block_words(encoder, block, language):
                    lengths.append(len(states))
                    stream.write(states.tobytes())
        partial = path.with_suffix(".partial.npy")
        np.save(partial, np.cumsum(lengths))
        partial.replace(done)
    return WordStates(path, encoder.model.config.hidden_size)


def block_words(encoder: TextEncoder, texts: list[str], language: str) -> list[np.ndarray]:
    """As `batch_words`, for more texts than fit a batch; those of like length share one."""
    order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
    batches = batched((texts[row] for row in order), encoder.batch_size)
    states = [words for batch in batches for words in batch_words(encoder, batch, language)]
    return [states[place] for place in np.argsort(order)]


@torch.inference_mode()
def batch_words(encoder: TextEncoder, texts: list[str], language: str) -> list[np.ndarray]:
    """States of each sentence's words (words, dim) float16, special tokens left out unless there are no others."""
    inputs = encoder.tokenized(texts)
    with eval_mode(encoder.model):
        states: Any = encoder.outputs(inputs, language).last_hidden_state.float()
    states = torch.nn.functional.normalize(states, dim=-1).half().cpu().numpy()
    ids, mask = inputs["input_ids"].cpu().numpy(), inputs["attention_mask"].cpu().numpy() == 1
    words = mask & ~np.isin(ids, encoder.tokenizer.all_special_ids)
    words |= mask & ~words.any(1, keepdims=True)
    return [row[own] for row, own in zip(states, words, strict=True)]


def word_similarities(query: np.ndarray, keys: list[np.ndarray]) -> np.ndarray:
    """How well the words of a sentence and of others find each other.

    >>> word_similarities(np.eye(2), [np.eye(2), np.array([[1.0, 0.0]])]).tolist()  # (1 + 1) / 2, (1/2 + 1) / 2
    [1.0, 0.75]

    Args:
        query: Words of the sentence (words, dim), of length 1.
        keys: Words of each other sentence.

    Returns:
        Similarities (keys,).
    """
    lengths = np.array([len(key) for key in keys])
    starts = np.cumsum(lengths) - lengths
    cosines = query @ np.concatenate(keys).T  # (words of the query, words of all keys)
    forward = np.maximum.reduceat(cosines, starts, axis=1).mean(0)
    backward = np.add.reduceat(cosines.max(0), starts) / lengths
    return (forward + backward) / 2


def by_words(found: Neighbours, queries: WordStates, keys: WordStates) -> Neighbours:
    """The same neighbours by their similarity word by word, best first.

    Args:
        found: Nearest keys of every query.
        queries: Words of the queries.
        keys: Words of the keys.

    Returns:
        The neighbours; `cosines` are similarities.
    """
    similarities = np.full(found.rows.shape, -np.inf, np.float32)
    for query, rows in enumerate(tqdm(found.rows, "comparing words", unit=" texts", disable=None)):
        there = rows >= 0
        if there.any():
            similarities[query, there] = word_similarities(queries.of(query), [keys.of(row) for row in rows[there]])
    return reordered(Neighbours(similarities, found.rows))


def reordered(found: Neighbours) -> Neighbours:
    """Neighbours, best first."""
    order = np.argsort(-found.cosines, axis=1, kind="stable")
    return Neighbours(*(np.take_along_axis(each, order, 1) for each in found))
