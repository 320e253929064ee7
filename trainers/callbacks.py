"""What happens between steps: the sampler's epoch, running means, the projection of learned weights, logs."""

import time
from collections.abc import Mapping

import torch
from transformers import TrainerCallback

from .distributed import mean_over_processes, sum_over_processes


class LanguageMeans:
    """Sums of the language states seen since the last optimiser step (ours)."""

    def __init__(self):
        self.total = self.count = None

    @torch.no_grad()
    def add(self, language_ids: torch.Tensor, language_state: torch.Tensor, rows: int) -> None:
        """Add a batch: language rows (batch,) and language states (batch, dim), for `rows` rows in all."""
        states = language_state.float()
        if self.total is None or self.count is None:
            self.total = states.new_zeros(rows, states.shape[1])
            self.count = states.new_zeros(rows)
        self.total.index_add_(0, language_ids, states)
        self.count.index_add_(0, language_ids, torch.ones_like(states[:, 0]))

    def move(self, language) -> None:
        """Move the model's running means by all processes' sums, and start anew."""
        if self.total is not None and self.count is not None:
            language.update(sum_over_processes(self.total), sum_over_processes(self.count))
        self.total = self.count = None


class LogMeans:
    """Means of named figures between two logs."""

    def __init__(self):
        self.sums: dict[str, torch.Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, figures: Mapping[str, torch.Tensor | float]) -> None:
        """Add one step's figures, scalars by name."""
        for name, value in figures.items():
            value = torch.as_tensor(value, dtype=torch.float32).detach()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
            self.counts[name] = self.counts.get(name, 0) + 1

    def taken(self) -> dict[str, float]:
        """The means over steps and processes, and start anew."""
        means = {
            name: round(float(mean_over_processes(value / self.counts[name])), 5) for name, value in self.sums.items()
        }
        self.sums, self.counts = {}, {}
        return means


class StepTimes(TrainerCallback):
    """Keeps the time at the end of every step.

    Attributes:
        ends: Seconds of a clock whose start means nothing (steps,).
    """

    def __init__(self):
        self.ends: list[float] = []

    def on_step_end(self, args, state, control, **kwargs):
        """Look at the clock."""
        self.ends.append(time.perf_counter())


class BetweenSteps(TrainerCallback):
    """Sets the sampler's epoch from the step count alone, and moves what follows the optimiser's step."""

    def __init__(self, trainer):
        self.trainer = trainer

    def on_epoch_begin(self, args, state, control, **kwargs):
        """Give the sampler its epoch, before the dataloader is iterated."""
        sampler = self.trainer.train_sampler
        batches = sampler.num_batches
        steps = max(-(-batches // args.gradient_accumulation_steps), 1)
        sampler.set_epoch(state.global_step // steps)

    def on_step_end(self, args, state, control, **kwargs):
        """Update the running means of the language states, and what the losses keep."""
        self.trainer.language_means.move(self.trainer.base.language)
        self.trainer.balance.clamp()
        self.trainer.policies.temperature.clamp()
        if self.trainer.momentum_contrast is not None:
            self.trainer.momentum_contrast.after_step()
