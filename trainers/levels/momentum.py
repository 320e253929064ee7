"""Momentum contrast: translations told from a queue of earlier sentences (InfoXLM's XlCo, Chi et al. 2021)."""

import torch
from torch import Tensor

from xling_align.modeling_xling import XLingAlignForPreTraining

from ..arguments import XLingAlignTrainingArguments
from ..data.mixup import mix_pairs
from ..distributed import gather
from ..momentum import KeyQueue, MomentumEncoder
from ..objectives import momentum_contrast
from .encoded import Step
from .word import padded


class MomentumContrast:
    """Queries of the encoder against keys of its slow copy, both ways; the queue takes in each step's keys.

    InfoXLM leaves the loss out until its queue is full; here the keys so far serve, from the second step on.

    Args:
        args: `queue_size`, `momentum`, `momentum_tau`, `mixup`.
        model: What is copied.
        cls: Id that starts a text.
        pad: Id that pads.
    """

    def __init__(self, args: XLingAlignTrainingArguments, model: XLingAlignForPreTraining, cls: int | None, pad: int):
        self.args, self.base, self.cls, self.pad = args, model.xling, cls, pad
        config = model.config
        self.encoder = MomentumEncoder(self.base, args.momentum).to(args.device)
        self.queue = KeyQueue(args.queue_size, config.projection_dim or config.hidden_size).to(args.device)

    def __call__(self, step: Step) -> Tensor:
        """The loss of one batch, a scalar."""
        inputs, pair_ids, vectors = step.inputs, step.pair_ids, step.encoded.vectors
        if self.args.mixup:
            inputs, pair_ids = self.mixed(step)
            vectors = self.vectors(step.model(**inputs, fuse_words=False))
        keys = self.vectors(self.encoder(**inputs, fuse_words=False)).float()
        ids = torch.cat([pair_ids, pair_ids])
        negatives, meanings = self.queue.negatives()
        loss = vectors.sum() * 0.0
        if len(negatives):
            known = ids.unsqueeze(1) == meanings.unsqueeze(0)
            partners = keys.roll(len(pair_ids), 0)
            loss = momentum_contrast(vectors.float(), partners, negatives, self.args.momentum_tau, known)
        if step.model.training:
            self.queue.push(gather(keys), gather(ids))
        return loss

    @staticmethod
    def vectors(output) -> Tensor:
        """What is compared (rows, dim)."""
        return output.pooler_output if output.projection is None else output.projection

    def mixed(self, step: Step) -> tuple[dict[str, Tensor], Tensor]:
        """Each two neighbouring pairs joined to one, in random order, and an id for each (mixup contrast)."""
        texts, count = step.texts(), len(step.pair_ids)
        pairs = list(zip(texts[:count], texts[count:], strict=True))
        joined = [
            mix_pairs(pairs[row], pairs[row + 1], torch.default_generator, self.cls) for row in range(0, count - 1, 2)
        ]
        sides = [side for number in (0, 1) for side in (pair[number] for pair in joined)]
        limit = self.base.config.max_position_embeddings
        return padded(sides, self.pad, limit, step.pair_ids.device), step.pair_ids[: 2 * len(joined) : 2]

    def after_step(self) -> None:
        """Let the slow copy follow, after the optimiser's step."""
        self.encoder.update(self.base)

    def state_dict(self) -> dict:
        """Slow copy and queue."""
        return {"encoder": self.encoder.state_dict(), "queue": self.queue.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        """Go on from a state."""
        self.encoder.load_state_dict(state["encoder"])
        self.queue.load_state_dict(state["queue"])
