"""Arguments of the training programs: a YAML recipe plus flags, and one line for whoever mistypes them."""

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import wraps
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import HfArgumentParser, TrainingArguments

from xling_align.eval.encoding import has_fast_bf16
from xling_align.modeling_xling import InputError, nearest

from .adaptive.arguments import AdaptiveArguments
from .checks import check_at_least, check_between, check_choice, check_share

LEVELS = {
    "language": ("language",),
    "sentence": ("inter", "intra", "momentum"),
    "word": ("mlm", "tlm", "distribution"),
}
LOSSES = tuple(loss for losses in LEVELS.values() for loss in losses)
CHOICES = {
    "losses": LOSSES,
    "without": (*LOSSES, "sentence", "word", "lexicon", "afm"),
    "inter_loss": ("infonce", "additive_margin", "sigmoid", "multi_positive", "rince", "paper"),
    "intra_loss": ("stable", "paper"),
    "language_loss": ("gradient_reversal", "alternating", "confusion"),
    "language_labels": ("all", "source"),
    "distribution_loss": ("mean", "per_token"),
    "balance": ("loss", "level", "fixed"),
}


def read_weights(weights: dict | str | None) -> dict[str, float]:
    """Loss weights from a recipe's mapping or a flag's JSON.

    Args:
        weights: `{"mlm": 0.1}`, or the same as text.

    Returns:
        Weights by loss.

    Raises:
        InputError: It is no such mapping, names an unknown loss, or a weight is negative or not finite.
    """
    try:
        read = json.loads(weights) if isinstance(weights, str) else dict(weights or {})
        floats = {name: float(weight) for name, weight in read.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f'--loss_weights {weights!r} is not a mapping such as {{"mlm": 0.1}}') from error
    check_choice("loss_weights", list(floats), LOSSES)
    for name, weight in floats.items():
        if not 0 <= weight < math.inf:
            raise InputError(f"--loss_weights gives {name} {weight}; a weight must be a finite number, 0 or more")
    return floats


@dataclass
class ModelArguments:
    """Which encoder, and how it is wrapped.

    Attributes:
        encoder: Folder or Hub id of the encoder, or of a model that xling-align saved, to be trained further.
        target_encoder: Folder or Hub id of a second encoder, for all languages but the source language, which makes
            a dual encoder; one encoder for all unless given.
        language_token: See `XLingAlignConfig`.
        language_dropout: See `XLingAlignConfig`.
        fusion_context: See `XLingAlignConfig`.
        fusion_activation: See `XLingAlignConfig`.
        fusion_residual: See `XLingAlignConfig`.
        pooling: See `XLingAlignConfig`.
        projection_dim: See `XLingAlignConfig`.
        lexicon_start: Start a plain encoder's word embeddings at those of their translations in the source language,
            as the pairs show them, unless fewer of the pairs find each other then. An aligned model keeps its own; in
            rounds of mining those of the mined languages start each round at the translations that its pairs show.
        share_subwords: Let pieces that are spelled alike learn together, for text that is too little for each alone.
        freeze_embeddings: Keep the word embeddings as they are.
        lora_rank: Train low-rank adapters of this rank in the encoder's linear layers instead of the encoder;
            0 trains the encoder.
    """

    encoder: str | None = None
    target_encoder: str | None = None
    language_token: str | None = None
    language_dropout: float | None = None
    fusion_context: str | None = None
    fusion_activation: str | None = None
    fusion_residual: bool | None = None
    pooling: str | None = None
    projection_dim: int | None = None
    lexicon_start: bool = False
    share_subwords: bool = False
    freeze_embeddings: bool = False
    lora_rank: int = 0

    def __post_init__(self):
        check_at_least(0, lora_rank=self.lora_rank, projection_dim=self.projection_dim)


@dataclass
class DataArguments:
    """Where the pairs come from.

    Attributes:
        train_file: Files or folders of pairs (TSV, JSONL, Parquet, TMX, gettext), or Hub dataset ids.
        text_file: Files of plain text, a sentence a line; read by pre-training only.
        data_dir: A folder with `parallel/<corpus>/<xx>-<source language>.tsv[.gz]`.
        corpora: Which corpora of `data_dir`; all unless given.
        monolingual_files: Files of plain text, a sentence a line, whose names end in their language (`news.de.txt`,
            `de.txt.gz`), or folders of such: negatives for momentum contrast.
        languages: Codes of the target languages; those of the pairs unless given.
        source_language: The language that the others are aligned to.
        target_language: Language of the target side, for files that do not say it.
        max_pairs: Read at most so many pairs.
    """

    train_file: list[str] | None = None
    text_file: list[str] | None = None
    data_dir: str | None = None
    corpora: list[str] | None = None
    monolingual_files: list[str] | None = None
    languages: list[str] | None = None
    source_language: str = "en"
    target_language: str | None = None
    max_pairs: int | None = None

    @property
    def paths(self) -> list[str]:
        """Files and folders that pairs are read from."""
        corpora = (self.corpora or [""]) if self.data_dir else []
        return [*(self.train_file or []), *(str(Path(self.data_dir or "", "parallel", name)) for name in corpora)]


