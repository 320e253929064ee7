"""The same training with several seeds: a folder for each, which is there only when its run is complete."""

import copy
import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from statistics import mean, stdev
from typing import Any, TypeVar

from accelerate import PartialState

from xling_align.modeling_xling import InputError

from .arguments import CommonTrainingArguments

logger = logging.getLogger("xling_align")

Arguments = TypeVar("Arguments", bound=CommonTrainingArguments)
FREE = ("output_dir", "seed", "disable_tqdm", "log_level", "logging_dir", "run_name", "local_rank")  # may differ


def run_seeds(run: Callable[[Arguments, Path], Any], args: Arguments, seeds: int, settings: dict[str, Any]) -> None:
    """Train with each seed that has no folder yet.

    Args:
        run: Trains with the given arguments, and saves into the given folder.
        args: Training arguments; `seed` is the first seed.
        seeds: How many.
        settings: What the runs depend on besides `args`.
    """
    output, processes = Path(str(args.output_dir)), PartialState()
    check_settings(output / "settings.json", {**settings, **settings_of(args)}, args.should_save)
    for seed in range(args.seed, args.seed + seeds):
        folder, own = seed_folder(output, seed), copy.copy(args)
        if folder.exists():
            logger.info("%s is there", folder)
            continue
        logger.info("seed %d", seed)
        own.seed = seed
        partial = folder.with_suffix(".partial")
        if args.should_save:
            shutil.rmtree(partial, ignore_errors=True)
        run(own, partial)
        processes.wait_for_everyone()
        if args.should_save:
            partial.rename(folder)
        processes.wait_for_everyone()


def seed_folder(output: Path, seed: int) -> Path:
    """Where a seed's run lies."""
    return output / f"seed-{seed}"


def settings_of(args: CommonTrainingArguments) -> dict[str, Any]:
    """The arguments that decide what comes out of a run, as plain text."""
    return {item.name: str(getattr(args, item.name)) for item in fields(args) if item.init and item.name not in FREE}


def check_settings(path: Path, settings: dict[str, Any], write: bool) -> None:
    """Refuse to mix runs of different settings.

    Args:
        path: Where the settings of the folder's runs are kept.
        settings: Those of this command.
        write: Whether this process writes them, where there are none.

    Raises:
        InputError: There are others.
    """
    given = json.loads(json.dumps(settings))
    if path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))
        for name in sorted(given.keys() | known.keys()):
            if given.get(name) != known.get(name):
                change = f"--{name} {known.get(name)}, and now {given.get(name)}"
                raise InputError(f"{path.parent} holds runs with {change}; name another --output_dir")
    elif write:
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(given, indent=2), encoding="utf-8")
        partial.replace(path)


def summary(scores: list[float]) -> str:
    """Mean and deviation of dev scores, in %.

    >>> summary([0.5, 0.75])
    'dev score 62.5, deviation 17.7, over 2 seeds (50.0, 75.0)'
    """
    each = ", ".join(f"{100 * score:.1f}" for score in scores)
    deviation = 100 * stdev(scores) if len(scores) > 1 else 0.0
    return f"dev score {100 * mean(scores):.1f}, deviation {deviation:.1f}, over {len(scores)} seeds ({each})"
