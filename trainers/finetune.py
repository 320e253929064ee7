"""Fine-tune on one language's labels: `accelerate launch -m xling_align.trainers.finetune RECIPE.yaml --flag value`.

`finetune` is the same as a function. It starts from an aligned model or from any plain encoder, which is wrapped
without language token and fusion, so that both are measured through the same code. What it does beside `Trainer`:

- only embeddings of tokens that occur are trained. Those of all others would get gradient zero, and Adam without
  weight decay leaves them as they are: the result is the same, without a vocabulary's worth of work in every step;
- with dev rows, the weights of the best epoch are kept, in memory;
- on CPU, eager attention and quick dropout as in alignment.
"""

import copy
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import PartialState
from torch import nn
from transformers import (
    AutoConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    set_seed,
)

from xling_align.modeling_xling import (
    InputError,
    XLingAlignConfig,
    XLingAlignForSequenceClassification,
    XLingAlignForTokenClassification,
    XLingAlignModel,
    limit_tokenizer,
    load_tokenizer,
)

from .adapters import merged_weights
from .align import load_model
from .arguments import CommonTrainingArguments, ModelArguments, one_line_errors, parse
from .data.labelled import ROLES, LabelledCollator, label_names, read_labelled, tokenize_labelled
from .fast_cpu import fast_on_cpu
from .programs import check_writable, log_to_screen
from .selection import BestOnDev

logger = logging.getLogger("xling_align")

Classifier = XLingAlignForSequenceClassification | XLingAlignForTokenClassification
Base = str | Path | PreTrainedModel


@dataclass
class FineTuneArguments(CommonTrainingArguments):
    """The defaults that fine-tuning a small encoder needs; there are no checkpoints on disk.

    Attributes:
        freeze_embeddings: Keep the word embeddings as they are.
    """

    output_dir: str = "outputs/finetune"
    learning_rate: float = 5e-5
    per_device_train_batch_size: int = 32
    per_device_eval_batch_size: int = 128
    warmup_steps: float = 0.1
    logging_strategy: str = "epoch"  # pyright: ignore[reportIncompatibleVariableOverride]
    save_strategy: str = "no"  # pyright: ignore[reportIncompatibleVariableOverride]
    train_sampling_strategy: str = "group_by_length"
    freeze_embeddings: bool = False

    def __post_init__(self):
        for name, only in (("save_strategy", "no"), ("eval_strategy", "no"), ("logging_strategy", "epoch")):
            if str(getattr(getattr(self, name), "value", getattr(self, name))) != only:
                raise InputError(f"--{name} can only be {only}: fine-tuning logs, and with dev rows chooses, by epoch")
        super().__post_init__()


class FineTuned(NamedTuple):
    """A fine-tuned model in eval mode, and per epoch its mean `loss` and, with dev rows, its `dev_score`."""

    model: Classifier
    history: list[dict[str, float]]


def finetune(
    base: Base,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Mapping[str, Any]],
    labels: Sequence[str] | None = None,
    args: FineTuneArguments | None = None,
    dev_rows: Sequence[Mapping[str, Any]] | None = None,
    pooling: str = "cls",
    callbacks: list[TrainerCallback] | None = None,
) -> FineTuned:
    """Fine-tune a classifier of texts, pairs or words.

    Args:
        base: Folder or Hub id of an aligned model or of a plain encoder, or either in memory, which is not changed.
        tokenizer: Its tokenizer.
        rows: Training rows of one kind (see `data.labelled`).
        labels: Names of the labels or tags, in the order of the logits; those that occur, by alphabet, unless given.
        args: Training arguments.
        dev_rows: Rows of the same language to choose the epoch by, for texts and pairs by accuracy, for words by
            entity F1 (by accuracy where the tags are not B-, I- and O). The last epoch counts unless given.
        pooling: Where a plain encoder's sentence vector comes from, `cls` or `mean`.
        callbacks: As `Trainer`.

    Returns:
        The model and its history.
    """
    args = args or FineTuneArguments()
    labels = list(labels or label_names(rows))
    loaded = load_base(base, pooling)
    set_seed(args.seed)  # after loading, so that the classifier starts the same from a folder and from memory
    model = build_classifier(loaded, labels, words="tokens" in next(iter(rows), {}))
    for tower in model.xling.towers:
        tower.get_input_embeddings().requires_grad_(not args.freeze_embeddings)
    limit_tokenizer(tokenizer, model.config)
    train, dev = (
        tokenize_labelled(side, labels, tokenizer, model.config, args.max_length) if side is not None else []
        for side in (rows, dev_rows)
    )
    pad_token_id = int(tokenizer.pad_token_id)  # pyright: ignore[reportArgumentType]
    collator = LabelledCollator(pad_token_id, model.config.max_position_embeddings)
    best = BestOnDev(dev, labels, collator)
    with small_vocabulary(model, [*train, *dev], pad_token_id) if not args.weight_decay else nullcontext():
        trainer = Trainer(
            model,
            args,
            data_collator=collator,
            train_dataset=train,  # pyright: ignore[reportArgumentType]
            processing_class=tokenizer,
            callbacks=[*(callbacks or []), *([best] if dev else [])],
        )
        with fast_on_cpu(model, args):
            trainer.train()
        trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)  # its forward is the class's own again
        best.restore(model)
    return FineTuned(model.eval(), history_of(trainer.state.log_history, best.scores))


