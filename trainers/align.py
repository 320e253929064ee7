"""Align an encoder on translation pairs: `accelerate launch -m xling_align.trainers.align RECIPE.yaml --flag value`.

Several processes on CPU: `torchrun --nproc_per_node 2 -m xling_align.trainers.align ...`. A run that was stopped goes
on from its last checkpoint when it is started again.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from itertools import chain, islice

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, PreTrainedTokenizerBase, set_seed

from xling_align.modeling_xling import (
    InputError,
    XLingAlignConfig,
    XLingAlignForPreTraining,
    XLingAlignModel,
    XLingAlignPreTrainedModel,
    load_tokenizer,
)

from .adapters import add_adapters
from .arguments import LEVELS, DataArguments, ModelArguments, XLingAlignTrainingArguments, one_line_errors, parse
from .checkpoints import KeepSettings, checkpoint_of, run_settings
from .data.identification import check_sides
from .data.monolingual import language_of, read_monolingual, text_files
from .data.readers import ReadReport, read_data_dir, read_pairs
from .data.tokenized import TokenizedPairs, tokenize_pairs
from .facts import corpora_of, recipe_of, write_facts
from .levels import chosen_losses
from .lexicon import start_words
from .lm_head import load_lm_head
from .programs import check_writable, log_to_screen, tell_processes
from .subwords import share_subwords
from .trainer import XLingAlignTrainer

logger = logging.getLogger("xling_align")

WRAPPING = (
    "language_token",
    "language_dropout",
    "fusion_context",
    "fusion_activation",
    "fusion_residual",
    "pooling",
    "projection_dim",
)


def pair_stream(data: DataArguments, report: ReadReport) -> Iterator[dict]:
    """All pairs that the arguments name, one after another.

    Args:
        data: Where the pairs come from.
        report: Counts good and bad rows.

    Returns:
        The pairs.

    Raises:
        InputError: No source of pairs was named, or the sides of a file are swapped.
    """
    if not data.train_file and not data.data_dir:
        raise InputError("there are no pairs to train on; give --train_file FILE ... or --data_dir FOLDER")
    streams: list[Iterable] = []
    for path in data.train_file or []:
        targets = [data.target_language] if data.target_language else data.languages
        check_sides(read_pairs(path, data.source_language, targets), path)  # read apart, and not in the report
        streams.append(read_pairs(path, data.source_language, targets, report=report))
    if data.data_dir:
        streams.append(read_data_dir(data.data_dir, data.languages, data.corpora, report=report))
    return islice(chain(*streams), data.max_pairs)


def load_model(arguments: ModelArguments, languages: list[str], source_language: str) -> XLingAlignModel:
    """The model to train: an encoder to wrap (or two as a dual encoder), or a model of ours to train further.

    Args:
        arguments: Which encoder and how it is wrapped.
        languages: Codes of all languages.
        source_language: Code of the source language.

    Returns:
        The model.

    Raises:
        InputError: No encoder was named, its weights can't be read, a saved model lacks a language or weights or is
            to get a second encoder, or the two encoders have different tokenizers.
    """
    encoder = encoder_of(arguments)
    wrapping = {name: getattr(arguments, name) for name in WRAPPING if getattr(arguments, name) is not None}
    try:
        if not is_aligned(encoder):
            wrapping["source_language"] = source_language
            if arguments.target_encoder:
                check_same_tokenizer(encoder, arguments.target_encoder)
                wrapping["target_encoder"] = arguments.target_encoder
            return XLingAlignModel.from_encoder(encoder, languages, **wrapping)
        if arguments.target_encoder:
            raise InputError(
                f"--target_encoder goes with a plain encoder, and {encoder!r} is aligned already; "
                "leave it out, or give a plain --encoder"
            )
        model, report = XLingAlignModel.from_pretrained(  # pyright: ignore[reportGeneralTypeIssues]
            encoder, output_loading_info=True, dtype=torch.float32, **wrapping
        )
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().split("\n")[0]
        named = " or ".join(repr(name) for name in (encoder, arguments.target_encoder) if name)
        raise InputError(f"the weights of {named} can't be loaded: {reason}") from error
    missing = sorted(name for name in report["missing_keys"] if name.startswith(("encoder.", "target_encoder.")))
    if missing:  # other parts may be new: a projection, say
        raise InputError(f"{encoder!r} lacks {len(missing)} weights of its encoder ({missing[0]}, ...)")
    if missing := [code for code in languages if code not in model.config.languages]:
        raise InputError(
            f"{encoder!r} has the languages {', '.join(model.config.languages)} and not "
            f"{', '.join(map(repr, missing))}; add them by xling adapt --add_languages, or leave out their texts and "
            "pairs (--languages names those to take)"
        )
    return model


def encoder_of(arguments: ModelArguments) -> str:
    """The encoder that is named; refused where there is none."""
    if not arguments.encoder:
        raise InputError("there is no encoder; give --encoder with a folder or a Hub id, such as xlm-roberta-base")
    return arguments.encoder


def is_aligned(encoder: str) -> bool:
    """Whether an encoder is a model of ours; also False for one that can't be read."""
    try:
        return isinstance(AutoConfig.from_pretrained(encoder), XLingAlignConfig)
    except (OSError, ValueError):
        return False  # `from_encoder` says what is wrong


