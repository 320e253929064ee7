"""A sentence should predict the words of its translation (multi_level_alignment.txt eq. 13).

KL(p_true || q): p_true are the token frequencies of a sentence, q is what its translation predicts. The paper leaves
two things open. How much is smoothed: 1 for each of 250,002 tokens would leave less than 0.01 % of the mass to a
sentence of 20, so the default is 1e-5. And q: from one state per sentence (`word_distribution`, ours), or the mean of
what its positions predict (`word_distribution_per_token`).

Both directions go into one call: the states of sources and targets one below the other, and `token_rows` that give
each side the tokens of the other. Eq. 13 is then the result times the number of rows.
"""

import math
from bisect import bisect_right
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import Linear

from .vocabulary import Score, TokenTargets, chunk_sizes, cross_entropy_score, vocabulary_loss


def word_distribution(
    states: Tensor,
    decoder: Linear,
    tokens: Tensor,
    token_rows: Tensor,
    alpha: float = 1e-5,
    special: Tensor | None = None,
    weights: Tensor | None = None,
    chunk: int | None = None,
) -> Tensor:
    """KL divergence from token frequencies to the softmax of one state per sentence, such as its mean word state.

    Args:
        states: Sentence states, ready for the decoder (rows, embedding_dim).
        decoder: Gives logits over the vocabulary (rows, vocab).
        tokens: Tokens to be predicted, of all rows, repeated as often as they occur (tokens,).
        token_rows: Which row each is to be predicted by (tokens,).
        alpha: Laplace smoothing: what each token of the vocabulary counts besides its occurrences.
        special: Ids whose occurrences don't count (ids,). They are smoothed like all others, so that p_true and q have
            one support.
        weights: How much each row counts, of mean 1 over all processes (rows,); all alike unless given.
        chunk: Rows in a chunk; 2^26 logits' worth unless given.

    Returns:
        The mean over rows, a scalar in fp32; a row without a token counts as 0.

    Example:
        >>> uniform, zeros = Linear(4, 8, bias=False), torch.zeros(1, 4)
        >>> round(word_distribution(zeros, uniform, torch.tensor([1, 2]), torch.tensor([0, 0]), alpha=0).item(), 4)
        1.3863
    """
    targets = smoothed_frequencies(tokens, token_rows, len(states), decoder.out_features, alpha, special)
    sizes = chunk_sizes(len(states), decoder.out_features, chunk)
    score = cross_entropy_score(targets.scaled(weights))
    cross_entropy = vocabulary_loss(states, decoder, score, sizes)
    return (cross_entropy - entropy(targets, decoder.out_features, weights)) / max(len(states), 1)


def word_distribution_per_token(
    states: Tensor,
    decoder: Linear,
    state_rows: Tensor,
    tokens: Tensor,
    token_rows: Tensor,
    alpha: float = 1e-5,
    special: Tensor | None = None,
    weights: Tensor | None = None,
    chunk: int | None = None,
) -> Tensor:
    """KL divergence from token frequencies to the mean of the softmaxes at a sentence's positions.

    Args:
        states: Word states, ready for the decoder, sentence after sentence (positions, embedding_dim).
        decoder: Gives logits over the vocabulary (positions, vocab).
        state_rows: Sentence of each position, rising (positions,).
        tokens: Tokens to be predicted, of all rows, repeated as often as they occur (tokens,).
        token_rows: Which sentence each is to be predicted by (tokens,).
        alpha: Laplace smoothing.
        special: Ids whose occurrences don't count (ids,).
        weights: How much each row counts, of mean 1 over all processes (rows,); all alike unless given.
        chunk: Positions in a chunk of whole sentences; 2^26 logits' worth unless given. A longer sentence is a chunk
            of its own.

    Returns:
        The mean over rows, a scalar in fp32; a row without a token or without a position counts as 0.

    Example:
        >>> uniform, zeros, row = Linear(4, 8, bias=False), torch.zeros(3, 4), torch.tensor([0, 0, 0])
        >>> round(word_distribution_per_token(zeros, uniform, row, torch.tensor([1]), row[:1], alpha=0).item(), 4)
        2.0794
    """
    positions = state_rows.bincount(minlength=int(token_rows.max()) + 1 if len(token_rows) else 0)
    readable, lengths = positions[token_rows] > 0, positions.tolist()
    tokens, token_rows = tokens[readable], token_rows[readable]
    targets = smoothed_frequencies(tokens, token_rows, len(lengths), decoder.out_features, alpha, special)
    sizes = whole_sentences(lengths, max(chunk_sizes(len(states), decoder.out_features, chunk), default=0))
    score = _mean_score(targets.scaled(weights), lengths)
    cross_entropy = vocabulary_loss(states, decoder, score, sizes)
    return (cross_entropy - entropy(targets, decoder.out_features, weights)) / max(len(lengths), 1)


