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

from xling_align.eval.encoding import model_digest
from xling_align.modeling_xling import InputError, XLingAlignModel, limit_tokenizer, load_tokenizer

from .adapters import add_adapters, without_adapters
from .arguments import one_line_errors, parse
from .classifiers import Base, Classifier, build_classifier, load_base, small_vocabulary
from .data.labelled import LabelledCollator, label_names, tokenize_labelled
from .data.tokenized import tokenize_pairs
from .facts import schedule_of, write_facts
from .fast_cpu import fast_on_cpu
from .finetune_arguments import FineTuneArguments, TaskArguments
from .joint import JointTrainer
from .programs import check_writable, log_to_screen
from .seeds import run_seeds, seed_folder, summary
from .selection import EachEpoch, EpochSelection

logger = logging.getLogger("xling_align")


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
class Job:
    """Everything that one seed's run needs besides its seed and its folder."""

    task: TaskArguments
    rows: list[dict]
    dev_rows: list[dict] | None
    pairs: list[dict] | None
    corpora: dict[str, Any]

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
        if not task.model or not task.train_file:
            raise InputError("fine-tuning needs --model FOLDER and --train_file FILE")
        rows = task.rows(task.train_file)
        if len(names := label_names(rows)) < 2:
            raise InputError(f"{task.train_file} has one label, {names[0]}; a classifier needs two or more")
        return cls(task, rows, task.rows(task.dev_file) if task.dev_file else None, *task.pairs())

    def settings(self) -> dict[str, Any]:
        """What the result depends on besides the training arguments: the task's, and hashes of rows and weights."""
        rows = json.dumps([self.rows, self.dev_rows, self.pairs], default=str)
        settings = {name: value for name, value in asdict(self.task).items() if name != "seeds"}
        set_seed(0)  # for what wrapping adds to a plain encoder
        base = load_base(str(self.task.model), self.task.pooling)
        weights = model_digest(base, load_tokenizer(str(self.task.model)))
        return {**settings, "data": hashlib.blake2b(rows.encode(), digest_size=16).hexdigest(), "weights": weights}

    def run(self, args: FineTuneArguments, folder: Path) -> list[dict[str, float]]:
        """Fine-tune and save.

        Args:
            args: Training arguments.
            folder: Where the model goes, with its `history.json`.

        Returns:
            The history.
        """
        base, pooling = str(self.task.model), self.task.pooling
        tokenizer = load_tokenizer(base)
        model, history = finetune(
            base, tokenizer, self.rows, args=args, dev_rows=self.dev_rows, pooling=pooling, pairs=self.pairs
        )
        for epoch in history:
            logger.info(", ".join(f"{name} {value:.4g}" for name, value in epoch.items()))
        if args.should_save:
            model.save_pretrained(folder, tokenizer=tokenizer)
            (folder / "history.json").write_text(json.dumps(history, indent=2) + "\n", encoding="utf-8")
            labelled = {Path(str(self.task.train_file)).name: {"pairs": f"{len(self.rows):,} labelled rows"}}
            tuned = {"task": self.task.task, "language": self.task.language, "alignment": args.alignment_weight > 0}
            write_facts(folder, base, labelled | self.corpora, {"fine_tuning": tuned | schedule_of(args)})
        return history


def model_folders(args: FineTuneArguments, seeds: int) -> dict[int, Path]:
    """Where each seed's model lies: one alone in the output folder itself.

    Args:
        args: Name the first seed and the folder.
        seeds: How many there are.

    Returns:
        Folders by seed.
    """
    output = Path(str(args.output_dir))
    if seeds == 1:
        return {args.seed: output}
    return {seed: seed_folder(output, seed) for seed in range(args.seed, args.seed + seeds)}


def tell_scores(args: FineTuneArguments, seeds: int) -> None:
    """Print the dev scores of the weights that each seed's run chose, with mean and deviation.

    Args:
        args: Name the first seed, the folder, and which weights were chosen.
        seeds: How many there are.
    """
    folders = model_folders(args, seeds)
    histories = [json.loads((folder / "history.json").read_text(encoding="utf-8")) for folder in folders.values()]
    if "dev_score" not in histories[0][-1]:
        logger.info("%d seeds trained; without --dev_file there is no score", seeds)
        return
    choose = {
        "best": lambda history: max(epoch["dev_score"] for epoch in history),
        "average": lambda history: history[-1]["average_dev_score"],
        "last": lambda history: history[-1]["dev_score"],
    }[args.select]
    logger.info(summary([choose(history) for history in histories]))


def train(job: Job, args: FineTuneArguments) -> None:
    """Fine-tune with each seed, and save.

    Args:
        job: What is fine-tuned, and on what.
        args: Training arguments.
    """
    check_pairs(args, job.pairs is not None)
    check_writable(str(args.output_dir))
    if job.task.seeds == 1:
        job.run(args, Path(str(args.output_dir)))
    else:
        run_seeds(job.run, args, job.task.seeds, job.settings())
        tell_scores(args, job.task.seeds)
    logger.info("saved to %s", args.output_dir)
    processes = PartialState()
    processes.wait_for_everyone()
    processes.destroy_process_group()  # a process that leaves its group open may abort on its way out


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    """Run the program."""
    task, args = parse(argv, TaskArguments, FineTuneArguments, program="finetune")
    log_to_screen(args.should_log)
    train(Job.read(task), args)


if __name__ == "__main__":
    main()