def check_same_tokenizer(encoder: str, target_encoder: str) -> None:
    """Refuse two towers that read ids differently; one tokenizer serves both.

    Args:
        encoder: Folder or Hub id.
        target_encoder: Folder or Hub id.

    Raises:
        InputError: Their vocabularies differ.
    """
    own, other = load_tokenizer(encoder).get_vocab(), load_tokenizer(target_encoder).get_vocab()
    if own != other:
        entries = len(own.items() ^ other.items())
        raise InputError(
            f"the tokenizers of {encoder!r} and {target_encoder!r} differ in {entries} entries; "
            "both towers read one tokenizer's ids, so give two encoders of one vocabulary"
        )


def with_lm_head(
    model: XLingAlignModel, arguments: ModelArguments, args: XLingAlignTrainingArguments
) -> XLingAlignPreTrainedModel:
    """The model, with the LM head of its checkpoint if the word level is trained.

    Args:
        model: The model to train.
        arguments: Where it comes from.
        args: Its losses.

    Returns:
        The model, or the model with training heads.

    Raises:
        InputError: Words can't be predicted by embeddings that share sub-words.
    """
    if not set(chosen_losses(args)) & set(LEVELS["word"]):
        return model
    if arguments.share_subwords:
        raise InputError("--share_subwords does not go with the word level; leave it out, or add --without word")
    whole = XLingAlignForPreTraining.from_base(model)
    if not load_lm_head(whole, str(arguments.encoder)):
        logger.warning("%s has no LM head of its own; masked words are learned from nothing", arguments.encoder)
    return whole


class PairData:
    """The pairs that the arguments name, tokenised once for all runs that share them; never all in memory as text.

    Args:
        data: Where the pairs come from.

    Raises:
        InputError: They name plain text, which holds no pairs.
    """

    def __init__(self, data: DataArguments):
        if data.text_file:
            raise InputError("--text_file is read by pre-training only; give pairs by --train_file FILE ...")
        self.data, self.report = data, ReadReport()
        self.done: dict[tuple, TokenizedPairs] = {}

    @cached_property
    def counts(self) -> Counter[str]:
        """How many pairs there are of each language."""
        rows = pair_stream(self.data, self.report)
        found = Counter(row[side] for row in rows for side in ("source_language", "target_language"))
        logger.info(self.report)
        return found

    @cached_property
    def languages(self) -> list[str]:
        """Codes of all languages that occur in the pairs or in single sentences."""
        single = {language_of(path) for path in text_files(self.data.monolingual_files or [])}
        return sorted(single.union(self.counts))

    def tokenized(
        self, tokenizer: PreTrainedTokenizerBase, config: XLingAlignConfig, max_length: int
    ) -> TokenizedPairs:
        """The pairs as token ids of one tokenizer and rows of one model's languages."""
        longest = min(max_length, config.max_position_embeddings or max_length)
        key = (tokenizer.name_or_path, tuple(config.languages), longest)
        if key not in self.done:
            self.done[key] = tokenize_pairs(pair_stream(self.data, ReadReport()), tokenizer, config, max_length)
        return self.done[key]


def has_lexicon(model_arguments: ModelArguments, args: XLingAlignTrainingArguments) -> bool:
    """Whether the word embeddings start at their translations, unless that is taken out."""
    return model_arguments.lexicon_start and "lexicon" not in args.without


