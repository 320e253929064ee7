"""Pre-train an encoder by masked language modelling, from nothing or from where it stands.

`accelerate launch -m xling_align.trainers.pretrain RECIPE.yaml --flag value`. A run that was stopped goes on from its
last checkpoint when it is started again.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    BatchEncoding,
    DataCollatorForLanguageModeling,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    TrainerCallback,
)

from xling_align.modeling_xling import (
    InputError,
    XLingAlignConfig,
    XLingAlignForPreTraining,
    XLingAlignModel,
    load_tokenizer,
)

from .adaptive.arguments import AdaptiveArguments
from .adaptive.balance import LossBalance
from .adaptive.policies import Policies
from .align import pair_stream
from .arguments import CommonTrainingArguments, DataArguments, XLingAlignTrainingArguments, one_line_errors, parse
from .checkpoints import KeepSettings, checkpoint_of, last_complete_checkpoint, run_settings
from .checks import check_finite
from .data.batches import padded_width
from .data.formats import text_lines
from .data.pairs import LeftOut
from .data.readers import ReadReport
from .data.tokenized import TokenizedTexts, join_texts, tokenize_texts
from .distributed import count_by_process
from .lm_head import load_lm_head, masked_lm_model
from .objectives import masked_lm
from .optimization import couple_moments, train_only
from .programs import check_writable, log_to_screen, tell_processes
from .trainer import XLingAlignTrainer

logger = logging.getLogger("xling_align")


@dataclass
class PretrainArguments:
    """Which encoder to pre-train, and how.

    Attributes:
        encoder: Folder or Hub id of an encoder to go on from.
        encoder_config: A fresh encoder instead: its `model_type`, and what differs from that type's defaults.
        tokenizer: Folder or Hub id of the tokenizer; the encoder's own unless given.
        tlm: Mask source and target of each pair in one sequence (TLM) besides the single sentences (MLM).
    """

    encoder: str | None = None
    encoder_config: str | None = None
    tokenizer: str | None = None
    tlm: bool = False


READ = ("embedding_learning_rate", "head_learning_rate", "mlm_probability")


def check_unused(data: DataArguments, args: XLingAlignTrainingArguments) -> None:
    """Refuse what pre-training does not read: all that is about losses over pairs.

    Args:
        data: Arguments of the data.
        args: Training arguments.

    Raises:
        InputError: One of them is given.
    """
    usual = XLingAlignTrainingArguments(output_dir=args.output_dir)
    own = {name for part in (AdaptiveArguments, XLingAlignTrainingArguments) for name in part.__annotations__}
    names = [item.name for item in fields(CommonTrainingArguments)]
    given = [name for name in sorted(own - {*READ, *names}) if getattr(args, name) != getattr(usual, name)]
    if given or data.monolingual_files:
        name = given[0] if given else "monolingual_files"
        raise InputError(f"--{name} is for alignment; pre-training restores words of single sentences; leave it out")


class MaskedLMTrainer(XLingAlignTrainer):
    """Trains `XLingAlignForPreTraining` to restore masked tokens of single texts (eq. 12), by Coupled Adam."""

    def _with_heads(self, model):
        return model

    def _set_up_losses(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> None:
        idle = {"word_fusion", "sentence_fusion", "language", "projection", "discriminator"}
        train_only(model, lambda name: not idle & set(name.split(".")))
        self.language_level = self.word_level = self.momentum_contrast = None
        self.balance = LossBalance({})
        self.policies = Policies(self.args, 0, self.progress)

    def _collator(self, tokenizer: PreTrainedTokenizerBase, config: XLingAlignConfig):
        self.masker = DataCollatorForLanguageModeling(tokenizer, mlm_probability=self.args.mlm_probability)
        self.special = torch.tensor(tokenizer.all_special_ids)
        return partial(pad_texts, tokenizer, config.max_position_embeddings)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Make the optimiser; the word embeddings' second moments are coupled, unless the user gave an optimiser.

        Args:
            model: As `Trainer.create_optimizer`.

        Returns:
            The optimiser.
        """
        given, optimizer = self.optimizer, super().create_optimizer(model)
        if given is None:
            couple_moments(optimizer, self.base.get_input_embeddings().weight)
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
            num_items_in_batch: Not used; the loss is a mean over the masked tokens of all processes.

        Returns:
            The loss, or the loss and the output.
        """
        words = inputs["input_ids"]
        special = torch.isin(words, self.special.to(words.device))
        visible, labels = self.masker.torch_mask_tokens(words.clone(), special_tokens_mask=special)
        masked = labels != -100
        output = model(visible, inputs["attention_mask"], lm_positions=masked, fuse_words=False)
        total = count_by_process(masked.sum().float())
        loss = masked_lm(output.lm_states, self.model.lm_head.decoder, words[masked], total)  # pyright: ignore
        check_finite({"mlm": loss}, self.state.global_step)
        return (loss, output) if return_outputs else loss


def pretrain(
    encoder: PreTrainedConfig | str,
    texts: TokenizedTexts,
    tokenizer: PreTrainedTokenizerBase,
    args: XLingAlignTrainingArguments,
    folder: str | Path,
    callbacks: list[TrainerCallback] | None = None,
) -> None:
    """Pre-train an encoder and save it as a stock masked language model; a run that was stopped goes on.

    Args:
        encoder: The config of a fresh one, or the folder or Hub id of one to go on from.
        texts: Single sentences; without pairs, so that the unaligned encoder has seen none.
        tokenizer: The tokenizer that made the texts.
        args: Training arguments; checkpoints go to their `output_dir`.
        folder: Where the encoder and its tokenizer are saved.
        callbacks: As `Trainer`.
    """
    torch.manual_seed(args.seed)
    base = XLingAlignModel.from_encoder(encoder, [], language_token="none", fusion_context="none")
    model = XLingAlignForPreTraining.from_base(base)
    if isinstance(encoder, PreTrainedConfig) or not load_lm_head(model, encoder):
        start_at_frequencies(model.lm_head.decoder.bias, texts)
    trainer = MaskedLMTrainer(model, args, texts, processing_class=tokenizer, callbacks=callbacks)
    trainer.train(resume_from_checkpoint=last_complete_checkpoint(args.output_dir))
    tokenizer.save_pretrained(folder)
    (masked_lm_model(model) or model.xling.encoder).save_pretrained(folder)


def pad_texts(tokenizer: PreTrainedTokenizerBase, limit: int | None, texts: list[dict]) -> BatchEncoding:
    """Lay texts out as padded rows, of at most `limit` tokens unless a text is longer.

    Args:
        tokenizer: Tells what pads.
        limit: Tokens that the encoder takes.
        texts: `input_ids` of each.

    Returns:
        `input_ids` and `attention_mask` (texts, tokens).
    """
    width = padded_width(max(len(text["input_ids"]) for text in texts), 8, limit)
    return tokenizer.pad(texts, padding="max_length", max_length=width, return_tensors="pt")


@torch.no_grad()
def start_at_frequencies(bias: Tensor, texts: TokenizedTexts) -> None:
    """Start the decoder's bias (vocab,) at the log of each token's share, so that nothing else has to learn it."""
    counts = torch.from_numpy(np.bincount(texts.tokens, minlength=len(bias)) + 1)
    bias.copy_((counts / counts.sum()).log())


def file_texts(path: str, report: ReadReport) -> Iterator[str]:
    """The lines of a plain text file."""
    for number, line in text_lines(Path(path)):
        if isinstance(line, LeftOut):
            report.leave_out(path, f"line {number}: {line}")
        else:
            report.good[path] += 1
            yield line.strip()


def single_texts(data: DataArguments) -> list[str]:
    """All distinct sentences that the arguments name, either side of pairs included, in an order of their own.

    Args:
        data: Where the texts come from.

    Returns:
        The sentences, sorted, so that nothing tells which of them are translations.
    """
    report, texts = ReadReport(), set()
    for path in data.text_file or []:
        texts.update(file_texts(path, report))
    if data.train_file or data.data_dir or not data.text_file:
        texts.update(row[side] for row in pair_stream(data, report) for side in ("source", "target"))
    logger.info(report)
    return sorted(texts - {""})


def fresh_config(text: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    """Config of a fresh encoder for a tokenizer.

    Args:
        text: JSON object with `model_type` and whatever differs from that type's defaults.
        tokenizer: Gives the vocabulary's size and the padding token.

    Returns:
        The config.

    Raises:
        InputError: The text is no such object, or the type is unknown.
    """
    try:
        fields = json.loads(text)
        given = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, **fields}
        return AutoConfig.for_model(**given)
    except (ValueError, TypeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(
            f"--encoder_config is no encoder's config ({reason}); give a mapping such as "
            '{"model_type": "bert", "hidden_size": 256}'
        ) from error


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    """Run the program."""
    model, data, args = parse(argv, PretrainArguments, DataArguments, XLingAlignTrainingArguments, program="pretrain")
    log_to_screen(args.should_log)
    check_unused(data, args)
    check_writable(args.output_dir)
    if bool(model.encoder) == bool(model.encoder_config):
        raise InputError("give either --encoder FOLDER to go on from, or --encoder_config for a fresh one")
    if not (model.tokenizer or model.encoder):
        raise InputError("a fresh encoder needs --tokenizer FOLDER; xling tokenizer trains one")
    settings = run_settings(args, model, data)
    checkpoint_of(args, settings)  # `pretrain` goes on from it
    tell_processes()
    tokenizer = load_tokenizer(model.tokenizer or model.encoder)
    encoder = model.encoder or fresh_config(model.encoder_config, tokenizer)
    tokenized = tokenize_texts(single_texts(data), tokenizer, args.max_length)
    if model.tlm:
        pairs = ((row["source"], row["target"]) for row in pair_stream(data, ReadReport()))
        tokenized = join_texts(tokenized, tokenize_texts(pairs, tokenizer, args.max_length))
    logger.info("%d texts, %d tokens", len(tokenized), len(tokenized.tokens))
    pretrain(encoder, tokenized, tokenizer, args, args.output_dir, [KeepSettings(settings)])
    logger.info("saved to %s", args.output_dir)


if __name__ == "__main__":
    main()
