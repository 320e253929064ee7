"""What programs share: screen, processes, output folder, files that appear in one step."""

import json
import logging
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import psutil

from xling_align.modeling_xling import InputError

from .distributed import process_count

logger = logging.getLogger("xling_align")


def log_to_screen(main_process: bool) -> None:
    """Show what the programs tell, on the main process alone."""
    logging.basicConfig(level=logging.INFO if main_process else logging.ERROR, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)


def asked_processes() -> int | None:
    """How many processes the launcher was asked for, read off its command line."""
    parent = psutil.Process().parent()
    words = [part for word in (parent.cmdline() if parent else []) for part in word.split("=", 1)]
    for word, following in zip(words, words[1:], strict=False):
        if word in ("--num_processes", "--nproc_per_node", "--nproc-per-node") and following.isdigit():
            return int(following)
    return None


def tell_processes() -> None:
    """Log how many processes train, and warn where the launcher started fewer than it was asked for."""
    asked, running = asked_processes(), process_count()
    logger.info("training on %d process%s", running, "" if running == 1 else "es")
    if asked and asked != running:
        logger.warning(
            "%d processes were asked for and %d runs: accelerate starts one process on CPU; use "
            "torchrun --nproc_per_node %d -m xling_align.trainers.align ...",
            asked,
            running,
            asked,
        )


def check_writable(folder: str, flag: str = "--output_dir") -> None:
    """Create the output folder before any work is done.

    Args:
        folder: The folder.
        flag: What named it.

    Raises:
        InputError: It can't be written.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):  # each process has its own
            pass
    except OSError as error:
        raise InputError(f"{flag} {folder} can't be written ({error.strerror}); name another folder") from error


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that a reader sees all of it or the file before."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)
