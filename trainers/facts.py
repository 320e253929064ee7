"""What a training leaves beside its model for the card: base, corpora with their pairs, recipe.

Files are named without their folders, which are the user's own. The file itself is not pushed: the card says what
it holds.
"""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from xling_align.modeling_xling import InputError

from .arguments import CommonTrainingArguments, DataArguments, ModelArguments
from .data.monolingual import text_files
from .data.readers import ReadReport
from .programs import write_json

FACTS = "training_facts.json"
SCHEDULE = ("learning_rate", "per_device_train_batch_size", "seed")
STEPPING = (  # of `TrainingArguments`: what a step depends on, whatever the device
    *SCHEDULE,
    "data_seed",
    "gradient_accumulation_steps",
    "optim",
    "optim_args",
    "weight_decay",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "max_grad_norm",
    "lr_scheduler_type",
    "lr_scheduler_kwargs",
    "warmup_steps",
    "label_smoothing_factor",
    "neftune_noise_alpha",
    "dataloader_drop_last",
)


def read_facts(folder: str | Path) -> dict[str, Any]:
    """A model's facts.

    Args:
        folder: The model's.

    Returns:
        `base_model`, `training_data` and `recipe`; nothing of a model without, such as one on the Hub.

    Raises:
        InputError: The file is no mapping in JSON.
    """
    path = Path(folder).expanduser() / FACTS
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} can't be read; mend it, or delete it and train again") from error


def write_facts(folder: str | Path, base: str, training_data: Mapping[str, Any], recipe: Mapping[str, Any]) -> None:
    """Write a model's facts, those of the model that it was made of included.

    Args:
        folder: The model's.
        base: Folder or Hub id of what it was made of; a folder is not named.
        training_data: As `build_card` takes it.
        recipe: As `build_card` takes it.
    """
    before = read_facts(base)
    facts = {
        "base_model": before.get("base_model") if Path(base).expanduser().exists() else base,
        "training_data": before.get("training_data", {}) | dict(training_data),
        "recipe": before.get("recipe", {}) | dict(recipe),
    }
    write_json(Path(folder) / FACTS, facts)


def corpora_of(data: DataArguments, report: ReadReport) -> dict[str, dict[str, Any]]:
    """Corpora with their pairs, by name: a corpus of `data_dir`, a set of the Hub, or a file without its folder.

    Args:
        data: What was read.
        report: Filled by reading it.

    Returns:
        `pairs`, and for a set of the Hub its `hub_id`.
    """
    root = Path(data.data_dir or "").expanduser() / "parallel"
    corpora: dict[str, dict[str, Any]] = {}
    for file, pairs in report.good.items():
        path = Path(file)
        name = file if not path.exists() else path.parent.name if path.parent.parent == root else path.name
        row = corpora.setdefault(name, {"pairs": 0} if path.exists() else {"pairs": 0, "hub_id": file})
        row["pairs"] += pairs
    single = {path.name: {"pairs": "single sentences"} for path in text_files(data.monolingual_files or [])}
    return corpora | single


def own_of(args: CommonTrainingArguments) -> dict[str, Any]:
    """The arguments that are the project's own."""
    common = {item.name for item in fields(TrainingArguments)}
    return {item.name: getattr(args, item.name) for item in fields(args) if item.name not in common}


def stepping_of(args: CommonTrainingArguments) -> dict[str, Any]:
    """The arguments that every step depends on: not how many there are, nor what is logged, saved or faster."""
    own = {name: value for name, value in own_of(args).items() if name not in ("row_groups", "gradient_steps")}
    return own | {name: getattr(args, name) for name in STEPPING}


def schedule_of(args: CommonTrainingArguments) -> dict[str, Any]:
    """Learning rate, batch, seed, and how long was trained."""
    length = "max_steps" if args.max_steps > 0 else "num_train_epochs"
    return {name: getattr(args, name) for name in (*SCHEDULE, length)}


def recipe_of(model: ModelArguments, args: CommonTrainingArguments) -> dict[str, Any]:
    """The arguments of an alignment that are the project's own, and its schedule.

    Args:
        model: How the encoder is wrapped.
        args: How it is trained.

    Returns:
        Values by argument.
    """
    wrapping = {name: value for name, value in vars(model).items() if name not in ("encoder", "target_encoder")}
    return own_of(args) | wrapping | schedule_of(args)
