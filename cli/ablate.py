"""`xling ablate RECIPE.yaml --without afm,language,...`: train and measure a recipe with parts of it taken out.

Each run leaves its files when it is done, and a rerun of the command goes on with the others. Started in several
terminals at once, with the same `--output_dir`, the commands share the runs between them.
"""

import argparse
import csv
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xling_align.cli.subject import Setting

TAKES_FLAGS = True  # those that it does not know are the training program's
UNALIGNED, WHOLE = "unaligned", "all"
UNTIMED, TIMED, TURNS = 4, 20, 3  # steps before the clock starts and under it, and turns of each recipe


def words(text: str) -> list[str]:
    """Words of a list with commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("recipe", help="YAML file or name of a recipe")
    parser.add_argument("--without", type=words, default=[], help="parts, each taken out alone: afm,language,...")
    parser.add_argument("--against", type=words, default=[], help="other recipes to train and measure as well")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each variant (default 5)")
    parser.add_argument(
        "--seeds_without",
        type=int,
        help="runs, if fewer, of all but the recipe, the unaligned encoder and the first of --against",
    )
    parser.add_argument(
        "--equal_time", type=words, default=[], help="those of --against to train for as long as the recipe as well"
    )
    parser.add_argument("--tasks", type=words, default=["tatoeba", "sib200", "panx", "pawsx"])
    parser.add_argument("--beside", type=words, default=[], help="tasks shown beside the mean of --tasks")
    parser.add_argument("--output_dir", default="outputs/ablation", help="runs, table and plot; a rerun goes on here")
    parser.add_argument("--dev", action="store_true", help="measure on dev sets, while settings are chosen")
    parser.add_argument("--limit", type=int, help="score the first so many rows of each language in slow tasks")
    parser.add_argument("--train_limit", type=int, help="fine-tune on the first so many rows")
    parser.add_argument("--drop_models", action="store_true", help="keep the results of each run and not its model")


def run(args: argparse.Namespace) -> None:
    """Run what has not run yet, and write table and plot."""
    from xling_align.cli.models import quiet
    from xling_align.cli.tasks import TASKS
    from xling_align.modeling_xling import InputError, nearest
    from xling_align.trainers.arguments import CHOICES, check_at_least, check_choice
    from xling_align.trainers.programs import check_writable

    quiet()
    check_at_least(1, seeds=args.seeds, seeds_without=args.seeds_without)
    for task in (*args.tasks, *args.beside):
        if task not in TASKS:
            raise InputError(f"--tasks {task!r} is not one of {', '.join(TASKS)}{nearest(task, list(TASKS))}")
    check_choice("without", args.without, CHOICES["without"])
    check_choice("equal_time", args.equal_time, args.against)
    check_writable(args.output_dir)
    study = Study(args)
    for wait in (False, True):  # first what no other command is at, then what the others have left or finished
        for seed in range(args.seeds):  # seed by seed, so that a study cut short can be read
            for variant in study.variants:
                if seed < study.seeds(variant):
                    study.finish(variant, seed, wait)
            if results := study.finished():
                write(Path(args.output_dir), results, args.tasks, args.beside)
    print((Path(args.output_dir) / "table.md").read_text(encoding="utf-8"))


class Study:
    """The runs of an ablation.

    Args:
        args: The command's flags; `args.flags` go to the training program.
    """

    def __init__(self, args: argparse.Namespace):
        from xling_align.trainers.align import PairData

        self.args, self.root = args, Path(args.output_dir)
        model, data, self.whole = self.parsed([args.recipe], 0, self.root)
        self.check_equal_time()
        self.variants = {UNALIGNED: [], WHOLE: [args.recipe]}
        self.variants |= {recipe: [recipe] for recipe in args.against}
        self.variants |= {f"{recipe}, equal time": [recipe] for recipe in args.equal_time}
        self.variants |= {
            f"without {part}": [args.recipe, "--without", *self.whole.without, part] for part in args.without
        }
        for words in list(self.variants.values())[1:]:
            self.parsed(words, 0, self.root)  # a mistake shows before hours of work
        for part in args.without:
            self.check_part(part)
        self.encoder, self.data = str(model.encoder), data
        self.pairs = PairData(data)
        for variant in self.variants:
            for seed in range(self.seeds(variant)):
                self.check_settings(variant, seed)

    def check_equal_time(self) -> None:
        """Refuse equal time for a recipe that does not say its number of steps.

        Raises:
            InputError: So it is.
        """
        from xling_align.modeling_xling import InputError

        if self.args.equal_time and self.whole.max_steps < 1:
            raise InputError(f"--equal_time needs the steps that {self.args.recipe} is trained for; give --max_steps")

    def check_part(self, part: str) -> None:
        """Refuse to take out what the recipe does not have.

        Args:
            part: Loss, level or `afm`.

        Raises:
            InputError: The recipe trains the same without it.
        """
        from xling_align.modeling_xling import InputError
        from xling_align.trainers.align import has_lexicon
        from xling_align.trainers.levels import chosen_losses

        model, _, without = self.parsed(self.variants[f"without {part}"], 0, self.root)
        one, other = ((chosen_losses(own), has_lexicon(model, own)) for own in (self.whole, without))
        plain = model.fusion_context == "none" or "afm" in self.whole.without
        if plain if part == "afm" else one == other:
            raise InputError(f"--without {part}: the recipe {self.args.recipe} has no such part; leave it out")

    def parsed(self, words: list[str], seed: int, folder: Path) -> tuple:
        """Arguments of one run: recipe and flags of the variant, then those of the command line."""
        from xling_align.trainers.arguments import DataArguments, ModelArguments, XLingAlignTrainingArguments, parse

        own = [words[0], *self.args.flags, *words[1:], "--seed", str(seed), "--output_dir", str(folder)]
        return parse(own, ModelArguments, DataArguments, XLingAlignTrainingArguments, program="xling ablate")

    def seeds(self, variant: str) -> int:
        """How many runs a variant has."""
        compared = variant in (UNALIGNED, WHOLE, *self.args.against[:1])
        return self.args.seeds if compared else self.args.seeds_without or self.args.seeds

    def steps(self, variant: str) -> int:
        """Steps of a variant that is trained for as long as the whole recipe."""
        from filelock import FileLock

        recipe = variant.removesuffix(", equal time")
        path = self.folder(recipe, 0).parent / "pace.json"
        with FileLock(path.with_suffix(".lock")):
            seconds = kept(path, lambda: self.pace(recipe))
        return round(self.whole.max_steps * seconds[WHOLE] / seconds[recipe])

    def pace(self, recipe: str) -> dict[str, float]:
        """Seconds for a step of the whole recipe and of another, in turns: what else runs here meets both alike."""
        found: dict[str, list[float]] = {WHOLE: [], recipe: []}
        for _ in range(TURNS):
            for variant, seconds in found.items():
                seconds.append(self.step_seconds(variant))
        return {variant: min(seconds) for variant, seconds in found.items()}

    def step_seconds(self, variant: str) -> float:
        """Seconds for a step of a variant, over a few of them; nothing is kept."""
        from xling_align.trainers.align import build
        from xling_align.trainers.callbacks import StepTimes

        short = ["--max_steps", str(UNTIMED + TIMED), "--save_strategy", "no"]
        with tempfile.TemporaryDirectory() as folder:
            model_arguments, _, args = self.parsed([*self.variants[variant], *short], 0, Path(folder))
            trainer, times = build(model_arguments, self.pairs, args), StepTimes()
            trainer.add_callback(times)
            trainer.train()
        return (times.ends[-1] - times.ends[UNTIMED - 1]) / TIMED

    def setting(self, seed: int) -> "Setting":
        """How the tasks are run."""
        from xling_align.cli.subject import Setting

        args = self.args
        return Setting(self.data.data_dir, self.pairs.languages, args.dev, args.limit, args.train_limit, seed)

    def folder(self, variant: str, seed: int) -> Path:
        """Where a run's files are."""
        folder = self.root / variant.replace(" ", "_").replace("/", "_") / f"seed-{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def settings(self, variant: str, seed: int) -> dict[str, Any]:
        """All that a run's files depend on."""
        from xling_align.trainers.checkpoints import settings_of
        from xling_align.trainers.facts import schedule_of, stepping_of

        model, data, args = self.parsed(self.variants[variant] or [self.args.recipe], seed, self.root)
        tasks = {name: getattr(self.args, name) for name in ("dev", "limit", "train_limit")}
        if variant == UNALIGNED:
            return settings_of(tasks, asdict(data), {"encoder": model.encoder})
        return settings_of(tasks, asdict(data), asdict(model), stepping_of(args) | schedule_of(args))

    def check_settings(self, variant: str, seed: int) -> None:
        """Refuse what other settings left of a run; files without settings are taken as given."""
        from xling_align.trainers.checkpoints import check_same_settings

        check_same_settings(self.folder(variant, seed) / "settings.json", self.settings(variant, seed))

    def finish(self, variant: str, seed: int, wait: bool) -> None:
        """Do what is left of a run, unless another command is at it."""
        from filelock import FileLock, Timeout

        try:
            with FileLock(self.folder(variant, seed) / "lock", timeout=-1 if wait else 0):
                self.check_settings(variant, seed)  # another command may have been here since
                kept(self.folder(variant, seed) / "settings.json", lambda: self.settings(variant, seed))
                self.result(variant, seed)
        except Timeout:
            return

    def finished(self) -> dict[str, list[dict]]:
        """Results by variant of the seeds, from the first on, whose runs are complete; none before the recipe's."""
        tasks, found = (*self.args.tasks, *self.args.beside), {}
        for variant in self.variants:
            seeds = range(self.seeds(variant))
            done = takewhile(
                lambda seed, variant=variant: all((self.folder(variant, seed) / f"{t}.json").exists() for t in tasks),
                seeds,
            )
            found[variant] = [self.result(variant, seed) for seed in done]
        return {variant: runs for variant, runs in found.items() if runs} if found[WHOLE] else {}

    def result(self, variant: str, seed: int) -> dict:
        """One run's result, computed or read; each of its parts is kept as soon as it is there."""
        folder = self.folder(variant, seed)
        model = self.encoder
        found: dict[str, Any] = {}
        if variant != UNALIGNED:
            model = str(folder / "model")
            found["training"] = kept(folder / "training.json", lambda: self.train(variant, seed, folder))
        for task in (*self.args.tasks, *self.args.beside):
            found[task] = kept(folder / f"{task}.json", lambda task=task: self.measured(variant, seed, model, task))
        if self.args.drop_models and variant != UNALIGNED:
            shutil.rmtree(folder / "model", ignore_errors=True)
        return found

    def measured(self, variant: str, seed: int, model: str, task: str) -> dict:
        """One task's result."""
        from xling_align.cli.tasks import measure

        start = time.perf_counter()
        result = measure(model, task, self.setting(seed))
        print(
            f"{variant}, seed {seed}, {task}: {result['score']:.1f} ({time.perf_counter() - start:.0f} s)", flush=True
        )
        return result

    def train(self, variant: str, seed: int, folder: Path) -> dict:
        """Train one variant; its model gets its name when it is complete."""
        from xling_align.trainers.align import align
        from xling_align.trainers.checkpoints import last_complete_checkpoint

        model_arguments, _, args = self.parsed(self.variants[variant], seed, folder / "run")
        if variant.endswith(", equal time"):
            args.max_steps = self.steps(variant)
        print(f"\n== {variant}, seed {seed} ==", flush=True)
        done = Path(last_complete_checkpoint(args.output_dir) or "checkpoint-0").name.removeprefix("checkpoint-")
        start = time.perf_counter()
        trainer = align(model_arguments, self.pairs, args)
        seconds = time.perf_counter() - start
        shutil.rmtree(folder / "model", ignore_errors=True)
        for checkpoint in (folder / "run").glob("checkpoint-*"):
            shutil.rmtree(checkpoint)
        (folder / "run").rename(folder / "model")
        runtime = next(log["train_runtime"] for log in reversed(trainer.state.log_history) if "train_runtime" in log)
        steps = trainer.state.global_step
        return {
            "seconds": seconds,
            "step_seconds": runtime / max(steps - int(done), 1),
            "steps": steps,
            "log": trainer.state.log_history,
        }


