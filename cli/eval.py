"""`xling eval --model M [--model M2 ...]`: measure encoders on all tasks that there are data for, side by side.

Each task of one model with one seed leaves a file when it is done, named by all that it depends on: the model's
weights, the data, the settings and the seed. A rerun goes on with the others, and what was measured under other
settings is not taken for it. Started in several terminals at once, with the same `--output`, the commands share the
work between them.
"""

import argparse
import hashlib
import json
import shlex
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xling_align.cli.ablate import words

if TYPE_CHECKING:
    from filelock import FileLock

    from xling_align.cli.subject import Setting, Subject
    from xling_align.eval.drawing import Figure

PACKAGES = ("xling-align", "torch", "transformers", "tokenizers", "numpy", "scikit-learn", "scipy", "seqeval")
UNTRAINED = "untrained"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--model", action="append", required=True, help="folder or Hub id; once for each model")
    parser.add_argument("--names", type=words, help="what to call the models, by commas; by their folders otherwise")
    parser.add_argument("--untrained", action="store_true", help="beside them the first one with random weights")
    parser.add_argument("--tasks", type=words, help="by commas; all that have data unless given")
    parser.add_argument("--data_dir", help="the tasks' data, a folder for each; from the Hub unless given")
    parser.add_argument("--output", required=True, help="folder for results, page and vectors; a rerun goes on here")
    parser.add_argument("--languages", type=words, help="codes by commas, measured beside English; all unless given")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each task that fine-tunes (default 5)")
    parser.add_argument("--limit", type=int, help="score the first so many rows of each language in slow tasks")
    parser.add_argument("--train_limit", type=int, help="fine-tune on the first so many rows")
    parser.add_argument("--label_prompts", help="YAML with the labels' descriptions, for label_names")
    parser.add_argument("--tuning", help="YAML with arguments of fine-tuning for sib200, panx, pawsx, xnli")
    parser.add_argument("--dev", action="store_true", help="measure on dev sets, while settings are chosen")
    parser.add_argument("--title", default="Evaluation", help="of the page")


def run(args: argparse.Namespace) -> None:
    """Check what was asked for, measure what was not measured yet, and write results and page."""
    from xling_align.cli.models import load_config, quiet
    from xling_align.eval.report import write_report
    from xling_align.modeling_xling import InputError
    from xling_align.trainers.arguments import check_at_least
    from xling_align.trainers.programs import check_writable

    quiet()
    check_at_least(1, seeds=args.seeds, limit=args.limit, train_limit=args.train_limit)
    if args.label_prompts and args.tasks and "label_names" not in args.tasks:
        raise InputError("--label_prompts is for the task label_names; add it to --tasks, or leave the file")
    if args.names and len(args.names) != len(args.model):
        raise InputError(f"--names gives {len(args.names)} names for {len(args.model)} models")
    names = [*(args.names or short_names(args.model)), *([UNTRAINED] if args.untrained else [])]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{', '.join(twice)} is the name of two models; give each its own by --names")
    for model in args.model:
        load_config(model)
    check_writable(args.output, "--output")
    evaluation = Evaluation(args)
    report = evaluation.report()
    page = write_report(args.output, report, evaluation.figures(report), name="results")
    print(f"\n{markdown(report)}\n{page}")


