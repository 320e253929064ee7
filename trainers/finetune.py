"""Fine-tune on one language's labels: `accelerate launch -m xling_align.trainers.finetune RECIPE.yaml --flag value`.

`finetune` is the same as a function. It starts from an aligned model or from any plain encoder, which is wrapped
without language token and fusion, so that both are measured through the same code. What it does beside `Trainer`:

- only embeddings of tokens that occur are trained. Those of all others would get gradient zero, and Adam without
  weight decay leaves them as they are: the result is the same, without a vocabulary's worth of work in every step;
- with dev rows, the weights of the best epoch are kept, in memory; or the average of all epochs' ends is taken;
- with translation pairs, a batch of them goes beside every labelled one, so that the encoder stays aligned;
- on CPU, eager attention and quick dropout as in alignment.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from accelerate import PartialState
from transformers import PreTrainedTokenizerBase, TrainerCallback, set_seed

from xling_align.modeling_xling import InputError, XLingAlignModel, limit_tokenizer, load_tokenizer

from .adapters import add_adapters, without_adapters
from .align import pair_stream
from .arguments import CommonTrainingArguments, DataArguments, check_at_least, check_choice, one_line_errors, parse
from .classifiers import Base, Classifier, build_classifier, load_base, small_vocabulary
from .data.labelled import ROLES, LabelledCollator, label_names, read_labelled, tokenize_labelled
from .data.readers import ReadReport
from .data.tokenized import tokenize_pairs
from .fast_cpu import fast_on_cpu
from .joint import JointTrainer
from .programs import check_writable, log_to_screen
from .seeds import run_seeds, seed_folder, summary
from .selection import SELECTIONS, EachEpoch, EpochSelection

logger = logging.getLogger("xling_align")


@dataclass
class FineTuneArguments(CommonTrainingArguments):
    """The defaults that fine-tuning a small encoder needs; there are no checkpoints on disk.

    Attributes:
        select: Which weights come out: best for those of the epoch with the best dev score (without dev rows, the last
            epoch's), average for the mean over the ends of all epochs, last.
        freeze_embeddings: Keep the word embeddings as they are.
        lora_rank: Train low-rank adapters of this rank in the encoder's linear layers instead of the encoder, and fold
            them in afterwards; 0 trains the encoder.
        alignment_weight: What the alignment of translation pairs counts beside the task; 0 for no pairs.
        alignment_tau: Temperature of its InfoNCE.
    """

    output_dir: str = "outputs/finetune"
    learning_rate: float = 5e-5
    per_device_train_batch_size: int = 32
    per_device_eval_batch_size: int = 128
    warmup_steps: float = 0.1
    logging_strategy: str = "epoch"  # pyright: ignore[reportIncompatibleVariableOverride]
    save_strategy: str = "no"  # pyright: ignore[reportIncompatibleVariableOverride]
    train_sampling_strategy: str = "group_by_length"
    select: str = "best"
    freeze_embeddings: bool = False
    lora_rank: int = 0
    alignment_weight: float = 0.0
    alignment_tau: float = 0.05

    def __post_init__(self):
        check_choice("select", self.select, SELECTIONS)
        check_at_least(0, lora_rank=self.lora_rank, alignment_weight=self.alignment_weight)
        check_at_least(1e-4, alignment_tau=self.alignment_tau)
        for name, only in (("save_strategy", "no"), ("eval_strategy", "no"), ("logging_strategy", "epoch")):
            if str(getattr(getattr(self, name), "value", getattr(self, name))) != only:
                raise InputError(f"--{name} can only be {only}: fine-tuning logs, and with dev rows chooses, by epoch")
        super().__post_init__()


class FineTuned(NamedTuple):
    """A fine-tuned model in eval mode, and its history.

    Attributes:
        model: The model.
        history: Of each epoch the mean `loss`, with pairs the mean `alignment_loss`, with dev rows the `dev_score`; of
            the last also the `average_dev_score` of averaged weights.
    """

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
    pairs: Iterable[dict] | None = None,
    each_epoch: Callable[[Classifier], None] | None = None,
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
        pairs: Translation pairs, as `tokenize_pairs` takes them, that `alignment_weight` keeps near each other.
        each_epoch: Called with the model as it is after every epoch, to measure it.

    Returns:
        The model and its history.
    """
    args = args or FineTuneArguments()
    check_pairs(args, pairs is not None)
    labels = list(labels or label_names(rows))
    set_seed(args.seed)  # for what wrapping adds to a plain encoder
    loaded = load_base(base, pooling)
    set_seed(args.seed)  # again, so that the classifier starts the same from a folder and from memory
    model = build_classifier(loaded, labels, words="tokens" in next(iter(rows), {}))
    choose_trained(model.xling, args)
    limit_tokenizer(tokenizer, model.config)
    train, dev = (
        tokenize_labelled(side, labels, tokenizer, model.config, args.max_length) if side is not None else []
        for side in (rows, dev_rows)
    )
    aligned = None if pairs is None else tokenize_pairs(pairs, tokenizer, model.config, args.max_length)
    pad_token_id = int(tokenizer.pad_token_id)  # pyright: ignore[reportArgumentType]
    collator = LabelledCollator(pad_token_id, model.config.max_position_embeddings)
    selection = EpochSelection(args.select, dev, labels, collator, args.per_device_eval_batch_size)
    small: Any = nullcontext(nullcontext)  # with weight decay, embeddings of tokens that do not occur change too
    if not args.weight_decay:
        small = small_vocabulary(model, [*train, *dev], pad_token_id, aligned)
    with small as whole:
        measuring = [EachEpoch(each_epoch, whole)] if each_epoch else []
        trainer = JointTrainer(
            model,
            args,
            data_collator=collator,
            train_dataset=train,
            processing_class=tokenizer,
            callbacks=[*(callbacks or []), selection, *measuring],
            pairs=aligned,
        )
        with fast_on_cpu(model, args):
            trainer.train()
        trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)  # its forward is the class's own again
        selection.restore(model)
    return FineTuned(without_adapters(model).eval(), history_of(trainer.state.log_history, selection))


