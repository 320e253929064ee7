"""The attention fusion module (AFM) of multi_level_alignment.txt, and the language states that feed it."""

import math

import torch
from torch import Tensor, nn

ACTIVATIONS = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "gelu": nn.functional.gelu, "identity": nn.Identity()}


class FusionLinear(nn.Linear):
    """The W and b of eq. 6; a class of its own, so that the model's initialisation can tell it from other layers."""

    def __init__(self, hidden_size: int, starts_at_zero: bool):
        super().__init__(2 * hidden_size, hidden_size)
        self.starts_at_zero = starts_at_zero


class AttentionFusion(nn.Module):
    """Attend over context vectors and fold the result into the query (eq. 4-6).

    Eq. 6 as printed, `sigmoid(W[query; mixed] + b)`, makes random sentences nearly parallel; the default adds
    `tanh(W[query; mixed] + b)` to the query and starts at W = 0, which is the identity (ours).
    """

    def __init__(self, hidden_size: int, activation: str = "tanh", residual: bool = True, tau: float | None = None):
        super().__init__()
        self.dense = FusionLinear(hidden_size, starts_at_zero=residual)
        self.activation = ACTIVATIONS[activation]
        self.residual = residual
        self.tau = tau or math.sqrt(hidden_size)

    def weights(self, query: Tensor, context: Tensor) -> Tensor:
        """How much each state attends to each context (eq. 4): (batch, words, contexts), 1 over the contexts."""
        scores = query @ context.transpose(1, 2) / self.tau
        return scores.float().softmax(-1).to(context.dtype)

    def forward(self, query: Tensor, context: Tensor) -> Tensor:
        """Fuse.

        Args:
            query: States (batch, words, dim).
            context: What they attend over (batch, contexts, dim).

        Returns:
            The fused states (batch, words, dim).
        """
        mixed = self.weights(query, context) @ context  # (batch, words, dim), eq. 5
        update = self.activation(self.dense(torch.cat([query, mixed], -1)))  # eq. 6
        return query + update if self.residual else update


class LanguageStates(nn.Module):
    """What the model knows of each language: an embedding, and the running mean of its language states.

    Row 0 is the unknown language. The means are persistent buffers that never carry gradient; they are updated
    after the optimiser's step and never inside `forward`.
    """

    window = 4096  # rows after which an average forgets
    mean: Tensor
    count: Tensor

    def __init__(self, num_languages: int, embedding_dim: int, hidden_size: int):
        super().__init__()
        self.embedding = nn.Embedding(num_languages + 1, embedding_dim)
        self.register_buffer("mean", torch.zeros(num_languages + 1, hidden_size))
        self.register_buffer("count", torch.zeros(num_languages + 1))

    @torch.no_grad()
    def update(self, total: Tensor, count: Tensor) -> None:
        """Move the running means by sums over rows, gathered over all processes (ours).

        Args:
            total: Sum of the language states seen, by language (languages + 1, dim).
            count: How many were seen (languages + 1,).
        """
        seen = torch.minimum(self.count + count, count.clamp(min=self.window))  # never forget faster than count
        rate = (count / seen.clamp(min=1)).unsqueeze(1)
        self.mean.lerp_((total / count.clamp(min=1).unsqueeze(1)).to(self.mean.dtype), rate.to(self.mean.dtype))
        self.count.copy_(seen)
