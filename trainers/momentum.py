"""What momentum contrast remembers: a slow copy of the encoder, and the keys that it made lately (MoCo, InfoXLM)."""

import copy
from typing import Any

import torch
from torch import Tensor, nn


class MomentumEncoder(nn.Module):
    """A copy of a model whose parameters are the exponential moving average of the model's; it never gets a gradient.

    Its state dict is what a resumed run needs. Keep it beside the model, not inside: it stays without dropout.
    """

    def __init__(self, model: nn.Module, decay: float = 0.999):
        super().__init__()
        self.decay = decay
        self.model = copy.deepcopy(model).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move each parameter a share of 1 - decay towards the model's; buffers are taken as they are."""
        own, new = list(self.model.parameters()), list(model.parameters())
        for slow, fast in zip(own, new, strict=True):
            slow.lerp_(fast.to(slow.dtype), 1 - self.decay)
        for slow, fast in zip(self.model.buffers(), model.buffers(), strict=True):
            slow.copy_(fast)

    @torch.no_grad()
    def forward(self, *args, **kwargs) -> Any:
        """What the slow copy gives, without a gradient."""
        return self.model(*args, **kwargs)


class KeyQueue(nn.Module):
    """The last `size` keys, first in, first out, and the meanings they stand for.

    A text without a translation has the id -1, and is a negative of every query.
    """

    vectors: Tensor
    pair_ids: Tensor
    position: Tensor
    filled: Tensor

    def __init__(self, size: int, dim: int):
        super().__init__()
        self.register_buffer("vectors", torch.zeros(size, dim))
        self.register_buffer("pair_ids", torch.full((size,), -1))
        self.register_buffer("position", torch.tensor(0))  # the row that is written next
        self.register_buffer("filled", torch.tensor(0))

    @torch.no_grad()
    def push(self, keys: Tensor, pair_ids: Tensor | None = None) -> None:
        """Add keys in the place of the oldest.

        Args:
            keys: Vectors of the momentum encoder (keys, dim); of more than the queue holds, the last ones stay.
            pair_ids: Their meanings (keys,); -1 unless given.
        """
        size = len(self.vectors)
        if pair_ids is None:
            pair_ids = torch.full((len(keys),), -1, device=keys.device)
        keys, pair_ids = keys[-size:], pair_ids[-size:]
        rows = (self.position + torch.arange(len(keys), device=self.position.device)) % size
        self.vectors[rows] = keys.to(self.vectors)
        self.pair_ids[rows] = pair_ids.to(self.pair_ids)
        self.position.copy_((self.position + len(keys)) % size)
        self.filled.copy_((self.filled + len(keys)).clamp(max=size))

    def negatives(self) -> tuple[Tensor, Tensor]:
        """Copies of the keys so far (filled, dim) and of their meanings (filled,), which no later `push` changes."""
        filled = int(self.filled)
        return self.vectors[:filled].clone(), self.pair_ids[:filled].clone()