def check_pairs(args: FineTuneArguments, given: bool) -> None:
    """Refuse pairs without a weight, and a weight without pairs.

    Args:
        args: The weight.
        given: Whether there are pairs.

    Raises:
        InputError: One lacks the other.
    """
    if given and not args.alignment_weight:
        raise InputError("there are pairs and no weight for them; give --alignment_weight, such as 0.1")
    if args.alignment_weight and not given:
        raise InputError(
            f"--alignment_weight {args.alignment_weight} needs pairs; give --alignment_file FILE or --data_dir FOLDER"
        )


def choose_trained(base: XLingAlignModel, args: FineTuneArguments) -> None:
    """Freeze the word embeddings, or put adapters into the encoder, where the arguments say so.

    Args:
        base: All of it is trainable.
        args: The arguments.

    Raises:
        InputError: Adapters are asked for in a dual encoder.
    """
    for tower in base.towers:
        tower.get_input_embeddings().requires_grad_(not args.freeze_embeddings)
    if args.lora_rank and len(base.towers) > 1:
        raise InputError("--lora_rank is for one encoder; leave it out for a dual encoder")
    if args.lora_rank:
        add_adapters(base, args.lora_rank)


def history_of(logs: Sequence[Mapping[str, float]], selection: EpochSelection) -> list[dict[str, float]]:
    """Put each epoch's losses and dev score together.

    Args:
        logs: `Trainer`'s log history.
        selection: Holds the dev scores, if there are any.

    Returns:
        A dict for each epoch, as `FineTuned` says, with the number of the `epoch`.

    Raises:
        FloatingPointError: A loss is not finite.
    """
    names = ("epoch", "loss", "alignment_loss")
    history = [{name: log[name] for name in names if name in log} for log in logs if "loss" in log]
    if broken := [epoch for epoch in history if not isfinite(epoch["loss"])]:
        raise FloatingPointError(
            f"the loss is {broken[0]['loss']} in epoch {broken[0]['epoch']:g}; lower --learning_rate, or --bf16 false"
        )
    for epoch, score in zip(history, selection.scores, strict=False):
        epoch["dev_score"] = score
    if selection.average_score is not None:
        history[-1]["average_dev_score"] = selection.average_score
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
        language: Code of the rows' language, unless a column says it; also of the pairs' source side.
        pooling: Where a plain encoder's sentence vector comes from, `cls` or `mean`.
        seeds: Train so many times, from `--seed` on, each into a folder of its own; those that are there are kept.
        alignment_file: Files or folders of translation pairs, parallel or mined, to stay aligned on.
        data_dir: A folder with `parallel/<corpus>/<xx>-en.tsv[.gz]`, instead or besides.
        corpora: Which corpora of `data_dir`; all unless given.
        target_language: Code of the pairs' target side, for files that don't name it.
        languages: Codes of the pairs' target languages; all unless given.
        max_pairs: Read at most so many pairs.
    """

    model: str | None = None
    train_file: str | None = None
    dev_file: str | None = None
    task: str = "sequence"
    columns: list[str] | None = None
    language: str = "en"
    pooling: str = "cls"
    seeds: int = 1
    alignment_file: list[str] | None = None
    data_dir: str | None = None
    corpora: list[str] | None = None
    target_language: str | None = None
    languages: list[str] | None = None
    max_pairs: int | None = None

    def __post_init__(self):
        check_choice("task", self.task, tuple(ROLES))
        check_at_least(1, seeds=self.seeds, max_pairs=self.max_pairs)

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

    def pairs(self) -> list[dict] | None:
        """Read the translation pairs; None without any."""
        if not self.alignment_file and not self.data_dir:
            return None
        data = DataArguments(
            train_file=self.alignment_file,
            data_dir=self.data_dir,
            corpora=self.corpora,
            languages=self.languages,
            target_language=self.target_language,
            source_language=self.language,
            max_pairs=self.max_pairs,
        )
        report = ReadReport()
        pairs = list(pair_stream(data, report))
        logger.info(report)
        return pairs


@dataclass
class Job:
    """Everything that one seed's run needs besides its seed and its folder."""

    task: TaskArguments
    rows: list[dict]
    dev_rows: list[dict] | None
    pairs: list[dict] | None

    @classmethod
    def read(cls, task: TaskArguments) -> "Job":
        """Read what the arguments name.

        Args:
            task: The arguments.

        Returns:
            The job.

        Raises:
            InputError: Something is missing or can't be used.
        """
        rows = task.rows(task.train_file)
        if not task.model or rows is None:
            raise InputError("fine-tuning needs --model FOLDER and --train_file FILE")
        if len(names := label_names(rows)) < 2:
            raise InputError(f"{task.train_file} has one label, {names[0]}; a classifier needs two or more")
        return cls(task, rows, task.rows(task.dev_file), task.pairs())

    def settings(self) -> dict[str, Any]:
        """What the result depends on besides the training arguments: the task's, and a hash of all rows and pairs."""
        rows = json.dumps([self.rows, self.dev_rows, self.pairs], default=str)
        settings = {name: value for name, value in asdict(self.task).items() if name != "seeds"}
        return {**settings, "data": hashlib.blake2b(rows.encode(), digest_size=16).hexdigest()}

    def run(self, args: FineTuneArguments, folder: Path) -> list[dict[str, float]]:
        """Fine-tune and save.

        Args:
            args: Training arguments.
            folder: Where the model goes, with its `history.json`.

        Returns:
            The history.
        """
        tokenizer = load_tokenizer(str(self.task.model))
        model, history = finetune(
            str(self.task.model),
            tokenizer,
            self.rows,
            args=args,
            dev_rows=self.dev_rows,
            pooling=self.task.pooling,
            pairs=self.pairs,
        )
        for epoch in history:
            logger.info(", ".join(f"{name} {value:.4g}" for name, value in epoch.items()))
        if args.should_save:
            model.save_pretrained(folder, tokenizer=tokenizer)
            (folder / "history.json").write_text(json.dumps(history, indent=2) + "\n", encoding="utf-8")
        return history


