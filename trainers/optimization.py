"""Parameter groups: encoder, word embeddings, heads, discriminator, log-variances, each with its learning rate."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from .arguments import XLingAlignTrainingArguments

HEADS = ("sentence_fusion", "word_fusion", "projection", "lm_head", "language")


def train_only(model: nn.Module, reached: Callable[[str], bool]) -> None:
    """Freeze what no loss reaches, which another trainer of the same model may have frozen or may train later.

    Args:
        model: What the user froze of it stays frozen.
        reached: Whether a loss reaches a parameter, by its name.
    """
    for name, parameter in model.named_parameters():
        trained = parameter.requires_grad or getattr(parameter, "idle", False)
        parameter.idle = trained and not reached(name)  # pyright: ignore[reportAttributeAccessIssue]
        parameter.requires_grad_(trained and reached(name))


def parameter_groups(
    model: nn.Module, args: XLingAlignTrainingArguments, embeddings: Iterable[nn.Parameter], decayed: Iterable[str]
) -> list[dict]:
    """Groups for the optimiser (section 4.1 of multi_level_alignment.txt gives the encoder and the discriminator).

    Args:
        model: Whose parameters are trained.
        args: The learning rates.
        embeddings: The word embeddings.
        decayed: Names of the parameters that decay.

    Returns:
        Groups with `params`, `lr` and `weight_decay`; parameters that are frozen are left out.
    """
    words, decayed = {id(parameter) for parameter in embeddings}, set(decayed)
    groups: dict[tuple[float, float], dict] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        parts = name.split(".")
        rate, decay = args.learning_rate, args.weight_decay if name in decayed else 0.0
        if {"loss_balance", "temperature"} & set(parts):
            rate, decay = args.balance_learning_rate, 0.0
        elif "discriminator" in parts:
            rate = args.discriminator_learning_rate
        elif id(parameter) in words:
            rate, decay = _given(args.embedding_learning_rate, rate), args.weight_decay
        elif any(part in HEADS for part in parts):
            rate = _given(args.head_learning_rate, rate)
        group = groups.setdefault((rate, decay), {"params": [], "lr": rate, "weight_decay": decay})
        group["params"].append(parameter)
    return list(groups.values())


def _given(rate: float | None, otherwise: float) -> float:
    """A learning rate that may be 0, or another where none was given."""
    return otherwise if rate is None else rate


def rate_share(optimizer: Any) -> float:
    """Share of its peak that an optimiser's learning rate has in this step; 1 without an optimiser or a schedule."""
    groups = [] if optimizer is None else optimizer.param_groups
    return next((group["lr"] / group["initial_lr"] for group in groups if group.get("initial_lr")), 1.0)


def couple_moments(optimizer: torch.optim.Optimizer, words: Tensor) -> None:
    """Keep the second moments of all word embeddings one and the same, from the next step on.

    Under a softmax over the vocabulary, Adam moves all rare words in one direction, step by step, until all embeddings
    share it: Coupled Adam (Stollenwerk and Stollenwerk 2025, Better Embeddings with Coupled Adam).

    Args:
        optimizer: An Adam; one without a second moment for each weight, such as Adafactor, is left as it is.
        words: Embeddings (vocab, dim) that also decode.
    """

    @torch.no_grad()
    def couple(*_):
        moments = optimizer.state[words].get("exp_avg_sq") if words in optimizer.state else None
        if moments is not None:  # frozen words have none, nor has Adafactor
            moments.copy_(moments.mean(0, keepdim=True).expand_as(moments))

    optimizer.register_step_post_hook(couple)