class Evaluation:
    """The parts of an evaluation, and the report that is made of them.

    Args:
        args: The command's flags.
    """

    def __init__(self, args: argparse.Namespace):
        from xling_align.cli.eval_data import fetched, load_all, tasks_with_data, training_digest
        from xling_align.cli.tuning import read_tuning

        self.args, self.root = args, Path(args.output)
        self.tuning = read_tuning(args.tuning) if args.tuning else {}
        with self.lock("data"):
            self.data_dir = args.data_dir or fetched(args.tasks, self.root / "data", args.languages)
        self.setting = self.setting_of(0)
        tasks = args.tasks or tasks_with_data(self.data_dir, args.dev)
        self.data = load_all(tasks, self.setting, named=bool(args.tasks))
        self.check_tuning()
        self.trained_on = {}
        for training, tasks in self.jobs:
            if training:
                self.trained_on[training] = training_digest(training, self.setting, tasks, self.data)

    def check_tuning(self) -> None:
        """Refuse a file of settings of which no task is fine-tuned by any; one for more tasks than these serves."""
        from xling_align.modeling_xling import InputError

        if self.tuning and not self.tuning.keys() & {training for training, _ in self.jobs}:
            changed = ", ".join(self.tuning)
            raise InputError(f"--tuning changes {changed}, and none of --tasks is fine-tuned so; leave the file")

    def lock(self, name: str, wait: bool = True) -> "FileLock":
        """What keeps other commands with the same output from the same work."""
        from filelock import FileLock

        (self.root / "locks").mkdir(parents=True, exist_ok=True)
        return FileLock(self.root / "locks" / name, timeout=-1 if wait else 0)

    @cached_property
    def digests(self) -> dict[str, str]:
        """What tells each task's data from others."""
        from xling_align.cli.eval_data import digest_of

        return {task: digest_of(data) for task, data in self.data.items()}

    def setting_of(self, seed: int) -> "Setting":
        """How the tasks are run."""
        from xling_align.cli.subject import Setting

        args = self.args
        more = {"limit": args.limit, "train_limit": args.train_limit, "tuning": self.tuning}
        return Setting(
            self.data_dir, args.languages, args.dev, **more, seed=seed, label_prompts=args.label_prompts, oracle=True
        )

    @cached_property
    def jobs(self) -> list[tuple[str | None, list[str]]]:
        """Tasks that are run together: those of one training, and each of the others alone."""
        from xling_align.cli.tasks import TASKS

        jobs: dict[str, tuple[str | None, list[str]]] = {}
        for task in self.data:
            training = TASKS[task].training
            jobs.setdefault(f"tuned {training}" if training else task, (training, []))[1].append(task)
        return list(jobs.values())

    def parts(self) -> Iterator[tuple[str | None, list[str], int]]:
        """Training, tasks and seed of each part of one model."""
        for training, tasks in self.jobs:
            for seed in range(self.args.seeds if training else 1):
                yield training, tasks, seed

    @cached_property
    def paths(self) -> dict[str, str]:
        """The models by name."""
        from xling_align.cli.models import load_config

        names = self.args.names or short_names(self.args.model)
        paths = dict(zip(names, self.args.model, strict=True))
        if self.args.untrained:
            digest = hashlib.sha256(load_config(self.args.model[0]).to_json_string().encode()).hexdigest()[:8]
            with self.lock(UNTRAINED):
                paths[UNTRAINED] = str(untrained(self.args.model[0], self.root / f"{UNTRAINED}-{digest}"))
        return paths

    @cached_property
    def subjects(self) -> dict[str, "Subject"]:
        """The models ready to measure, by name."""
        from xling_align.cli.subject import Subject

        return {name: Subject(path, self.root / "vectors") for name, path in self.paths.items()}

    def figures(self, report: Mapping[str, Any]) -> list["Figure"]:
        """The plots that need vectors."""
        from xling_align.cli.eval_figures import figures
        from xling_align.eval.summary import worst_language

        worst = {task["name"]: worst_language(task, next(iter(self.subjects))) for task in report["tasks"]}
        return figures(self.subjects, self.data, worst)

    def report(self) -> dict[str, Any]:
        """Measure, and put all results together."""
        (self.root / "parts").mkdir(exist_ok=True)
        models = [describe(name, subject) for name, subject in self.subjects.items()]  # all weights are read first
        for wait in (False, True):  # first what no other command is at, then what the others have left or finished
            for name, subject in self.subjects.items():
                for training, tasks, seed in self.parts():
                    self.finish(name, subject, training, tasks, seed, wait)
        found, finished = {}, []
        for name, subject in self.subjects.items():
            for training, tasks, seed in self.parts():
                for task, path in self.part(subject, training, tasks, seed).items():
                    finished.append(json.loads(path.read_text(encoding="utf-8")))
                    found.setdefault(task, {}).setdefault(name, []).append(finished[-1]["results"][task])
        return {
            "title": self.args.title,
            "date": max(part["finished"] for part in finished),
            "command": command(self.args),
            "versions": {package: version(package) for package in PACKAGES},
            "seconds": sum(part["seconds"] for part in finished),
            "data": self.describe_data(),
            "source": "en",
            "models": models,
            "tasks": [task_report(task, found[task], self.setting, self.revision(task)) for task in self.data],
        }

    def part(self, subject: "Subject", training: str | None, tasks: list[str], seed: int) -> dict[str, Path]:
        """The files of one part's tasks."""
        from xling_align.cli.eval_data import digest_of

        depends = [version("xling-align"), subject.digest, self.trained_on.get(training or ""), seed]
        digests = {task: digest_of([*depends, [task, self.digests[task]]]) for task in tasks}
        return {task: self.root / "parts" / f"{task}-{seed}-{digest}.json" for task, digest in digests.items()}

    def finish(
        self, name: str, subject: "Subject", training: str | None, tasks: list[str], seed: int, wait: bool
    ) -> None:
        """Measure those tasks of a part that have no file yet, unless another command is at it."""
        from filelock import Timeout

        from xling_align.cli.eval_data import digest_of

        paths = self.part(subject, training, tasks, seed)
        if all(path.exists() for path in paths.values()):
            return
        part = digest_of([subject.digest, training or tasks, self.trained_on.get(training or ""), seed])
        try:
            with self.lock(part, wait):
                missing = {task: path for task, path in paths.items() if not path.exists()}
                if missing:
                    self.measure(name, subject, missing, seed)
        except Timeout:
            return

    def measure(self, name: str, subject: "Subject", paths: dict[str, Path], seed: int) -> None:
        """Measure tasks together, and write a file for each."""
        from xling_align.cli.tasks import TASKS, results
        from xling_align.eval.summary import as_run
        from xling_align.trainers.programs import write_json

        label = f"{name}, {', '.join(paths)}" + (f", seed {seed}" if TASKS[next(iter(paths))].training else "")
        print(f"{label} ...", flush=True)
        start = time.perf_counter()
        found = results(subject, {task: self.data[task] for task in paths}, self.setting_of(seed))
        seconds = time.perf_counter() - start
        means = ", ".join(f"{task} {result.mean:.3f}" for task, result in found.items())
        print(f"{label}: {means} ({seconds:.0f} s)", flush=True)
        measured = {"seconds": seconds / len(paths), "finished": datetime.now(UTC).isoformat(timespec="seconds")}
        for task, path in paths.items():
            write_json(path, {"results": {task: as_run(found[task], seed)}, **measured})

    def revision(self, task: str) -> str | None:
        """Commit of a task's data on the Hub, where they are from there."""
        from xling_align.cli.eval_data import hub_sources

        return None if self.args.data_dir else hub_sources([task])[task].partition("@")[2]

    def describe_data(self) -> dict[str, Any]:
        """Where the data are from, how many rows each task has in each language, and how was fine-tuned."""
        from xling_align.cli.eval_data import hub_sources
        from xling_align.cli.tuning import arguments_of

        return {
            "data_dir": self.data_dir,
            "hub": {} if self.args.data_dir else hub_sources(list(self.data)),
            "split": self.setting.split,
            "limit": self.args.limit,
            "train_limit": self.args.train_limit,
            "fine_tuning": {training: arguments_of(training, self.setting) for training in self.trained_on},
            "rows": {
                task: {code: len(rows[0]) for code, rows in data.tests.items()} for task, data in self.data.items()
            },
        }


