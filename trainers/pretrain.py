"""Pre-train an encoder from scratch by masked language modelling on single sentences."""

from pathlib import Path

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
    """Trains `XLingAlignForPreTraining` to restore masked tokens of single texts (eq. 12)."""

    unused = ("word_fusion", "sentence_fusion", "language", "projection", "discriminator")

    def _collator(self, tokenizer: PreTrainedTokenizerBase, config: XLingAlignConfig):
        self.masker = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
        self.special = torch.tensor(tokenizer.all_special_ids)
        return DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8)

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
        loss = masked_lm(output.lm_states, self.base.get_input_embeddings().weight, words[masked])  # tied
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
    trainer = MaskedLMTrainer(model, args, texts, processing_class=tokenizer, callbacks=callbacks)
    trainer.train(resume_from_checkpoint=last_complete_checkpoint(args.output_dir))
    tokenizer.save_pretrained(folder)
    model.xling.encoder.save_pretrained(folder)