def wrapped_without(model_arguments: ModelArguments, args: XLingAlignTrainingArguments) -> ModelArguments:
    """How the encoder is wrapped, without the fusion if that is taken out."""
    return replace(model_arguments, fusion_context="none") if "afm" in args.without else model_arguments


def start_new_languages(model: XLingAlignModel, pairs: TokenizedPairs) -> None:
    """Set the language embeddings of a model that was never trained before."""
    if model.config.language_token == "insert" and not model.language.count.any():
        model.init_language_embeddings(pairs.token_counts(len(model.config.languages), model.config.vocab_size))


def build(model_arguments: ModelArguments, pairs: PairData, args: XLingAlignTrainingArguments) -> XLingAlignTrainer:
    """Model, data and trainer, ready to train.

    Args:
        model_arguments: Which encoder and how it is wrapped.
        pairs: What to train on.
        args: Training arguments.

    Returns:
        The trainer.

    Raises:
        InputError: What was asked for does not go together, or is not there.
    """
    set_seed(args.seed)  # what is new in the model starts the same in every run
    model_arguments = wrapped_without(model_arguments, args)
    model = load_model(model_arguments, pairs.languages, pairs.data.source_language)
    tokenizer = load_tokenizer(str(model_arguments.encoder))
    tokenized = pairs.tokenized(tokenizer, model.config, args.max_length)
    if has_lexicon(model_arguments, args) and not is_aligned(str(model_arguments.encoder)):
        start_words(model, tokenizer, tokenized)
    start_new_languages(model, tokenized)
    if len(model.towers) > 1 and (model_arguments.share_subwords or model_arguments.lora_rank):
        raise InputError("--share_subwords and --lora_rank are for one encoder; leave them out for a dual encoder")
    if model_arguments.freeze_embeddings:
        for tower in model.towers:
            tower.get_input_embeddings().requires_grad_(False)
    if model_arguments.share_subwords:  # after freezing: their shared part is then all that learns
        share_subwords(model, tokenizer)
    if model_arguments.lora_rank:
        add_adapters(model, model_arguments.lora_rank)
    whole = with_lm_head(model, model_arguments, args)
    files, monolingual = pairs.data.monolingual_files, None
    if files:
        known = pair_stream(pairs.data, ReadReport())
        monolingual = read_monolingual(files, tokenizer, model.config, args.max_length, known)
    try:
        return XLingAlignTrainer(whole, args, tokenized, processing_class=tokenizer, monolingual=monolingual)
    except ValueError as error:  # also of Trainer, about arguments that ask for what is not there
        raise InputError(" ".join(str(error).split())) from error


def align(model_arguments: ModelArguments, pairs: PairData, args: XLingAlignTrainingArguments) -> XLingAlignTrainer:
    """Train and save; a run that was stopped goes on, and one that was begun with other settings is refused.

    Args:
        model_arguments: Which encoder and how it is wrapped.
        pairs: What to train on.
        args: Training arguments.

    Returns:
        The trainer, after training.
    """
    settings = run_settings(args, model_arguments, pairs.data)
    checkpoint = checkpoint_of(args, settings)
    trainer = build(model_arguments, pairs, args)
    trainer.add_callback(KeepSettings(settings))
    if checkpoint:
        logger.info("going on from %s", checkpoint)
    trainer.train(resume_from_checkpoint=checkpoint)
    trainer.save_model()
    if args.should_save:
        recipe = recipe_of(model_arguments, args)
        if is_aligned(str(model_arguments.encoder)):
            del recipe["lexicon_start"]  # its words stayed; how they started, its own facts say
        write_facts(args.output_dir, str(model_arguments.encoder), corpora_of(pairs.data, pairs.report), recipe)
    logger.info("saved to %s", args.output_dir)
    return trainer


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    """Run the program."""
    model_arguments, data, args = parse(
        argv, ModelArguments, DataArguments, XLingAlignTrainingArguments, program="align"
    )
    log_to_screen(args.should_log)
    check_writable(args.output_dir)
    tell_processes()
    trainer = align(model_arguments, PairData(data), args)
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()  # a process that leaves its group open may abort on its way out


if __name__ == "__main__":
    main()
