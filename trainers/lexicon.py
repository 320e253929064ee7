"""Word embeddings that start where those of their translations are, told by which words go together in the pairs.

Ours. An encoder that saw each language alone has put its words anywhere, and contrast moves them one batch after
another: in a short run most words of most languages are hardly ever seen. What the pairs say about words can be
counted in seconds, for all of them, before the first step.
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from xling_align.eval.encoding import TextEncoder, has_fast_bf16
from xling_align.eval.metrics.retrieval import retrieval_scores
from xling_align.modeling_xling import XLingAlignModel

from .data.tokenized import TokenizedPairs

logger = logging.getLogger("xling_align")

SAMPLE = 1_000  # pairs that are held against one another, of all languages
LEFT = 5  # of as many pairs one is in the sample at most
MOST_PAIRS = 200_000  # of a language pair that are counted
PART = 20_000  # pairs counted at a time
FEWEST = 2  # pairs that two words have to share
LEAST = 0.03  # association of two words that are taken for translations
CERTAIN = 0.15  # association from which on a word takes its translations' place altogether
SHARPNESS = 4  # power of the association, so that the best translation outweighs the many that come along with it


def start_words(
    model: XLingAlignModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: TokenizedPairs,
    languages: Sequence[str] | None = None,
) -> None:
    """Move the words of a plain encoder to their translations, unless fewer pairs find each other then.

    An encoder that has seen much knows better where its words belong than counts do. A sample of the pairs tells, by
    words that were counted in the others; then all are counted.

    Args:
        model: With one encoder.
        tokenizer: Its tokenizer.
        pairs: Token ids; a text's first and last token are special ones.
        languages: Codes of those whose words move, and whose pairs decide; all but the source language unless given.
    """
    sample = sampled(pairs, None if languages is None else [model.config.language_id(code) for code in languages])
    others = np.setdiff1d(np.arange(len(pairs)), np.concatenate(sample))
    words, places = translated(model, pairs.take(others), tokenizer.all_special_ids, languages)
    if not len(words):
        return
    table = model.get_input_embeddings().weight.data
    own, before = table[words].clone(), found_share(model, tokenizer, pairs, sample)
    table[words] = places
    after = found_share(model, tokenizer, pairs, sample)
    table[words] = own
    logger.info("of a sample of the pairs %.1f %% find each other, %.1f %% before", 100 * after, 100 * before)
    if after < before:
        logger.warning("the words stay where the encoder has them, since more pairs find each other there")
    else:
        start_from_translations(model, pairs, tokenizer.all_special_ids, languages)


def sampled(pairs: TokenizedPairs, languages: Sequence[int] | None = None) -> list[np.ndarray]:
    """Numbers of some pairs of each pair of languages, or of those with given ones: a thousand, a fifth at most."""
    chosen = pairs.groups
    if languages is not None:
        chosen = chosen[np.isin(pairs.languages.reshape(-1, 2), languages).any(1)]
    groups = np.unique(chosen)
    rows = (np.flatnonzero(pairs.groups == group) for group in groups)
    return [own[:: max(-(-len(own) // max(SAMPLE // len(groups), 2)), LEFT)] for own in rows]


def found_share(
    model: XLingAlignModel, tokenizer: PreTrainedTokenizerBase, pairs: TokenizedPairs, sample: list[np.ndarray]
) -> float:
    """How many of a sample's translations are the nearest: the mean over the language pairs and both directions."""
    encode = TextEncoder(model, tokenizer, "cls", normalize=True, bf16=has_fast_bf16())
    scores = []
    for rows in sample:
        vectors = []
        for texts in (2 * rows, 2 * rows + 1):
            ids = [pairs.text(text).tolist() for text in texts]
            code = model.config.languages[pairs.languages[texts[0]] - 1]
            vectors.append(encode(tokenizer.batch_decode(ids, skip_special_tokens=True), code))
        scores.append(retrieval_scores(*vectors)["accuracy"])
    return float(np.mean(scores))


def start_from_translations(
    model: XLingAlignModel, pairs: TokenizedPairs, special: Sequence[int] = (), languages: Sequence[str] | None = None
) -> None:
    """Move the word embeddings of languages to those of their translations, in place; see `translated`.

    Args:
        model: As `translated`.
        pairs: As `translated`.
        special: As `translated`.
        languages: As `translated`.
    """
    words, places = translated(model, pairs, special, languages)
    model.get_input_embeddings().weight.data[words] = places
    logger.info("%d words start at their translations", len(words))


