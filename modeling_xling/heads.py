"""The heads that stand on the representations: projection, language discriminator, masked language model."""

import torch
from torch import Tensor, nn


class ProjectionHead(nn.Module):
    """Two-layer projection of the sentence vector, used while training (contrastive_alignment_review.txt, 2.3)."""

    def __init__(self, hidden_size: int, projection_dim: int):
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.out = nn.Linear(hidden_size, projection_dim)

    def forward(self, hidden: Tensor) -> Tensor:
        """Project (batch, dim) to (batch, projection_dim)."""
        return self.out(nn.functional.gelu(self.dense(hidden)))


class GradientReversal(torch.autograd.Function):
    """The identity forward, minus `scale` times the gradient backward (Ganin and Lempitsky 2015)."""

    @staticmethod
    def forward(ctx, hidden: Tensor, scale: float) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Pass the states on, remembering the scale."""
        ctx.scale = scale
        return hidden.view_as(hidden)

    @staticmethod
    def backward(ctx, grad: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        """Turn the gradient round."""
        return -ctx.scale * grad, None


class LanguageDiscriminator(nn.Module):
    """MLP that tells the language of a language state (the f_D of eq. 1), behind a gradient reversal.

    Row 0 stands for the unknown language, as in the language embeddings, so that ids serve as labels.
    """

    def __init__(self, hidden_size: int, num_languages: int):
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.out = nn.Linear(hidden_size, num_languages + 1)

    def forward(self, language_state: Tensor, reversal: float = 1.0) -> Tensor:
        """Language logits.

        Args:
            language_state: (batch, dim).
            reversal: What the gradient that goes back to the states is multiplied by, before its sign is turned.

        Returns:
            Logits (batch, languages + 1).
        """
        hidden = GradientReversal.apply(language_state, reversal)
        return self.out(nn.functional.gelu(self.dense(hidden)))


class MaskedLMHead(nn.Module):
    """Transform and decoder over the vocabulary; the decoder shares the word embeddings.

    The bias holds how frequent each token is, which otherwise the embeddings must.
    """

    def __init__(self, hidden_size: int, embedding_dim: int, vocab_size: int):
        super().__init__()
        self.dense = nn.Linear(hidden_size, embedding_dim)
        self.norm = nn.LayerNorm(embedding_dim)
        self.decoder = nn.Linear(embedding_dim, vocab_size)

    def transform(self, hidden: Tensor) -> Tensor:
        """States (..., dim) ready for the decoder (..., embedding_dim)."""
        return self.norm(nn.functional.gelu(self.dense(hidden)))

    def forward(self, hidden: Tensor) -> Tensor:
        """Vocabulary logits (..., vocab) of states (..., dim)."""
        return self.decoder(self.transform(hidden))