def smoothed_frequencies(
    tokens: Tensor, token_rows: Tensor, rows: int, vocab: int, alpha: float, special: Tensor | None = None
) -> TokenTargets:
    """p_true of eq. 13: (count + alpha) / (tokens of the row + alpha vocab); a row without a token has none.

    Args:
        tokens: All rows' tokens (tokens,).
        token_rows: Row of each (tokens,).
        rows: How many rows there are.
        vocab: Tokens of the vocabulary.
        alpha: Laplace smoothing.
        special: Ids that are not counted (ids,).

    Returns:
        Weights at the tokens that occur, each once in a row, and the floor by smoothing.
    """
    if special is not None:
        counted = ~torch.isin(tokens, special)
        tokens, token_rows = tokens[counted], token_rows[counted]
    found, counts = torch.unique(token_rows * vocab + tokens, return_counts=True)  # sorted by row
    found_rows, lengths = found // vocab, token_rows.bincount(minlength=rows).float()
    mass = lengths + alpha * vocab
    floor = torch.where(lengths > 0, alpha / mass, 0.0)
    return TokenTargets(found_rows, found % vocab, counts / mass[found_rows], floor)


def entropy(targets: TokenTargets, vocab: int, weights: Tensor | None = None) -> Tensor:
    """Sum over rows, by weights (rows,) if given, of the entropy of the targets, each token of a row named once."""
    floor = targets.floor[targets.rows]
    above = targets.weights + floor
    rows = -vocab * targets.floor.xlogy(targets.floor)
    rows = rows.index_add(0, targets.rows, floor.xlogy(floor) - above.xlogy(above))
    return rows.sum() if weights is None else (weights * rows).sum()


def whole_sentences(lengths: list[int], most: int) -> list[int]:
    """Group consecutive sentences.

    Args:
        lengths: Positions of each sentence.
        most: Positions in a group, unless one sentence alone has more.

    Returns:
        Positions of each group.

    Example:
        >>> whole_sentences([3, 2, 9, 1], most=5)
        [5, 9, 1]
    """
    sizes = []
    for length in filter(None, lengths):
        if sizes and sizes[-1] + length <= most:
            sizes[-1] += length
        else:
            sizes.append(length)
    return sizes


def _mean_score(targets: TokenTargets, lengths: list[int]) -> Score:
    """Cross-entropy from targets to the mean softmax of each sentence, summed over sentences."""
    ends = list(accumulate(lengths))

    def score(logits: Tensor, first: int) -> Tensor:
        rows = range(bisect_right(ends, first), bisect_right(ends, first + len(logits)))
        sentences = logits.split(lengths[rows.start : rows.stop])
        losses = [
            _mean_cross_entropy_(part, targets.part(row, 1))
            for row, part in zip(rows, sentences, strict=True)
            if len(part) > 0
        ]
        return torch.stack(losses).sum()

    return score


def _mean_cross_entropy_(logits: Tensor, targets: TokenTargets) -> Tensor:
    """Cross-entropy to one sentence's mean softmax; its logits (positions, vocab) become their gradient.

    With shares r_iv = p_iv / sum_j p_jv, the gradient at log p_iv is -target_v r_iv. Logarithms throughout, so that a
    token that no position gives a probability above fp32's least still has a finite loss.
    """
    log_p = logits.float().log_softmax(1)
    log_q = log_p.logsumexp(0)
    target = targets.floor.expand(logits.shape[1]).index_add(0, targets.tokens, targets.weights)
    loss = target.sum() * math.log(len(logits)) - (target * log_q).sum()
    gradient = log_p.sub(log_q).exp_().mul_(-target)
    logits.copy_(gradient.sub_(log_p.exp_().mul_(gradient.sum(1, keepdim=True))))
    return loss
