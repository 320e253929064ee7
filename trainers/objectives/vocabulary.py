"""Losses of logits over a vocabulary that never hold more logits than those of one chunk of rows (ours).

A naive cross-entropy keeps three matrices (rows, vocab) in fp32: 3 GB for 1,000 rows of XLM-R's 250,002 tokens. Here

- rows are scored chunk by chunk in one buffer, in which each chunk's logits give way to their gradient;
- that gradient is multiplied on at once, so that the backward pass has only to scale what the forward pass found, and
  no logits are computed twice (as in Liger Kernel's fused linear cross-entropy);
- on CPU, a score takes some rows at a time, so that what it copies in fp32 stays in the processor's cache. (Smaller
  steps hold less and gain a few percent on an idle machine, and lose much where other programs share the cores.)

Gradients of weight and bias are summed in fp32, and exist from the forward pass on. Under autocast there is one copy
of the weight in bf16 for as long as the forward pass takes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import Linear

LOGITS = 2**26  # in the buffer: 256 MiB in fp32, 128 MiB in bf16
SCORED = 2**22  # of them in one step of a score on CPU, which copies them in fp32
COLUMNS = 2**14  # of the vocabulary in one step of the weight's gradient, which copies a bf16 product in fp32

Score = Callable[[Tensor, int], Tensor]


def vocabulary_loss(states: Tensor, decoder: Linear, score: Score, sizes: list[int]) -> Tensor:
    """Sum of a score over the logits of all rows, differentiable once in states, weight and bias.

    Args:
        states: What the decoder takes (rows, dim).
        decoder: Gives logits (rows, vocab).
        score: Takes logits (some rows, vocab) and the number of their first row, writes over the logits their
            gradient, and returns their share of the loss.
        sizes: How many rows are scored together, from the first on.

    Returns:
        A scalar in fp32.
    """
    with_grad = torch.is_grad_enabled()
    return _Chunked.apply(states, decoder.weight, decoder.bias, score, sizes, with_grad)  # pyright: ignore[reportReturnType]


def chunk_sizes(rows: int, vocab: int, chunk: int | None = None) -> list[int]:
    """Cut rows into chunks.

    Args:
        rows: How many there are.
        vocab: Logits of a row.
        chunk: Rows in a chunk; as many as `LOGITS` holds unless given.

    Returns:
        Rows of each chunk.
    """
    chunk = chunk or max(1, LOGITS // vocab)
    return [min(chunk, rows - first) for first in range(0, rows, chunk)]


class _Chunked(torch.autograd.Function):
    """The work of `vocabulary_loss`."""

    @staticmethod
    def forward(ctx, states, weight, bias, score, sizes, with_grad):  # pyright: ignore[reportIncompatibleMethodOverride]
        kind = states.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
        wanted = [with_grad and need for need in ctx.needs_input_grad[:3]]
        with torch.autocast(kind, enabled=False):
            loss, gradients = _loss_and_gradients(states.to(dtype), weight, bias, score, sizes, wanted)
        ctx.save_for_backward(*gradients)
        ctx.dtypes = states.dtype, weight.dtype, None if bias is None else bias.dtype
        return loss

    @staticmethod
    def backward(ctx, grad):  # pyright: ignore[reportIncompatibleMethodOverride]
        scale = torch.Tensor.mul if _graph_is_kept() else torch.Tensor.mul_
        scaled = [
            None if gradient is None else scale(gradient, grad).to(dtype)
            for gradient, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        ]
        return *scaled, None, None, None


def _graph_is_kept() -> bool:
    """Whether the running backward pass may come again; if torch does not tell, it may."""
    return getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", lambda: True)()  # pyright: ignore


def _loss_and_gradients(
    states: Tensor, weight: Tensor, bias: Tensor | None, score: Score, sizes: list[int], wanted: list[bool]
) -> tuple[Tensor, list[Tensor | None]]:
    """The loss, and its fp32 gradients to those of states, weight and bias that are wanted."""
    inputs = (states, weight, bias)
    gradients = [
        torch.zeros_like(tensor, dtype=torch.float32) if want and tensor is not None else None
        for tensor, want in zip(inputs, wanted, strict=True)
    ]
    loss = torch.zeros((), device=states.device)
    weight, bias = weight.to(states.dtype), None if bias is None else bias.to(states.dtype)
    buffer = states.new_empty(max(sizes, default=0) * len(weight))
    for first, size in zip(accumulate(sizes, initial=0), sizes, strict=False):
        rows = slice(first, first + size)
        logits = buffer[: size * len(weight)].view(size, len(weight))
        _project(states[rows], weight, bias, logits)
        loss += score(logits, first)
        _add_gradients(logits, states[rows], weight, rows, gradients)
    return loss, gradients


def _project(states: Tensor, weight: Tensor, bias: Tensor | None, logits: Tensor) -> None:
    """Write the logits (rows, vocab) of states (rows, dim)."""
    if bias is None:
        torch.mm(states, weight.T, out=logits)
    else:
        torch.addmm(bias, states, weight.T, out=logits)


def _add_gradients(
    logit_gradient: Tensor, states: Tensor, weight: Tensor, rows: slice, gradients: list[Tensor | None]
) -> None:
    """Multiply the gradient of logits (rows, vocab) on to states, weight and bias."""
    to_states, to_weight, to_bias = gradients
    if to_states is not None:
        to_states[rows] = logit_gradient @ weight
    if to_weight is not None:
        _add_product(to_weight, logit_gradient.T, states)
    if to_bias is not None:  # as a product, since a sum would copy bf16 in fp32
        to_bias += (logit_gradient.T @ states.new_ones(len(states), 1)).squeeze(1)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add the product of (vocab, rows) and (rows, dim) to an fp32 total (vocab, dim)."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
        return
    product, in_fp32 = right.new_empty(COLUMNS, total.shape[1]), total.new_empty(COLUMNS, total.shape[1])
    for some, of_left in zip(total.split(COLUMNS), left.split(COLUMNS), strict=True):
        torch.mm(of_left, right, out=product[: len(some)])
        some += in_fp32[: len(some)].copy_(product[: len(some)])  # added as they are, both would be copied anew


@dataclass(frozen=True)
class TokenTargets:
    """A distribution over the vocabulary for each row: weights at a few tokens, on top of a floor at all.

    Attributes:
        rows: Row of each weight, rising (weights,).
        tokens: Its token (weights,).
        weights: What the token has above the floor (weights,).
        floor: What every token of a row has (rows,).
        smoothed: Whether a floor may be above 0, or a row's sum other than 1.
    """

    rows: Tensor
    tokens: Tensor
    weights: Tensor
    floor: Tensor
    smoothed: bool = True

    def part(self, first: int, count: int) -> "TokenTargets":
        """Those of some consecutive rows, numbered from 0."""
        start, end = torch.searchsorted(self.rows, self.rows.new_tensor([first, first + count])).tolist()
        rows, tokens, weights = self.rows[start:end], self.tokens[start:end], self.weights[start:end]
        return TokenTargets(rows - first, tokens, weights, self.floor[first : first + count], self.smoothed)

    def scaled(self, factors: Tensor | None) -> "TokenTargets":
        """Each row multiplied by a factor of its own (rows,); as they are without factors."""
        if factors is None:
            return self
        factors = factors.to(self.floor)
        return TokenTargets(self.rows, self.tokens, self.weights * factors[self.rows], self.floor * factors)

    def mass(self, vocab: int) -> Tensor:
        """Sum over the vocabulary (rows,)."""
        return (vocab * self.floor).index_add(0, self.rows, self.weights)


def cross_entropy_score(targets: TokenTargets) -> Score:
    """Cross-entropy from targets to the softmax of logits, summed over rows, for `vocabulary_loss`."""

    def score(logits: Tensor, first: int) -> Tensor:
        step = max(1, SCORED // logits.shape[1]) if logits.device.type == "cpu" else len(logits)
        copies = torch.empty(2, min(step, len(logits)), logits.shape[1], device=logits.device)  # made once, used often
        losses = [
            _cross_entropy_(part, targets.part(first + step * number, len(part)), copies[:, : len(part)])
            for number, part in enumerate(logits.split(step))
        ]
        return torch.stack(losses).sum()

    return score


def _cross_entropy_(logits: Tensor, targets: TokenTargets, copies: Tensor) -> Tensor:
    """Cross-entropy summed over rows; the logits (rows, vocab) become softmax times mass, less target.

    The two fp32 copies (2, rows, vocab) are room to work in.
    """
    in_fp32 = logits if logits.dtype == torch.float32 else copies[0].copy_(logits)
    log_q = torch.log_softmax(in_fp32, 1, out=copies[1])
    at = targets.rows, targets.tokens
    loss = -(targets.weights * log_q[at]).sum()
    if targets.smoothed:
        loss -= (targets.floor * log_q.sum(1)).sum()
    gradient = log_q.exp_()
    if targets.smoothed:
        mass = targets.mass(logits.shape[1])
        torch.addcmul(-targets.floor.unsqueeze(1), gradient, mass.unsqueeze(1), out=gradient)
    logits.copy_(gradient.index_put_(at, -targets.weights, accumulate=True))
    return loss