@dataclass
class CommonTrainingArguments(TrainingArguments):
    """`TrainingArguments` with the defaults that every training here needs.

    bf16 is on where the machine multiplies it in hardware, `bf16=False` turns it off; columns are kept, and a
    non-finite loss is seen.

    Attributes:
        max_length: Longest text in tokens; longer ones are cut.
    """

    bf16: bool | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    remove_unused_columns: bool | None = False
    logging_nan_inf_filter: bool = False
    max_length: int = 128

    def __post_init__(self):
        if not torch.cuda.is_available():
            self.use_cpu = True
        if self.bf16 is None:
            self.bf16 = has_fast_bf16() and not self.fp16
        check_at_least(3, max_length=self.max_length)  # a word between the first and the last token
        check_at_least(0, learning_rate=self.learning_rate)
        super().__post_init__()


@dataclass
class XLingAlignTrainingArguments(AdaptiveArguments, CommonTrainingArguments):
    """The defaults that contrastive alignment needs.

    Incomplete batches are dropped, and there is no search for unused parameters, since what no loss reaches is
    frozen.

    Attributes:
        embedding_learning_rate: Learning rate of the word embeddings; `learning_rate` unless given. Embeddings that
            start from nothing want ten times that of the layers.
        head_learning_rate: Of fusion, projection, language embeddings and LM head; `learning_rate` unless given.
        discriminator_learning_rate: Of the language discriminator; decays as the others, alternating too.
        balance_learning_rate: Of the learned loss weights.
        losses: Which losses are trained: language, inter, intra, momentum, mlm, tlm, distribution.
        without: What is taken out of them: a loss, a level (language, sentence, word), lexicon (the start of the
            word embeddings), or afm.
        inter_loss: infonce, additive_margin, sigmoid, multi_positive, rince, or paper for eq. 7 with its dot products.
            sigmoid has a bias, -10 or learned from there by `temperature: learnable`; SigLIP starts at `tau: 0.1`.
        margin: Of additive_margin.
        intra_loss: stable, or paper for eq. 8 with its dot products.
        intra_tau: Temperature of the stable intra loss.
        language_loss: gradient_reversal, alternating or confusion.
        language_labels: all to tell every language, source to tell the source from the others.
        distribution_loss: mean for one prediction per sentence, per_token for the mean of its words' predictions.
        smoothing: Laplace smoothing of the word distribution.
        word_share: Share of a batch's pairs that the word level sees.
        queue_size: Keys that momentum contrast remembers.
        momentum: Decay of the momentum encoder.
        momentum_tau: Temperature of momentum contrast.
        mixup: Momentum contrast over two joined pairs in random order.
        balance: loss or level for learned weights, one for each; fixed for weights of 1.
        loss_weights: Fixed weights by loss; these losses learn none.
        gradient_steps: Every so many steps, log the gradient norm of each level and the cosines between them; 0 never.
        tau: Temperature of the contrastive loss.
        mlm_probability: Share of the tokens that masked language modelling masks.
        row_groups: A batch's rows go through the encoder in so many groups of like length, each padded to its own
            longest; the same vectors in less time where padding costs more than a call. 2 on CPU, else 1.
    """

    output_dir: str = "outputs/align"
    learning_rate: float = 2e-5
    per_device_train_batch_size: int = 64
    per_device_eval_batch_size: int = 64
    warmup_steps: float = 0.05
    logging_steps: float = 50
    save_strategy: str = "steps"  # pyright: ignore[reportIncompatibleVariableOverride]
    save_steps: float = 500
    save_total_limit: int | None = 2
    dataloader_drop_last: bool = True
    ddp_find_unused_parameters: bool | None = False
    embedding_learning_rate: float | None = None
    head_learning_rate: float | None = None
    discriminator_learning_rate: float = 8e-4
    balance_learning_rate: float = 1e-2
    losses: list[str] = field(default_factory=lambda: ["inter"])
    without: list[str] = field(default_factory=list)
    inter_loss: str = "infonce"
    margin: float = 0.3
    intra_loss: str = "stable"
    intra_tau: float = 0.1
    language_loss: str = "gradient_reversal"
    language_labels: str = "all"
    distribution_loss: str = "mean"
    smoothing: float = 1e-5
    word_share: float = 0.25
    queue_size: int = 4096
    momentum: float = 0.999
    momentum_tau: float = 0.25
    mixup: bool = False
    balance: str = "loss"
    loss_weights: dict | str | None = None
    gradient_steps: int = 0
    tau: float = 0.05
    mlm_probability: float = 0.15
    row_groups: int | None = None

    def __post_init__(self):
        if self.row_groups is None:
            self.row_groups = 2 if self.use_cpu or not torch.cuda.is_available() else 1
        check_at_least(1, row_groups=self.row_groups, queue_size=self.queue_size)
        for name, accepted in CHOICES.items():
            check_choice(name, getattr(self, name), accepted)
        self.loss_weights = read_weights(self.loss_weights)
        check_at_least(1e-4, tau=self.tau, intra_tau=self.intra_tau, momentum_tau=self.momentum_tau)
        check_share(mlm_probability=self.mlm_probability, word_share=self.word_share)
        for part in ("embedding", "head", "discriminator", "balance"):
            check_at_least(0, **{f"{part}_learning_rate": getattr(self, f"{part}_learning_rate")})
        check_between(0, 1, momentum=self.momentum, smoothing=self.smoothing)
        check_between(0, 2, margin=self.margin)  # of cosines
        if self.mixup:  # joins pairs two by two
            check_at_least(2, per_device_train_batch_size=self.per_device_train_batch_size)
        self.check_adaptive(self.losses, self.inter_loss, self.tau)
        super().__post_init__()