def tell_scores(args: FineTuneArguments, seeds: int) -> None:
    """Print the dev scores of the weights that each seed's run chose, with mean and deviation.

    Args:
        args: Name the first seed, the folder, and which weights were chosen.
        seeds: How many there are.
    """
    folders = [seed_folder(Path(args.output_dir), seed) for seed in range(args.seed, args.seed + seeds)]
    histories = [json.loads((folder / "history.json").read_text(encoding="utf-8")) for folder in folders]
    if "dev_score" not in histories[0][-1]:
        logger.info("%d seeds trained; without --dev_file there is no score", seeds)
        return
    choose = {
        "best": lambda history: max(epoch["dev_score"] for epoch in history),
        "average": lambda history: history[-1]["average_dev_score"],
        "last": lambda history: history[-1]["dev_score"],
    }[args.select]
    logger.info(summary([choose(history) for history in histories]))


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    """Run the program."""
    task, args = parse(argv, TaskArguments, FineTuneArguments, program="finetune")
    log_to_screen(args.should_log)
    job = Job.read(task)
    check_pairs(args, job.pairs is not None)
    check_writable(args.output_dir)
    if task.seeds == 1:
        job.run(args, Path(args.output_dir))
    else:
        run_seeds(job.run, args, task.seeds, job.settings())
        tell_scores(args, task.seeds)
    logger.info("saved to %s", args.output_dir)
    processes = PartialState()
    processes.wait_for_everyone()
    processes.destroy_process_group()  # a process that leaves its group open may abort on its way out


if __name__ == "__main__":
    main()
