"""Momentum contrast: translations told from a queue of earlier sentences (InfoXLM's XlCo, Chi et al. 2021)."""

import torch
from torch import Tensor

from xling_align.modeling_xling import XLingAlignForPreTraining

from ..arguments import XLingAlignTrainingArguments
from ..data.mixup import mix_pairs
from ..data.monolingual import MonolingualTexts
from ..distributed import gather, process_count, rank, with_mean_one
from ..momentum import KeyQueue, MomentumEncoder
from ..objectives import momentum_contrast
from .encoded import Step
from .word import padded


class MomentumContrast:
    """Queries of the encoder against keys of its slow copy, both ways; the queue takes in each step's keys.

    InfoXLM leaves the loss out until its queue is full; here the keys so far serve, from the second step on. Single
    sentences, if there are any, follow each step's keys into the queue.

    Args:
        args: `queue_size`, `momentum`, `momentum_tau`, `mixup`, `hard_negatives`, `hard_margin`, `monolingual_share`.
        model: What is copied.
        cls: Id that starts a text.
        pad: Id that pads.
        texts: Single sentences.
    """

    def __init__(
        self,
        args: XLingAlignTrainingArguments,
        model: XLingAlignForPreTraining,
        cls: int | None,
        pad: int,
        texts: MonolingualTexts | None = None,
    ):
        self.args, self.base, self.cls, self.pad, self.texts = args, model.xling, cls, pad, texts
        self.texts_seen = 0  # by all processes
        config = model.config
        self.encoder = MomentumEncoder(self.base, args.momentum).to(args.device)
        self.queue = KeyQueue(args.queue_size, config.projection_dim or config.hidden_size).to(args.device)

    def __call__(self, step: Step) -> Tensor:
        """The loss of one batch, a scalar."""
        inputs, pair_ids, weights, vectors = step.inputs, step.pair_ids, step.weights, step.encoded.vectors
        if self.args.mixup and len(pair_ids) > 1:  # an evaluation may have one pair for each process
            inputs, pair_ids, weights = self.mixed(step)
            vectors = self.vectors(step.model(**inputs, fuse_words=False))
        keys = self.vectors(self.encoder(**inputs, fuse_words=False)).float()
        ids = torch.cat([pair_ids, pair_ids])
        negatives, meanings = self.queue.negatives()
        loss = vectors.sum() * 0.0
        if len(negatives):
            known = ids.unsqueeze(1) == meanings.unsqueeze(0)
            partners = keys.roll(len(pair_ids), 0)
            both = None if weights is None else torch.cat([weights, weights])
            hard = {"hardest": self.args.hard_negatives, "margin": self.args.hard_margin}
            loss = momentum_contrast(
                vectors.float(), partners, negatives, self.args.momentum_tau, known, weights=both, **hard
            )
        if step.model.training:
            rows = torch.arange(len(ids), device=ids.device).view(2, -1).T.flatten()  # by pairs, as on one process
            self.queue.push(gather(keys[rows]), gather(ids[rows]))
            if self.texts is not None:
                self.push_texts(self.texts, max(1, round(self.args.monolingual_share * len(step.pair_ids))))
        return loss

    def push_texts(self, texts: MonolingualTexts, count: int) -> None:
        """Put the next `count` single sentences of each process into the queue."""
        rows = texts.rows(self.texts_seen + rank() * count, count)
        self.texts_seen += process_count() * count
        device = self.queue.vectors.device
        batch = padded([texts.texts.text(row).tolist() for row in rows], self.pad, None, device)
        batch["language_ids"] = torch.from_numpy(texts.languages[rows]).long().to(device)
        keys = self.vectors(self.encoder(**batch, fuse_words=False)).float()
        self.queue.push(gather(keys), gather(torch.from_numpy(texts.ids[rows]).to(device)))

    @staticmethod
    def vectors(output) -> Tensor:
        """What is compared (rows, dim)."""
        return output.pooler_output if output.projection is None else output.projection

    def mixed(self, step: Step) -> tuple[dict[str, Tensor], Tensor, Tensor | None]:
        """Each two neighbouring pairs joined to one, in random order; with an id and the lower weight of the two."""
        texts, count = step.texts(), len(step.pair_ids)
        pairs = list(zip(texts[:count], texts[count:], strict=True))
        joined = [
            mix_pairs(pairs[row], pairs[row + 1], torch.default_generator, self.cls) for row in range(0, count - 1, 2)
        ]
        sides = [side for number in (0, 1) for side in (pair[number] for pair in joined)]
        limit = self.base.config.max_position_embeddings
        first = slice(0, 2 * len(joined), 2)
        weights = None
        if step.weights is not None:
            weights = with_mean_one(torch.minimum(step.weights[first], step.weights[1::2]))
        return padded(sides, self.pad, limit, step.pair_ids.device), step.pair_ids[first], weights

    def after_step(self) -> None:
        """Let the slow copy follow, after the optimiser's step."""
        self.encoder.update(self.base)

    def state_dict(self) -> dict:
        """Slow copy, queue, and how many single sentences went into it."""
        return {"encoder": self.encoder.state_dict(), "queue": self.queue.state_dict(), "texts": self.texts_seen}

    def load_state_dict(self, state: dict) -> None:
        """Go on from a state."""
        self.encoder.load_state_dict(state["encoder"])
        self.queue.load_state_dict(state["queue"])
        self.texts_seen = state["texts"]
