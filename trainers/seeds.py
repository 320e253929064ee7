"""The same training with several seeds: a folder for each, which is there only when its run is complete."""

import copy
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from typing import Any, TypeVar

from accelerate import PartialState

from .arguments import CommonTrainingArguments
from .checkpoints import check_same_settings, settings_of
from .facts import schedule_of, stepping_of
from .programs import write_json

logger = logging.getLogger("xling_align")

Arguments = TypeVar("Arguments", bound=CommonTrainingArguments)


def run_seeds(run: Callable[[Arguments, Path], Any], args: Arguments, seeds: int, settings: dict[str, Any]) -> None:
    """Train with each seed that has no folder yet.

    Args:
        run: Trains with the given arguments, and saves into the given folder.
        args: Training arguments; `seed` is the first seed.
        seeds: How many.
        settings: What the runs depend on besides `args`.
    """
    output, processes = Path(str(args.output_dir)), PartialState()
    of_run = stepping_of(args) | schedule_of(args) | {"bf16": args.bf16, "fp16": args.fp16}
    settings = settings_of(settings, {name: value for name, value in of_run.items() if name != "seed"})
    check_same_settings(output / "settings.json", settings)
    processes.wait_for_everyone()  # before one of them writes
    if args.should_save:
        output.mkdir(parents=True, exist_ok=True)
        write_json(output / "settings.json", settings)
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


def summary(scores: list[float]) -> str:
    """Mean and deviation of dev scores, in %.

    >>> summary([0.5, 0.75])
    'dev score 62.5, deviation 17.7, over 2 seeds (50.0, 75.0)'
    """
    each = ", ".join(f"{100 * score:.1f}" for score in scores)
    deviation = 100 * stdev(scores) if len(scores) > 1 else 0.0
    return f"dev score {100 * mean(scores):.1f}, deviation {deviation:.1f}, over {len(scores)} seeds ({each})"
