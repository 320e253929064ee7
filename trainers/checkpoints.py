"""Which checkpoint a run goes on from."""

import errno
import hashlib
import json
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError
from transformers import TrainerCallback
from transformers.trainer_utils import get_last_checkpoint

from xling_align.modeling_xling import InputError, XLingAlignConfig

from .arguments import CommonTrainingArguments, DataArguments
from .facts import stepping_of
from .programs import write_json

logger = logging.getLogger(__name__)

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FREE = ("output_dir", "logging_dir", "run_name")  # may differ from run to run
RUN_SETTINGS = "training_settings.json"


def last_complete_checkpoint(output_dir: str | None) -> str | None:
    """The newest checkpoint whose state was written to the end; one that a kill cut short is moved aside."""
    folder = Path(output_dir or "")
    while folder.is_dir() and (last := get_last_checkpoint(str(folder))):
        try:
            json.loads((Path(last) / "trainer_state.json").read_text(encoding="utf-8"))
            return last
        except (OSError, ValueError):
            logger.warning("%s is incomplete and was set aside", last)
            aside = Path(last).with_name(f"incomplete-{Path(last).name}")
            shutil.rmtree(aside, ignore_errors=True)  # of an earlier kill at the same step
            Path(last).rename(aside)
    return None


def check_same_model(checkpoint: Path, config: XLingAlignConfig) -> None:
    """Refuse a checkpoint of another model.

    Args:
        checkpoint: Folder of the checkpoint.
        config: The config of the model that is to go on from it.

    Raises:
        InputError: There is no checkpoint, or its encoder or languages differ.
    """
    if not (checkpoint / "config.json").is_file():
        raise InputError(f"{checkpoint} holds no checkpoint; name a folder such as outputs/align/checkpoint-500")
    saved = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    names = ("model_type", "vocab_size", "hidden_size", "dim", "num_hidden_layers", "n_layers")
    differing = []
    for tower in ("encoder_config", "target_encoder_config"):
        theirs, own = saved.get(tower) or {}, getattr(config, tower)
        own = {} if own is None else own.to_dict()
        differing += [name for name in names if theirs.get(name) != own.get(name)]
    names = ("languages", "language_token", "fusion_context", "projection_dim")
    differing += [name for name in names if saved.get(name) != getattr(config, name)]
    if differing:
        raise InputError(
            f"{checkpoint} is of another model (its {', '.join(differing)} differ); "
            "name another --output_dir, or give the encoder and languages it was made with"
        )


