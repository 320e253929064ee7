"""Language states that do not tell the language (multi_level_alignment.txt eq. 1).

All take a discriminator's logits. With `language_cross_entropy` the discriminator learns, and the encoder unlearns
behind a gradient reversal (Ganin and Lempitsky 2015); with `language_confusion` the encoder learns against a
discriminator that stands still. `binary_language_logits` gives either the paper's reading: source or target.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def language_cross_entropy(logits: Tensor, language_ids: Tensor) -> Tensor:
    """Cross-entropy of telling each row's language; with two columns, eq. 1 with its sign turned.

    Args:
        logits: Of a discriminator (rows, languages + 1), or (rows, 2) of `binary_language_logits`.
        language_ids: Column of each row's language (rows,).

    Returns:
        The mean over rows, a scalar in fp32.

    Example:
        >>> round(language_cross_entropy(torch.zeros(3, 4), torch.tensor([1, 2, 3])).item(), 4)  # log 4
        1.3863
    """
    return cross_entropy(logits.float(), language_ids)


def language_confusion(logits: Tensor, allowed: Tensor) -> Tensor:
    """Cross-entropy to the uniform distribution over some languages, less its least value log K (ours).

    That is the KL divergence from the uniform distribution: never negative, which a learned weight needs, and 0 where
    the discriminator finds all allowed languages equally likely and all others impossible.

    Args:
        logits: Of a discriminator (rows, languages + 1).
        allowed: Which K columns are meant, a mask (languages + 1,).

    Returns:
        The mean over rows, a scalar in fp32.

    Example:
        >>> round(language_confusion(torch.zeros(1, 3), torch.tensor([False, True, True])).item(), 4)  # log 3/2
        0.4055
    """
    log_probabilities = logits.float().log_softmax(1)[:, allowed]
    return -log_probabilities.mean() - math.log(log_probabilities.shape[1])


def binary_language_logits(logits: Tensor, source_row: int) -> Tensor:
    """Fold the logits of all languages into those of the source language and of any other (ours).

    Args:
        logits: (rows, languages + 1).
        source_row: Column of the source language.

    Returns:
        Logits (rows, 2) in fp32 of the same probabilities; column 0 is the source.

    Example:
        >>> [round(logit, 4) for logit in binary_language_logits(torch.zeros(1, 4), source_row=1)[0].tolist()]  # log 3
        [0.0, 1.0986]
    """
    logits = logits.float()
    others = [column for column in range(logits.shape[1]) if column != source_row]
    return torch.stack([logits[:, source_row], logits[:, others].logsumexp(1)], 1)


def reversal_strength(progress: float) -> float:
    """How much of the gradient is reversed, by share of the training done (Ganin and Lempitsky 2015).

    Args:
        progress: From 0 to 1.

    Returns:
        2 / (1 + exp(-10 progress)) - 1, from 0 to nearly 1.

    Example:
        >>> reversal_strength(0.0), round(reversal_strength(1.0), 4)
        (0.0, 0.9999)
    """
    return 2 / (1 + math.exp(-10 * progress)) - 1