def short_names(paths: list[str]) -> list[str]:
    """The last parts of paths, as many as tell them apart.

    >>> short_names(["outputs/a/model", "outputs/b/model", "user/base"])
    ['a/model', 'b/model', 'user/base']
    """
    parts = [Path(path).parts for path in paths]
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-count:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{name} {number}" for number, name in enumerate(names, 1)]


def untrained(model: str, folder: Path) -> Path:
    """Write a model with random weights and another's config and tokenizer, the same in every run."""
    import torch
    from transformers import AutoModel

    from xling_align.cli.models import load_config
    from xling_align.modeling_xling import load_tokenizer

    if not folder.is_dir():
        torch.manual_seed(0)
        fresh = AutoModel.from_config(load_config(model))
        partial = folder.with_suffix(".partial")
        fresh.save_pretrained(partial)
        load_tokenizer(model).save_pretrained(partial)
        partial.rename(folder)
    return folder


def describe(name: str, subject: "Subject") -> dict[str, Any]:
    """What a reader wants to know of a model."""
    from xling_align.modeling_xling import XLingAlignModel

    model: Any = subject.encoder.model
    aligned = isinstance(model, XLingAlignModel)
    encoder = model.config.encoder_config if aligned else model.config
    return {
        "name": name,
        "path": subject.path,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "languages": subject.languages,
        "encoder": f"{encoder.model_type}, {encoder.num_hidden_layers} layers x {encoder.hidden_size}",
        "aligned": aligned,
        "pooling": model.config.pooling if aligned else subject.encoder.pooling,
        "digest": subject.digest,
    }