def settings_of(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """All that kept work depends on, as JSON holds it; names of folders and runs don't count."""
    given = {name: value for part in parts for name, value in part.items() if name not in FREE}
    return json.loads(json.dumps(given, default=str))


def digests(paths: Iterable[str | Path]) -> dict[str, str]:
    """What tells the contents of files apart.

    Args:
        paths: Files, also those that are there as `.gz` alone, or folders. A name that is neither, such as that of a
            dataset on the Hub, is left out.

    Returns:
        Half of their SHA-256, by "contents of " and the path; for folders of every file in them.
    """
    found = {}
    for path in (Path(path).expanduser() for path in paths):
        whole = path if path.exists() else path.with_name(f"{path.name}.gz")
        for file in filter(Path.is_file, [whole, *sorted(whole.rglob("*"))]):
            with file.open("rb") as stream:
                found[f"contents of {file}"] = hashlib.file_digest(stream, "sha256").hexdigest()[:32]
    return found


def claim(folder: Path, settings: dict[str, Any]) -> None:
    """Take a folder for work of some settings.

    Mined pairs and checkpoints that others left are kept and refused; whatever else they left is dropped.

    Args:
        folder: Where work is kept; it is made if need be.
        settings: As `settings_of` gives them.

    Raises:
        InputError: There are such pairs or checkpoints.
    """
    path = folder / "settings.json"
    try:
        check_same_settings(path, settings)
    except InputError:
        if holds_work(folder):
            raise
        drop(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, settings)


def holds_work(folder: Path) -> bool:
    """Whether there are mined pairs or checkpoints in a folder, which took long."""
    return any(found for name in ("*.parquet", "checkpoint-*") for found in folder.rglob(name))


def drop(folder: Path) -> None:
    """Delete a folder, so that a kill leaves all of it or nothing under its name."""
    aside = folder.with_name(f"{folder.name}.dropped")
    shutil.rmtree(aside, ignore_errors=True)
    folder.rename(aside)
    shutil.rmtree(aside)


def check_same_settings(path: Path, settings: dict[str, Any]) -> None:
    """Refuse settings other than those that a folder's work was done with.

    Args:
        path: A file with these in the folder; where there is none, work of any settings goes on.
        settings: As `settings_of` gives them.

    Raises:
        InputError: Some differ.
    """
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else settings
    if not isinstance(known, dict):
        raise InputError(f"{path.parent} was made by an older version; give another --output_dir")
    differing = [
        f"{name} {known.get(name)}, now {settings.get(name)}"
        for name in sorted(known.keys() | settings.keys())
        if known.get(name) != settings.get(name)
    ]
    if differing:
        raise InputError(
            f"{path.parent} was made with other settings ({'; '.join(differing)}); "
            "give the same ones, or another --output_dir"
        )


def check_not_past(checkpoint: Path, args: CommonTrainingArguments) -> None:
    """Refuse a checkpoint that is further than a run is to go.

    Args:
        checkpoint: Its folder.
        args: How far the run goes.

    Raises:
        InputError: It is further.
    """
    done = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    flag, reached = ("max_steps", "global_step") if args.max_steps > 0 else ("num_train_epochs", "epoch")
    asked = getattr(args, flag)
    if done.get(reached, 0) > asked + 1e-3:  # epochs are kept as rounded figures
        raise InputError(f"{checkpoint} is further than --{flag} {asked}; raise it, or give another --output_dir")


def run_settings(args: CommonTrainingArguments, model: Any, data: DataArguments) -> dict[str, Any]:
    """All that a run depends on but for how long it is.

    Args:
        args: Training arguments.
        model: The dataclass that says what is trained.
        data: What it is trained on; the contents of its files count.

    Returns:
        As `settings_of`.
    """
    files = [*data.paths, *(data.text_file or []), *(data.monolingual_files or [])]
    return settings_of(asdict(model), asdict(data), stepping_of(args), digests(files))


def checkpoint_of(args: CommonTrainingArguments, settings: dict[str, Any]) -> str | None:
    """What a run goes on from, None to start from the beginning; refused if it is of other settings, or too far."""
    checkpoint = args.resume_from_checkpoint or last_complete_checkpoint(args.output_dir)
    if checkpoint and Path(checkpoint, "trainer_state.json").is_file():
        check_same_settings(Path(checkpoint).with_name(RUN_SETTINGS), settings)
        check_not_past(Path(checkpoint), args)
    return checkpoint


class KeepSettings(TrainerCallback):
    """Keeps a run's settings beside its checkpoints.

    Args:
        settings: As `run_settings` gives them.
    """

    def __init__(self, settings: dict[str, Any]):
        self.settings = settings

    def on_save(self, args, state, control, **kwargs):
        """Write them."""
        if args.should_save:
            write_json(Path(str(args.output_dir)) / RUN_SETTINGS, self.settings)


@contextmanager
def told_if_full(folder: Path) -> Iterator[None]:
    """Tell in one line that there is no room to write.

    Args:
        folder: Where files are written.

    Yields:
        Nothing.

    Raises:
        InputError: The disk or the quota is full.
        OSError: Something else is wrong.
        SafetensorError: Likewise.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        if getattr(error, "errno", None) not in FULL and "No space left" not in str(error):
            raise
        raise InputError(
            f"{getattr(error, 'filename', None) or folder} can't be written: there is no room left; make some, and "
            "the same command goes on from what is done"
        ) from error


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other commands out of an output folder.

    Args:
        folder: The folder; it is made if need be.

    Yields:
        Nothing.

    Raises:
        InputError: Another command is at work there, or the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise InputError(f"another command is at work in {folder}; wait for it or name another folder") from error
    try:
        with told_if_full(folder):
            yield
    finally:
        lock.release()
        (folder / "lock").unlink(missing_ok=True)