def translated(
    model: XLingAlignModel, pairs: TokenizedPairs, special: Sequence[int] = (), languages: Sequence[str] | None = None
) -> tuple[np.ndarray, Tensor]:
    """Words of languages that have translations in the source language, and where these are.

    The words of each language pair are held against those of the source language: their association is the Dice
    coefficient of the pairs that they occur in, of as many shared pairs as there are beyond chance. A word's place is
    the mean of its translations, by association to the fourth power and by frequency over the languages, in the
    length that it has; with little association it is only part of the way. Words that the source language uses most
    stay, and those that a language which is not to move uses more.

    Args:
        model: With word embeddings (vocab, dim). Those of a dual encoder stay: its towers have no space in common.
        pairs: Token ids; a text's first and last token are special ones.
        special: Ids that stay where they are, such as that of unknown words.
        languages: Codes of those whose words move; all but the source language unless given.

    Returns:
        Ids (words,) and embeddings (words, dim); none, with a warning, where all stay.
    """
    table = model.get_input_embeddings().weight.detach()
    if len(model.towers) > 1:
        logger.warning("the words of a dual encoder start where they are: its towers have no space in common")
        return np.zeros(0, int), table[:0]
    ids = None if languages is None else [model.config.language_id(code) for code in languages]
    source = model.config.language_id(model.config.source_language)
    translations, certainty = lexicon(pairs, source, len(table), ids)
    certainty[list(special)] = 0
    words = np.flatnonzero(certainty)
    if not len(words):
        logger.warning("no word goes together with one of %r: all start where they are", model.config.source_language)
        return words, table[:0]
    own = table[words].float()
    means = torch.from_numpy(translations[words] @ table.float().cpu().numpy()).to(own)
    means *= (own.norm(dim=1) / means.norm(dim=1).clamp(min=1e-12)).unsqueeze(1)
    return words, own.lerp(means, torch.from_numpy(certainty[words]).to(own).unsqueeze(1)).to(table)


def lexicon(
    pairs: TokenizedPairs, source: int, vocab: int, languages: Sequence[int] | None = None
) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Which words of the source language translate each word.

    Args:
        pairs: Token ids.
        source: The source language's row.
        vocab: Words of the vocabulary.
        languages: Rows of those whose words are translated; all others unless given.

    Returns:
        Weights of its translations by word, which sum to 1 (vocab, vocab), and how certain they are, from 0 to 1
        (vocab,): 0 for a word that has none, that the source language uses as often, or that one of the languages
        left out uses in a larger share of its texts.
    """
    weights, best = sparse.csr_matrix((vocab, vocab), dtype=np.float32), np.zeros(vocab, np.float32)
    uses, shares = np.zeros((2, vocab)), np.zeros((2, vocab))  # by who stays, by who moves
    for group in np.unique(pairs.groups):
        rows = np.flatnonzero(pairs.groups == group)
        sides = pairs.languages[2 * rows[0] : 2 * rows[0] + 2]
        if (sides == source).sum() != 1:
            continue
        rows = rows[:: -(-len(rows) // MOST_PAIRS)]
        side = int(sides[0] == source)  # of the other language
        own, other = (occurrences(pairs, 2 * rows + each, vocab) for each in (1 - side, side))
        counts = np.stack([np.asarray(each.sum(0)).ravel() for each in (own, other)])
        moves = languages is None or sides[side] in languages
        shares[int(moves)] = np.maximum(shares[int(moves)], counts[1] / len(rows))
        if not moves:
            continue
        uses += counts
        words, partners, association = associations(own, other, *counts)
        np.maximum.at(best, words, association)
        weights = weights + sparse.csr_matrix(
            (association**SHARPNESS * counts[1][words], (words, partners)), shape=(vocab, vocab), dtype=np.float32
        )
    totals = np.asarray(weights.sum(1)).ravel()
    means: Any = sparse.diags(np.divide(1, totals, out=np.zeros_like(totals), where=totals > 0)) @ weights
    moved = (uses[1] > uses[0]) & (shares[1] >= shares[0])
    return means.tocsr(), np.where(moved, np.minimum(best / CERTAIN, 1), 0).astype(np.float32)


def occurrences(pairs: TokenizedPairs, texts: np.ndarray, vocab: int) -> sparse.csr_matrix:
    """Which words are in which texts, special tokens left out (texts, vocab)."""
    found = [pairs.words(text) for text in texts]
    ends = np.cumsum([0, *map(len, found)])
    words = np.concatenate(found)
    return sparse.csr_matrix((np.ones(len(words), np.float32), words, ends), shape=(len(texts), vocab))


def associations(
    own: sparse.csr_matrix,
    other: sparse.csr_matrix,
    own_counts: np.ndarray,
    other_counts: np.ndarray,
    shrink: float = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Words that go together beyond chance: 2 (c - n_s n_t / n) / (n_s + n_t + shrink), sharing c pairs of n.

    Args:
        own: Words of the source language by pair (pairs, vocab).
        other: Words of the other language by pair (pairs, vocab).
        own_counts: Pairs of each word of the source language (vocab,).
        other_counts: Pairs of each word of the other language (vocab,).
        shrink: Pairs that it is held against besides.

    Returns:
        Word of the other language, word of the source language, association; all (combinations,).
    """
    size, vocab = own.get_shape()
    together: Any = sparse.csr_matrix((vocab, vocab), dtype=np.float32)
    for start in range(0, size, PART):
        together = together + other[start : start + PART].T @ own[start : start + PART]
    words, partners, shared = sparse.find(together)
    often = shared >= FEWEST
    words, partners, shared = words[often], partners[often], shared[often]
    chance = own_counts[partners] * other_counts[words] / size
    association = 2 * (shared - chance) / (own_counts[partners] + other_counts[words] + shrink)
    found = association >= LEAST
    return words[found], partners[found], association[found].astype(np.float32)
