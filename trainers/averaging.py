"""Training that keeps a running average of the weights beside the model."""

import shutil
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase, TrainerCallback

from xling_align.modeling_xling import XLingAlignPreTrainedModel

from .arguments import XLingAlignTrainingArguments
from .checkpoints import last_complete_checkpoint
from .data.tokenized import TokenizedPairs
from .momentum import MomentumEncoder
from .trainer import XLingAlignTrainer


class AveragingTrainer(XLingAlignTrainer):
    """An `XLingAlignTrainer` with the exponential moving average of the base model's weights over the steps.

    Args:
        *args: As `XLingAlignTrainer`.
        decay: Of the average; it looks back about 1 / (1 - decay) steps.
        **kwargs: As `XLingAlignTrainer`.
    """

    def __init__(self, *args, decay: float, **kwargs):
        super().__init__(*args, **kwargs)
        self.average = MomentumEncoder(self.base, decay).to(self.args.device)
        self.add_callback(Averaging(self))

    def with_state(self) -> dict[str, Any]:
        """As the parent, with the average, which a resumed run goes on from."""
        return {**super().with_state(), "average": self.average}


class Averaging(TrainerCallback):
    """Moves the average after every step, once the running means have moved."""

    def __init__(self, trainer: AveragingTrainer):
        self.trainer = trainer

    def on_step_end(self, args, state, control, **kwargs):
        """Move the average."""
        self.trainer.average.update(self.trainer.base)


def train_average(
    model: XLingAlignPreTrainedModel,
    args: XLingAlignTrainingArguments,
    pairs: TokenizedPairs,
    tokenizer: PreTrainedTokenizerBase,
    decay: float,
    folder: Path,
) -> None:
    """Train, and save the average; a run that was stopped goes on from its last checkpoint.

    Args:
        model: The model, with the heads that the losses need.
        args: Training arguments; their `output_dir` is dropped at the end.
        pairs: What to train on.
        tokenizer: The model's.
        decay: Of the average.
        folder: Gets the average when it is complete.
    """
    trainer = AveragingTrainer(model, args, pairs, processing_class=tokenizer, decay=decay)
    trainer.train(resume_from_checkpoint=last_complete_checkpoint(args.output_dir))
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    average: Any = trainer.average.model
    average.save_pretrained(partial, tokenizer=tokenizer)
    partial.rename(folder)
    shutil.rmtree(str(args.output_dir))