def recipe_path(recipe: str) -> Path:
    """Path of a recipe file, or of a packaged recipe by its name.

    Args:
        recipe: A path, or a name such as `default`.

    Returns:
        The path.

    Raises:
        InputError: There is none.
    """
    folder = Path(__file__).parent / "recipes"
    packaged = sorted(path.stem for path in folder.glob("*.yaml"))
    for path in (Path(recipe), folder / recipe, folder / f"{recipe}.yaml"):
        if path.is_file():
            return path
    raise InputError(f"recipe {recipe!r} is neither a YAML file nor one of {', '.join(packaged)}")


def read_recipe(path: Path) -> dict[str, Any]:
    """Read keys and values.

    Args:
        path: A YAML file.

    Returns:
        The mapping that it holds.

    Raises:
        InputError: The file is not a YAML mapping.
    """
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(recipe, dict):
        raise InputError(f"{path} must hold `key: value` lines")
    return recipe


def flags_of(recipe: Mapping[str, Any]) -> list[str]:
    """Keys and values as `--key value` words, so that one parser reads and checks recipes and flags."""
    flags = []
    for key, value in recipe.items():
        values = value if isinstance(value, list) else [value]
        texts = [json.dumps(item) if isinstance(item, dict) else str(item) for item in values if item is not None]
        flags += [f"--{key}", *texts] if texts else []
    return flags


class RecipeParser(HfArgumentParser):
    """An `HfArgumentParser` that fails in one line."""

    def error(self, message: str):
        """Raise `InputError` in place of printing two hundred lines of usage."""
        raise InputError(message)


def parse(argv: list[str] | None, *classes, program: str) -> tuple:
    """Read `[RECIPE.yaml] [--flag value ...]` into dataclasses; flags win over the recipe.

    Args:
        argv: The command line without the program; `sys.argv` unless given.
        *classes: Dataclasses whose fields are the flags.
        program: Name for the help text.

    Returns:
        One instance of each class.

    Raises:
        InputError: An unknown key or flag (the nearest is named), a value of the wrong type, or values that
            exclude each other.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = RecipeParser(
        classes, prog=program, usage=f"{program} [RECIPE.yaml] [--flag value ...]", allow_abbrev=False
    )
    known = {item.name for cls in classes for item in fields(cls) if item.init}
    recipe = recipe_path(argv.pop(0)) if argv and not argv[0].startswith("-") else None
    origins = ([(flags_of(read_recipe(recipe)), str(recipe))] if recipe else []) + [(argv, "the command line")]
    for flags, origin in origins:
        for flag in flags:
            name = flag.removeprefix("--").removeprefix("no_").split("=")[0]
            if flag.startswith("--") and name not in known and flag != "--help":
                raise InputError(f"unknown key {name!r} in {origin}{nearest(name, sorted(known))}")
    try:
        *parsed, rest = parser.parse_args_into_dataclasses(
            [flag for flags, _ in origins for flag in flags], return_remaining_strings=True
        )
    except (ValueError, ImportError) as error:  # of TrainingArguments, which checks what goes together
        raise InputError(" ".join(str(error).split())) from error
    if rest:
        raise InputError(f"{rest[0]!r} belongs to no flag; give one RECIPE.yaml first and then --flag value ...")
    return tuple(parsed)


def one_line_errors(main):
    """Wrap a program: bad input is one line on standard error and exit code 2."""

    @wraps(main)
    def wrapped(argv: list[str] | None = None):
        try:
            return main(argv)
        except (InputError, FloatingPointError) as error:  # a loss that is not finite comes from the settings
            print(f"error: {error}", file=sys.stderr)  # noqa: T201
            raise SystemExit(2) from None

    return wrapped
