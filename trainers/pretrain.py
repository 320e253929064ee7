"""Pre-train an encoder from scratch by masked language modelling on single sentences."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import (
    DataCollatorForLanguageModeling,
    DataCollatorWithPadding,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    TrainerCallback,
)

from xling_align.modeling_xling import XLingAlignConfig, XLingAlignForPreTraining

from .arguments import XLingAlignTrainingArguments
from .data.tokenized import TokenizedTexts
from .objectives import masked_lm
from .trainer import XLingAlignTrainer, last_complete_checkpoint


class MaskedLMTrainer(XLingAlignTrainer):
    """Trains `XLingAlignForPreTraining` to restore masked tokens of single texts (eq. 12), by Coupled Adam."""

    unused = ("word_fusion", "sentence_fusion", "language", "projection", "discriminator")

    def _collator(self, tokenizer: PreTrainedTokenizerBase, config: XLingAlignConfig):
        self.masker = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
        self.special = torch.tensor(tokenizer.all_special_ids)
        return DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Make the optimiser; the word embeddings' second moments are one and the same for all words.

        Otherwise Adam moves all rare words in one direction, step by step, until all embeddings share it: Coupled
        Adam (Stollenwerk and Stollenwerk 2025, Better Embeddings with Coupled Adam).

        Args:
            model: As `Trainer.create_optimizer`.

        Returns:
            The optimiser.
        """
        optimizer = super().create_optimizer(model)
        words = self.base.get_input_embeddings().weight

        @torch.no_grad()
        def couple(*_):
            moments = optimizer.state[words]["exp_avg_sq"]
            moments.copy_(moments.mean(0, keepdim=True).expand_as(moments))

        optimizer.register_step_post_hook(couple)
        return optimizer

    def compute_loss(
        self, model: nn.Module, inputs: dict, return_outputs: bool = False, num_items_in_batch: Tensor | None = None
    ):
        """The masked tokens' cross-entropy.

        Masks are drawn here and not by the collator, which works a batch ahead: a run that resumes draws the same.

        Args:
            model: The model, possibly wrapped.
            inputs: `input_ids` and `attention_mask` (batch, words).
            return_outputs: Whether to return the model's output as well.
            num_items_in_batch: Not used; the loss is a mean over the batch's masked tokens.

        Returns:
            The loss, or the loss and the output.
        """
        words = inputs["input_ids"]
        special = torch.isin(words, self.special.to(words.device))
        visible, labels = self.masker.torch_mask_tokens(words.clone(), special_tokens_mask=special)
        masked = labels != -100
        output = model(visible, inputs["attention_mask"], lm_positions=masked, fuse_words=False)
        loss = masked_lm(output.lm_states, self.model.lm_head.decoder, words[masked])  # pyright: ignore
        return (loss, output) if return_outputs else loss


def pretrain(
    encoder: PreTrainedConfig,
    texts: TokenizedTexts,
    tokenizer: PreTrainedTokenizerBase,
    args: XLingAlignTrainingArguments,
    folder: str | Path,
    callbacks: list[TrainerCallback] | None = None,
) -> None:
    """Pre-train a fresh encoder and save it as a plain one; a run that was stopped goes on.

    Args:
        encoder: What to build.
        texts: Single sentences; no pairs, so that the unaligned encoder has seen none.
        tokenizer: The tokenizer that made the texts.
        args: Training arguments; checkpoints go to their `output_dir`.
        folder: Where the encoder and its tokenizer are saved.
        callbacks: As `Trainer`.
    """
    torch.manual_seed(args.seed)
    config = XLingAlignConfig(encoder_config=encoder, language_token="none", fusion_context="none")
    model = XLingAlignForPreTraining(config)
    start_at_frequencies(model.lm_head.decoder.bias, texts)
    trainer = MaskedLMTrainer(model, args, texts, processing_class=tokenizer, callbacks=callbacks)
    trainer.train(resume_from_checkpoint=last_complete_checkpoint(args.output_dir))
    tokenizer.save_pretrained(folder)
    model.xling.encoder.save_pretrained(folder)


@torch.no_grad()
def start_at_frequencies(bias: Tensor, texts: TokenizedTexts) -> None:
    """Start the decoder's bias (vocab,) at the log of each token's share, so that nothing else has to learn it."""
    counts = torch.from_numpy(np.bincount(texts.tokens, minlength=len(bias)) + 1)
    bias.copy_((counts / counts.sum()).log())