def load_base(base: Base, pooling: str = "cls") -> XLingAlignModel:
    """Load or copy what is to be fine-tuned, in float32, all of it trainable.

    Args:
        base: As `finetune`.
        pooling: As `finetune`.

    Returns:
        The base model; a plain encoder is wrapped without languages, language token and fusion.
    """
    plain: dict[str, Any] = {"language_token": "none", "fusion_context": "none", "pooling": pooling}
    if isinstance(base, XLingAlignModel):
        model = XLingAlignModel(copy.deepcopy(base.config))
        model.load_state_dict(merged_weights(base))
    elif isinstance(base, PreTrainedModel):
        model = XLingAlignModel(XLingAlignConfig(encoder_config=copy.deepcopy(base.config), **plain))
        model.encoder.load_state_dict(base.state_dict(), strict=False)  # a pooler stays behind
    else:
        wrapping = {} if isinstance(_config(base), XLingAlignConfig) else plain
        model = load_model(ModelArguments(encoder=str(base), **wrapping), [], "en")
    return model.float().requires_grad_(True)


def _config(base: str | Path) -> PreTrainedConfig | None:
    try:
        return AutoConfig.from_pretrained(base)
    except (OSError, ValueError):
        return None  # load_model says what is wrong


def build_classifier(base: XLingAlignModel, labels: Sequence[str], words: bool) -> Classifier:
    """Put a fresh classifier on a base model, which is used itself and not copied.

    Args:
        base: The base model.
        labels: Names of the labels; they are saved in the config.
        words: Whether each word gets a label, not each text.

    Returns:
        The model; parts that its loss does not reach are frozen.

    Raises:
        InputError: There are less than two labels.
    """
    if len(labels) < 2:
        raise InputError(
            f"a classifier needs two or more labels; the training rows have {', '.join(labels) or 'none'}"
        )
    base.config.id2label = dict(enumerate(labels))
    base.config.label2id = {label: number for number, label in enumerate(labels)}
    model = (XLingAlignForTokenClassification if words else XLingAlignForSequenceClassification)(base.config)
    model.xling = base
    unread = [base.projection, None if words else base.word_fusion]
    if base.config.language_token == base.config.fusion_context == "none":
        unread.append(base.language)
    for module in unread:
        if module is not None:
            module.requires_grad_(False)
    return model