def kept(path: Path, compute) -> Any:
    """What a file holds; computed and written where it is not there."""
    from xling_align.trainers.programs import write_json

    if not path.exists():
        write_json(path, compute())
    return json.loads(path.read_text(encoding="utf-8"))


def rows(results: dict[str, list[dict]], tasks: list[str], beside: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """One row of the table for each variant.

    Args:
        results: Runs by variant, in the order of their seeds.
        tasks: Columns, and what the mean is taken over.
        beside: Further columns.

    Yields:
        Means and deviations by task and over the tasks, and the tests against the same seeds of the full recipe.
    """
    import numpy as np

    from xling_align.eval.significance import paired_bootstrap, paired_t_test

    means = {
        variant: np.array([np.mean([run[task]["score"] for task in tasks]) for run in runs])
        for variant, runs in results.items()
    }  # (runs,)
    for variant, runs in results.items():
        both = min(len(runs), len(means[WHOLE]))
        own, whole = means[variant], means[WHOLE][:both]
        row: dict[str, Any] = {"variant": variant, "runs": len(runs)}
        for name in (*tasks, *beside):
            scores = np.array([run[name]["score"] for run in runs])
            row |= {name: scores.mean(), f"{name}_sd": deviation(scores)}
        row |= {"mean": own.mean(), "mean_sd": deviation(own), "difference": (own[:both] - whole).mean()}
        row |= {"p": paired_t_test(own[:both], whole)}
        row |= dict(zip(("low", "high"), paired_bootstrap(own[:both], whole), strict=True))
        steps = [run["training"] for run in runs if "training" in run]
        for name in ("steps", "step_seconds"):
            row[name] = float(np.median([step[name] for step in steps])) if steps else None
        yield row


def deviation(values: Any) -> float:
    """Sample standard deviation; NaN of one value."""
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def write(folder: Path, results: dict[str, list[dict]], tasks: list[str], beside: Sequence[str] = ()) -> None:
    """Write `table.csv`, `table.md` and `plot.svg`.

    Args:
        folder: Where.
        results: Runs by variant.
        tasks: Columns, and what the mean is taken over.
        beside: Further columns.
    """
    table = list(rows(results, tasks, beside))
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    (folder / "table.md").write_text(markdown(table, tasks, beside), encoding="utf-8")
    plot(folder / "plot.svg", table, tasks)


def markdown(table: list[dict[str, Any]], tasks: list[str], beside: Sequence[str] = ()) -> str:
    """The table for a reader: mean ± deviation over the runs, and the difference to the full recipe with its tests."""
    head = ["variant", "runs", *tasks, "mean", "against all", "p", "95 % interval", *beside, "steps", "s/step"]
    lines = [head, ["---"] + ["---:"] * (len(head) - 1)]
    for row in table:
        several = row["runs"] > 1
        figures = {
            name: f"{row[name]:.1f}" + (f" ± {row[f'{name}_sd']:.1f}" if several else "")
            for name in (*tasks, "mean", *beside)
        }
        tests = ["" if row["variant"] == WHOLE else f"{row['difference']:+.1f}", "", ""]
        if several and row["variant"] != WHOLE:
            tests[1:] = [f"{row['p']:.3f}", f"{row['low']:+.1f} to {row['high']:+.1f}"]
        training = ["", ""] if row["steps"] is None else [f"{row['steps']:.0f}", f"{row['step_seconds']:.2f}"]
        cells = [figures[name] for name in (*tasks, "mean")] + tests + [figures[name] for name in beside] + training
        lines.append([row["variant"], str(row["runs"]), *cells])
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{text}\n\nScores in %, mean over the languages besides English; tests over the same seeds of both.\n"


def plot(path: Path, table: list[dict[str, Any]], tasks: list[str]) -> None:
    """Bars of each variant's difference to the full recipe, task by task."""
    from xling_align.eval.extras import eval_extra

    with eval_extra():
        from matplotlib.figure import Figure
    whole = next(row for row in table if row["variant"] == WHOLE)
    others = [row for row in table if row is not whole]
    names = [*tasks, "mean"]
    figure = Figure(figsize=(3 * len(names), 1 + 0.35 * len(others)), layout="constrained")
    for axis, name in zip(figure.subplots(1, len(names), sharey=True, squeeze=False)[0], names, strict=True):
        changes = [row[name] - whole[name] for row in others]
        axis.barh(
            [row["variant"] for row in others], changes, color=["#c0392b" if c < 0 else "#2c7fb8" for c in changes]
        )
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set_title(f"{name} (all: {whole[name]:.1f})")
        axis.invert_yaxis()
    figure.supxlabel("points against the full recipe")
    figure.savefig(path)
