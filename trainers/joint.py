"""Fine-tuning that stays aligned: beside every labelled batch, a batch of translation pairs (ours).

L = L_task + w InfoNCE over the sentence vectors that the classifier reads.
"""

from collections.abc import Iterator
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer

from .data.batches import LengthBucketSampler, PairCollator
from .data.labelled import LabelledCollator
from .data.tokenized import TokenizedPairs, batched
from .objectives import PairVectors, symmetric_infonce


class JointTrainer(Trainer):
    """A `Trainer` of a classifier that keeps its encoder aligned, where it is given pairs.

    Each process holds its own pairs against one another.
    """

    loss_is_scaled_for_ga = False

    def __init__(self, *args: Any, pairs: TokenizedPairs | None = None, **kwargs: Any):
        """Prepare the batches of pairs.

        Args:
            *args: As `Trainer`.
            pairs: Tokenised as the labelled rows are; none for plain fine-tuning.
            **kwargs: As `Trainer`; the collator is a `LabelledCollator`.
        """
        super().__init__(*args, **kwargs)
        self.alignment_losses: list[Tensor] = []
        self.pair_batches = None if pairs is None else self._pair_batches(pairs)

    def _pair_batches(self, pairs: TokenizedPairs) -> Iterator[dict[str, Tensor]]:
        """Batches without end, in an order that depends on the seed alone."""
        size, collator = self.args.per_device_train_batch_size, self.data_collator
        assert isinstance(collator, LabelledCollator)
        lay_out = PairCollator(collator.padding["input_ids"], max_length=collator.max_length)
        seed = self.args.seed * self.args.world_size + self.args.process_index
        sampler = LengthBucketSampler(pairs.lengths, pairs.pair_ids, size, seed)

        def batches():
            for epoch in count():
                sampler.set_epoch(epoch)
                for chosen in batched(sampler, size):
                    yield lay_out([pairs[row] for row in chosen])

        return batches()

    def compute_loss(
        self, model: nn.Module, inputs: dict, return_outputs: bool = False, num_items_in_batch: Tensor | None = None
    ):
        """The task's loss, and with pairs the weighted alignment loss on top of it.

        Args:
            model: The classifier, possibly wrapped.
            inputs: A labelled batch.
            return_outputs: Whether to return the classifier's output as well.
            num_items_in_batch: Not used; both losses are means over their batch.

        Returns:
            The loss, or the loss and the output.
        """
        loss, output = super().compute_loss(model, inputs, return_outputs=True)
        if self.pair_batches is not None:
            aligned = self._alignment_loss(model, next(self.pair_batches))
            self.alignment_losses.append(aligned.detach())
            loss = loss + self.args.alignment_weight * aligned  # pyright: ignore[reportAttributeAccessIssue]
        return (loss, output) if return_outputs else loss

    def _alignment_loss(self, model: nn.Module, batch: dict[str, Any]) -> Tensor:
        batch = self._prepare_inputs(batch)
        pair_ids = batch.pop("pair_ids")
        base: Any = self.accelerator.unwrap_model(model).xling
        with self.accelerator.autocast():
            vectors = base(**batch, fuse_words=False).pooler_output  # (2 pairs, dim)
        source, target = vectors.float().chunk(2)
        pairs = PairVectors.local(source, target, pair_ids)
        return symmetric_infonce(pairs, self.args.alignment_tau)  # pyright: ignore[reportAttributeAccessIssue]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with the mean alignment loss since the last log."""
        if "loss" in logs and self.alignment_losses:
            logs = {**logs, "alignment_loss": torch.stack(self.alignment_losses).mean().item()}
            self.alignment_losses = []
        super().log(logs, start_time)