@contextmanager
def small_vocabulary(model: Classifier, rows: Sequence[dict], pad_token_id: int) -> Iterator[None]:
    """Train with the embeddings of only those tokens that occur, and put them back into the whole tables afterwards.

    Args:
        model: Its word embeddings are exchanged within the context.
        rows: Tokenised rows; their `input_ids` are renumbered, for good.
        pad_token_id: Keeps its number, as all before it do.

    Yields:
        Nothing.
    """
    towers = model.xling.towers
    tables: list[Any] = [tower.get_input_embeddings() for tower in towers]
    kept = np.arange(1 + max(pad_token_id, *(table.padding_idx or 0 for table in tables)))
    used = np.unique(np.concatenate([kept, *(row["input_ids"] for row in rows)]))
    for row in rows:
        row["input_ids"] = np.searchsorted(used, row["input_ids"])
    for tower, table in zip(towers, tables, strict=True):
        rows_used = table.weight[used].detach()
        small = nn.Embedding.from_pretrained(rows_used, padding_idx=table.padding_idx)
        tower.set_input_embeddings(small.requires_grad_(table.weight.requires_grad))
    try:
        yield
    finally:
        for tower, table in zip(towers, tables, strict=True):
            with torch.no_grad():
                table.weight[used] = tower.get_input_embeddings().weight.to(table.weight)
            tower.set_input_embeddings(table.to(model.device))


def history_of(logs: Sequence[Mapping[str, float]], scores: Sequence[float]) -> list[dict[str, float]]:
    """Put each epoch's mean loss and dev score together.

    Args:
        logs: `Trainer`'s log history.
        scores: A dev score per epoch, or nothing.

    Returns:
        `epoch`, `loss` and, where there is one, `dev_score` of each epoch.

    Raises:
        FloatingPointError: A loss is not finite.
    """
    history = [{"epoch": log["epoch"], "loss": log["loss"]} for log in logs if "loss" in log]
    if broken := [epoch for epoch in history if not isfinite(epoch["loss"])]:
        raise FloatingPointError(
            f"the loss is {broken[0]['loss']} in epoch {broken[0]['epoch']:g}; lower --learning_rate, or --bf16 false"
        )
    for epoch, score in zip(history, scores, strict=False):
        epoch["dev_score"] = score
    return history


@dataclass
class TaskArguments:
    """What is fine-tuned, and on what.

    Attributes:
        model: Folder or Hub id of an aligned model or of a plain encoder.
        train_file: Labelled rows: TSV with a header, JSONL, Parquet, or for words CoNLL.
        dev_file: More of them, in the same language, to choose the epoch by.
        task: `sequence` for texts, `pair` for pairs of texts, `token` for words.
        columns: Columns as part=column, such as text=sentence1 text_pair=sentence2.
        language: Code of the rows' language, unless a column says it.
        pooling: Where a plain encoder's sentence vector comes from, `cls` or `mean`.
    """

    model: str | None = None
    train_file: str | None = None
    dev_file: str | None = None
    task: str = "sequence"
    columns: list[str] | None = None
    language: str = "en"
    pooling: str = "cls"

    def __post_init__(self):
        if self.task not in ROLES:
            raise InputError(f"--task {self.task!r} is not one of {', '.join(ROLES)}")

    def rows(self, path: str | None) -> list[dict] | None:
        """Read a file's rows; None without a file."""
        parts = [column.partition("=") for column in self.columns or []]
        for part, equals, column in parts:
            if not equals or not column:
                raise InputError(f"--columns {part!r} must be part=column, such as label=category")
        return (
            read_labelled(path, self.task, {part: column for part, _, column in parts}, self.language)
            if path
            else None
        )


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    """Run the program."""
    task, args = parse(argv, TaskArguments, FineTuneArguments, program="finetune")
    log_to_screen(args.should_log)
    if not task.model or not task.train_file:
        raise InputError("fine-tuning needs --model FOLDER and --train_file FILE")
    check_writable(args.output_dir)
    rows, dev_rows = task.rows(task.train_file), task.rows(task.dev_file)
    tokenizer = load_tokenizer(task.model)
    model, history = finetune(task.model, tokenizer, rows, args=args, dev_rows=dev_rows, pooling=task.pooling)
    for epoch in history:
        logger.info(", ".join(f"{name} {value:.4g}" for name, value in epoch.items()))
    if args.should_save:
        model.save_pretrained(args.output_dir, tokenizer=tokenizer)
        text = json.dumps(history, indent=2) + "\n"
        (Path(args.output_dir) / "history.json").write_text(text, encoding="utf-8")
    logger.info("saved to %s", args.output_dir)
    processes = PartialState()
    processes.wait_for_everyone()
    processes.destroy_process_group()  # a process that leaves its group open may abort on its way out


if __name__ == "__main__":
    main()
