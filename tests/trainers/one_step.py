"""Optimiser steps of the trainer, the last gradient and running means written to a file; run by test_trainer.py."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import TrainerCallback

from tests.conftest import LANGUAGES, encoder_config, make_tokenizer
from xling_align.modeling_xling import XLingAlignModel
from xling_align.trainers import XLingAlignTrainer, XLingAlignTrainingArguments
from xling_align.trainers.data.mixup import mix_pairs
from xling_align.trainers.data.monolingual import MonolingualTexts
from xling_align.trainers.data.tokenized import tokenize_texts
from xling_align.trainers.levels import momentum

SENTENCES = [
    ("good morning", "guten morgen", "de"),
    ("good night", "bonjour nacht", "fr"),
    ("sun", "sonne", "de"),
    ("moon red", "mond rot", "de"),
    ("blue green day", "blau grün tag", "fr"),
    ("red", "rot", "de"),
    ("sun moon", "sonne mond", "fr"),
    ("green morning", "grün morgen", "de"),
]


class KeepGradient(TrainerCallback):
    """Keeps the gradient as the optimiser sees it."""

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.gradient = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    def save(self, trainer, **more) -> None:
        """Write it into the trainer's folder, and end the process's part in the training."""
        if trainer.args.process_index == 0:
            gradient = {name.removeprefix("module."): value for name, value in self.gradient.items()}
            step = {"world": trainer.args.world_size, "gradient": gradient, **more}
            torch.save(step, Path(trainer.args.output_dir) / "step.pt")
        trainer.accelerator.wait_for_everyone()
        trainer.accelerator.end_training()  # a process that leaves its group open may abort on its way out


def step_arguments(folder: str, batch_size: int, settings: dict) -> XLingAlignTrainingArguments:
    """Of one step in fp32, unless settings name more, nothing of which is saved."""
    size = {"output_dir": folder, "max_steps": 1, "per_device_train_batch_size": batch_size, "bf16": False}
    return XLingAlignTrainingArguments(**size | settings, save_strategy="no", disable_tqdm=True)


def every_third(ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """In place of random masks, which are others on other processes: hide ids that are multiples of three."""
    hidden = (ids % 3 == 0) & (ids > 4)
    return ids.masked_fill(hidden, 4), hidden


def mixed_by_ids(first, second, _, cls):
    """In place of a random order of two joined pairs: one that follows from their ids, on whatever process."""
    return mix_pairs(first, second, torch.Generator().manual_seed(sum(first[0]) + sum(second[1])), cls)


def main(folder: str, batch_size: int, settings: dict) -> None:
    monolingual = settings.pop("monolingual", False)
    torch.manual_seed(0)
    encoder = encoder_config("bert")
    encoder.hidden_dropout_prob = encoder.attention_probs_dropout_prob = 0.0
    model = XLingAlignModel.from_encoder(encoder, LANGUAGES, language_dropout=0.0, projection_dim=8)
    rows = [
        {"source": source, "target": target, "source_language": "en", "target_language": code, "pair_id": i}
        for i, (source, target, code) in enumerate(SENTENCES)
    ]
    arguments = step_arguments(folder, batch_size, settings)
    keep, tokenizer = KeepGradient(), make_tokenizer()
    texts = None
    if monolingual:
        sentences = tokenize_texts([target for _, target, _ in SENTENCES], tokenizer)
        texts = MonolingualTexts(sentences, np.full(8, 2, np.int16), np.arange(100, 108))
    trainer = XLingAlignTrainer(
        model, arguments, rows, processing_class=tokenizer, callbacks=[keep], monolingual=texts
    )
    if trainer.word_level is not None:
        trainer.word_level.masked = every_third
    momentum.mix_pairs = mixed_by_ids
    if trainer.momentum_contrast is not None:  # the first step has no earlier keys
        trainer.momentum_contrast.queue.push(torch.randn(8, 8, generator=torch.Generator().manual_seed(5)))
    trainer.train()
    queue = None if trainer.momentum_contrast is None else trainer.momentum_contrast.queue.state_dict()
    keep.save(trainer, means={"mean": model.language.mean, "count": model.language.count}, queue=queue)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]))
    os._exit(0)  # all is written; on an orderly way out threads of a process group may abort