def command(args: argparse.Namespace) -> str:
    """The command as it can be typed again."""
    typed = ["xling", "eval"]
    for name, value in vars(args).items():
        if name == "model":
            typed += [word for model in value for word in ("--model", model)]
        elif value is True:
            typed.append(f"--{name}")
        elif value and name != "flags":
            typed += [f"--{name}", ",".join(value) if isinstance(value, list) else str(value)]
    return shlex.join(typed)


def task_report(
    name: str, found: dict[str, list[dict]], setting: "Setting", revision: str | None = None
) -> dict[str, Any]:
    """One task's results of all models, and their tests against the first.

    Args:
        name: The task.
        found: Runs by model.
        setting: How they were run.
        revision: Of the data set on the Hub, if the data are from there.

    Returns:
        The task's part of `results.json`.
    """
    from xling_align.cli.tasks import TASKS
    from xling_align.eval.summary import compared, merged, note_of

    task = TASKS[name]
    results = {model: merged(runs) for model, runs in found.items()}
    first, run = next(iter(results.values())), next(iter(found.values()))[0]
    return {
        "name": name,
        "title": task.title,
        "metric": run["metric"],
        "unit": task.unit,
        "higher_is_better": not run["lower_is_better"],
        "source": run["source"],
        "note": note_of(run["metadata"]),
        "split": setting.split,
        "dataset": task.dataset,
        "revision": revision if task.dataset else None,
        "seeds": len(first["runs"]),
        "results": results,
        "tests": {model: compared(result, first, run["source"]) for model, result in list(results.items())[1:]},
    }


def markdown(report: dict[str, Any]) -> str:
    """A short table: each task's mean over the languages besides English, and the gap where there is one."""
    names = [model["name"] for model in report["models"]]
    lines = [["task", "metric", *names], ["---", "---", *["---:"] * len(names)]]
    for task in report["tasks"]:
        lines.append([task["name"], task["metric"], *(cell_of(task, name) for name in names)])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    note = f"; p of a paired test against {names[0]}" if ", p " in table else ""
    return f"{table}\n\nMean over the languages besides English (English, and the gap to it){note}.\n"


def cell_of(task: dict[str, Any], name: str) -> str:
    """One model's figures on a task."""
    result, test = task["results"][name], task["tests"].get(name)
    scale, digits = (100, 1) if task["unit"] == "%" else (1, 3)
    text = f"{scale * result['score']:.{digits}f}"
    if result["source"] is not None:
        text += f" (en {scale * result['source']:.{digits}f}, gap {scale * result['gap']:.{digits}f})"
    if test and test["p"] is not None:
        text += f", p {'< 0.001' if test['p'] < 0.001 else format(test['p'], '.3f')} over {test['over']}"
    return text
