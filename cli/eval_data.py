"""What an evaluation is run on: every task's data, read and checked before hours of work."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from xling_align.cli.subject import Data, Setting
from xling_align.cli.tasks import TASKS, load
from xling_align.modeling_xling import InputError, nearest


def fetched(tasks: list[str] | None, folder: Path, languages: list[str] | None) -> str:
    """Get from the Hub the data of tasks, or of all that it has data for; the folder that holds them is returned."""
    from xling_align.eval.hub_data import SETS, fetch

    for task in tasks or []:
        if task in TASKS and TASKS[task].folder not in SETS:
            raise InputError(f"task {task!r} is read from a folder only; give --data_dir")
    wanted = [TASKS[task].folder for task in tasks if task in TASKS] if tasks else SETS
    for name in dict.fromkeys(wanted):
        fetch(SETS[name], folder / name, languages)
    return str(folder)


def tasks_with_data(data_dir: str, dev: bool) -> list[str]:
    """The tasks whose folder is there; STS 2017 has nothing to choose settings on."""
    found = [name for name, task in TASKS.items() if (Path(data_dir) / task.folder).is_dir()]
    if not found:
        folders = ", ".join(dict.fromkeys(task.folder for task in TASKS.values()))
        raise InputError(f"--data_dir {data_dir} has no task's data; it must hold one or more of {folders}")
    return [name for name in found if not (dev and name == "sts17")]


def load_all(tasks: list[str], setting: Setting, named: bool) -> dict[str, Data]:
    """Read the data of all tasks, so that a mistake shows before hours of work.

    Args:
        tasks: Names.
        setting: How they are run.
        named: Whether the user asked for these; others that have none of the wanted languages are left out.

    Returns:
        Data by task.

    Raises:
        InputError: There is no such task, it has no data, or none in a language that was asked for.
    """
    for task in tasks:
        if task not in TASKS:
            raise InputError(f"--tasks {task!r} is not one of {', '.join(TASKS)}{nearest(task, list(TASKS))}")
        folder = Path(setting.data_dir) / TASKS[task].folder
        if not folder.is_dir():
            raise InputError(f"task {task!r} has no data: there is no folder {folder}; add it, or leave the task out")
    data = {task: load(task, setting) for task in dict.fromkeys(tasks)}
    for code in setting.languages or []:
        if not any(code in name.split("-") for own in data.values() for name in own.tests):
            raise InputError(f"language {code!r} has no data in {', '.join(data)}; leave it out of --languages")
    for task, own in list(data.items()):
        if not set(own.tests) - {"en", "en-en"}:
            wanted = ", ".join(setting.languages or ["any"])
            if not named and len(data) > 1:
                print(f"{task} is left out: it has no data in {wanted} besides English")
                del data[task]
                continue
            raise InputError(f"task {task!r} has no data in {wanted} besides English; leave it out of --tasks")
        check_labels(task, own, getattr(own.more, "labels", ()))
    return data


def check_labels(task: str, data: Data, learnt: Iterable[str]) -> None:
    """Refuse test labels that are not among those that are learnt from, where there are any."""
    known = set(learnt)
    for code, rows in data.tests.items() if known else ():
        for number, label in enumerate(rows.labels, 1):
            if label not in known:
                labels = f"{', '.join(sorted(known))}{nearest(label, sorted(known))}"
                raise InputError(
                    f"task {task!r}, {code}, row {number}: label {label!r} is not one of the English training rows' "
                    f"labels, {labels}"
                )


def training_digest(training: str, setting: Setting, tasks: list[str], data: dict[str, Data]) -> str:
    """What tells one training's rows and arguments from others; the tests' labels must be among its labels."""
    from xling_align.cli.tuning import arguments_of, training_rows

    sides = training_rows(training, setting)
    for task in tasks:
        check_labels(task, data[task], [row["label"] for row in sides[0] if "label" in row])
    return digest_of([sides, arguments_of(training, setting)])


def hub_sources(tasks: list[str]) -> dict[str, str]:
    """Data set and commit, as `id@revision`, of each task's data."""
    from xling_align.eval.hub_data import SETS

    return {task: "@".join(SETS[TASKS[task].folder][:2]) for task in tasks}


def digest_of(value: Any) -> str:
    """A name for plain data."""
    return hashlib.sha256(repr(value).encode()).hexdigest()[:20]
