"""Languages whose translations are taken away: how much of what they bring does plain text bring?

For each language and seed:

- `encoder`: the encoder as it is;
- `before`: aligned on pairs of all other languages by the recipe `default`; its `lexicon_start` leaves a language
  without pairs behind, `--before_without_lexicon` does not;
- `rounds`: from there, the train-mine loop on plain text: all sentences of the language's pairs, or `--size`, and as
  many in English. Of each side, 30 % have their translation on the other; all other English sentences are from other
  languages' pairs, so that no sentence of the language is a translation of them;
- `true pairs`: from `before`, as many steps on all pairs of the language.

In both the words of the language start at the translations that its pairs show, mined or true; `--without_lexicon`
leaves that out.

Both go on with pairs of the other languages, half of each batch. Scores are retrieval both ways: of 1,000 pairs of the
language that nothing was trained or mined on, and, with `--test`, of Tatoeba, and zero-shot topics of SIB-200. What is
done is kept; a rerun goes on.

    python benchmarks/withheld_languages.py --data_dir ../shared/data --languages nl ta sw --seeds 5 --test
"""

import argparse
import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from xling_align.cli.ablate import kept
from xling_align.cli.models import quiet, text_encoder
from xling_align.cli.tasks import Setting, measure
from xling_align.eval.metrics.retrieval import retrieval_scores
from xling_align.modeling_xling import InputError, XLingAlignModel, load_tokenizer
from xling_align.trainers import align, self_train
from xling_align.trainers.adapt import mixed_files
from xling_align.trainers.arguments import DataArguments, ModelArguments, XLingAlignTrainingArguments, parse
from xling_align.trainers.averaging import train_average
from xling_align.trainers.checkpoints import check_same_settings
from xling_align.trainers.data.pairs import Pair, pair_id_of
from xling_align.trainers.data.readers import read_data_dir
from xling_align.trainers.languages import add_languages, start_languages
from xling_align.trainers.programs import log_to_screen, write_json
from xling_align.trainers.self_train import SelfTrainArguments

SHARE = 0.3  # of each side of the plain text that has its translation on the other
HELD_OUT = 1000  # pairs that scores are taken on
CORPORA = ["tatoeba-anki", "bible", "tico19", "ud-pud", "xquad-questions", "indic-wiki"]
STAGES = ("encoder", "before", "rounds", "true pairs")
COMMON = "--per_device_train_batch_size 128 --max_length 64 --logging_steps 20 --disable_tqdm true"
RATES = "--learning_rate 1e-3 --embedding_learning_rate 3e-3 --warmup_steps 30"


def draw(given: argparse.Namespace) -> None:
    """Write the texts of all runs that have none yet."""
    runs = [(language, seed) for language in given.languages for seed in range(given.seeds)]
    texts = [(Texts(Path(given.output_dir) / language / f"seed-{seed}", language), seed) for language, seed in runs]
    settings = {"size": given.size, "others": given.others}
    for each, _ in texts:
        check_same_settings(each.path("draw_settings.json"), settings)
    missing = [(each, seed) for each, seed in texts if not each.path("drawn.json").exists()]
    rows = list(read_data_dir(given.data_dir, None, CORPORA)) if missing else []
    for each, seed in missing:
        each.folder.mkdir(parents=True, exist_ok=True)
        write_json(each.path("draw_settings.json"), settings)
        each.draw(rows, given.size, given.others, random.Random(seed))


class Texts:
    """What one language's runs are made of, as files.

    Args:
        folder: Where the files are.
        language: That whose pairs are taken away.
    """

    def __init__(self, folder: Path, language: str):
        self.folder, self.language = folder, language

    def path(self, name: str) -> Path:
        """One of the files."""
        return self.folder / name

    def draw(self, rows: list[Pair], size: int | None, others: int, generator: random.Random) -> None:
        """Choose and write; a sentence occurs once on its side.

        Args:
            rows: Pairs of all languages.
            size: Plain sentences of each side at most; all unless given.
            others: Pairs of other languages at most.
            generator: Draws.

        Raises:
            InputError: The language has too few pairs.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        own, taken = [], (set(), set())
        for row in rows:
            ids = pair_id_of(row["source"], "und"), pair_id_of(row["target"], "und")
            if row["target_language"] == self.language and ids[0] not in taken[0] and ids[1] not in taken[1]:
                own.append(row)
                taken[0].add(ids[0])
                taken[1].add(ids[1])
        rest = [row for row in rows if row["target_language"] != self.language]
        if len(own) < 3 * HELD_OUT:
            raise InputError(f"{self.language!r} has {len(own)} distinct pairs; {3 * HELD_OUT} or more are needed")
        generator.shuffle(own)
        generator.shuffle(rest)
        dev, true = own[:HELD_OUT], own[HELD_OUT:]
        size = len(true) if size is None else min(size, len(true))
        hidden = round(SHARE * size)
        english = {pair_id_of(row["source"], "und"): row["source"] for row in rest}
        apart = [text for meaning, text in english.items() if meaning not in taken[0]][: size - hidden]
        foreign = [row["target"] for row in true[:size]]
        plain = [row["source"] for row in true[:hidden]] + apart
        generator.shuffle(plain)
        generator.shuffle(foreign)
        for name, lines in (("en.txt", plain), (f"{self.language}.txt", foreign)):
            self.path(name).write_text("".join(f"{' '.join(line.split())}\n" for line in lines), encoding="utf-8")
        for name, pairs in (("dev", dev), ("true", true), ("gold", true[:hidden]), ("others", rest[:others])):
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in pairs)
            self.path(f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
        counts = {"pairs": len(true), "hidden": hidden, "foreign": len(foreign), "english": len(plain)}
        self.path("drawn.json").write_text(json.dumps(counts), encoding="utf-8")

    def dev(self) -> list[Pair]:
        """Pairs that scores are taken on."""
        return [json.loads(line) for line in self.path("dev.jsonl").read_text(encoding="utf-8").splitlines()]


class Study:
    """All stages of one language and seed.

    Args:
        given: The command's flags.
        texts: The language's files.
        seed: Of training.
    """

    def __init__(self, given: argparse.Namespace, texts: Texts, seed: int):
        self.given, self.texts, self.seed, self.folder = given, texts, seed, texts.folder

    def flags(self, name: str, **changes: object) -> list[str]:
        """A training program's flags.

        Args:
            name: Of the output folder.
            **changes: More flags.

        Returns:
            The words of the command line after the recipe.
        """
        words = [*COMMON.split(), *RATES.split(), "--seed", str(self.seed), "--output_dir", str(self.folder / name)]
        for flag, value in changes.items():
            words += [f"--{flag}", *map(str, value if isinstance(value, list) else [value])]
        return words

    def model(self, stage: str) -> Path:
        """The model of a stage, trained if it is not there."""
        folder = self.folder / stage.replace(" ", "_")
        if not (folder / "model.safetensors").exists():
            print(f"\n== {self.texts.language}, seed {self.seed}: {stage} ==", flush=True)
            {"before": self.before, "rounds": self.rounds, "true pairs": self.true_pairs}[stage](folder.name)
        return folder

    def before(self, name: str) -> None:
        """Align the encoder on other languages' pairs, with a row for the language."""
        steps = {"encoder": self.given.encoder, "max_steps": self.given.steps_before, "save_strategy": "no"}
        steps |= {"without": "lexicon"} if self.given.before_without_lexicon else {}
        others = {"train_file": self.texts.path("others.jsonl")}
        align.main(["default", *self.flags(f"{name}.aligned", **steps, **others)])
        add_row(self.folder / f"{name}.aligned", self.folder / name, self.texts)

    def rounds(self, name: str) -> None:
        """The train-mine loop."""
        mono = [self.texts.path("en.txt"), self.texts.path(f"{self.texts.language}.txt")]
        files = {"mono": mono, "gold": self.texts.path("gold.jsonl"), "train_file": self.texts.path("others.jsonl")}
        rounds = {"rounds": self.given.rounds, "max_steps": self.given.steps, "enough_overlap": 1.0}
        rounds["lexical_rounds"] = self.given.lexical_rounds
        limits = {"first_threshold": self.given.first_threshold, "last_threshold": self.given.last_threshold}
        start = {"encoder": self.model("before"), "mined_share": self.given.mined_share}
        start["lexicon_start"] = not self.given.without_lexicon
        self_train.main(["low_resource", *self.flags(name, **files, **rounds, **limits, **start)])

    def true_pairs(self, name: str) -> None:
        """As many steps on the language's own pairs, in the same proportion to those of the others."""
        _, _, args = parse(
            ["single_level", *self.flags(name, max_steps=self.given.rounds * self.given.steps, save_strategy="no")],
            ModelArguments,
            DataArguments,
            XLingAlignTrainingArguments,
            program="true pairs",
        )
        before = str(self.model("before"))
        model, tokenizer = XLingAlignModel.from_pretrained(before), load_tokenizer(before)
        share = self.given.mined_share
        shares = {self.texts.path("true.jsonl"): share, self.texts.path("others.jsonl"): 1 - share}
        moving = [] if self.given.without_lexicon else [self.texts.language]
        pairs = mixed_files(shares, model, tokenizer, args, moving)
        args.output_dir = f"{args.output_dir}.training"
        train_average(model, args, pairs, tokenizer, SelfTrainArguments.average_decay, self.folder / name)

    def scores(self, stage: str) -> dict[str, float]:
        """What a stage's model is worth, in %."""
        model = self.given.encoder if stage == "encoder" else str(self.model(stage))
        encode, dev = text_encoder(model), self.texts.dev()
        sides = [encode([row[side] for row in dev], language=code) for side, code in self.sides()]
        found = {"held out": 100 * retrieval_scores(*sides)["accuracy"]}
        if self.given.test:
            setting = Setting(self.given.data_dir, [self.texts.language], seed=self.seed)
            found |= {task: measure(model, task, setting)["score"] for task in ("tatoeba", "sib200")}
        return found

    def sides(self) -> list[tuple[str, str]]:
        """Both sides of a pair and their languages."""
        return [("source", "en"), ("target", self.texts.language)]

    def mined(self) -> list[dict[str, Any]]:
        """What the rounds found."""
        reports = sorted((self.folder / "rounds" / "rounds").glob("*/round.json"))
        return [json.loads(path.read_text(encoding="utf-8")) for path in reports]


def add_row(aligned: Path, folder: Path, texts: Texts) -> None:
    """Give an aligned model a row for the language, started at its plain text."""
    model, tokenizer = XLingAlignModel.from_pretrained(aligned), load_tokenizer(aligned)
    lines = texts.path(f"{texts.language}.txt").read_text(encoding="utf-8").splitlines()
    add_languages(model, [texts.language])
    start_languages(model, tokenizer, {texts.language: lines})
    model.save_pretrained(folder, tokenizer=tokenizer)
    shutil.rmtree(aligned)


def table(results: list[dict[str, Any]]) -> str:
    """Means over the seeds ± deviation, and the share of the true pairs' gain that the rounds reach.

    Args:
        results: Scores of every run.

    Returns:
        The table; after the share of the means, the least and the most of a run.
    """
    tasks = list(results[0]["before"])
    head = ["language", "task", *STAGES, "share of the gain", "since the encoder"]
    lines = [head, ["---"] * 2 + ["---:"] * (len(STAGES) + 2)]
    for language in dict.fromkeys(result["language"] for result in results):
        runs = [result for result in results if result["language"] == language]
        for task in tasks:
            scores = np.array([[run[stage][task] for stage in STAGES] for run in runs])
            several = len(runs) > 1
            deviations = [f" ± {each:.1f}" if several else "" for each in scores.std(0, ddof=int(several))]
            cells = [f"{mean:.1f}{own}" for mean, own in zip(scores.mean(0), deviations, strict=True)]
            lines.append([language, task, *cells, share(scores, 1), share(scores, 0)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def share(scores: np.ndarray, start: int) -> str:
    """How much of the gain of the true pairs the rounds have, in %.

    Args:
        scores: By run and stage (runs, stages).
        start: Stage that the gain is counted from.

    Returns:
        The share of the means, with the least and the most of a run; none where the true pairs of a run gain nothing.
    """
    gains = scores[:, 2:] - scores[:, [start]]  # of the rounds and of the true pairs
    if (gains[:, 1] <= 0).any():
        return "-"
    (rounds, true), runs = gains.mean(0), 100 * gains[:, 0] / gains[:, 1]
    return f"{100 * rounds / true:.0f} %" + (f" ({runs.min():.0f} to {runs.max():.0f})" if len(runs) > 1 else "")


def main(argv: list[str] | None = None) -> list[dict[str, Any]]:
    """Run what has not run yet, and print.

    Args:
        argv: The command line without the program; `sys.argv` unless given.

    Returns:
        Scores of every run.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", default="../shared/data", help="folder with parallel/ and the tasks' data")
    parser.add_argument("--encoder", default="model_cards/xling-mini-base", help="encoder that has seen no pairs")
    parser.add_argument("--languages", nargs="+", default=["nl"], help="taken away one at a time (default nl)")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each language (default 1)")
    parser.add_argument("--size", type=int, help="plain sentences of each side at most (default all)")
    parser.add_argument("--others", type=int, default=60_000, help="pairs of other languages (default 60,000)")
    parser.add_argument("--steps_before", type=int, default=300, help="of aligning the others (default 300)")
    parser.add_argument("--rounds", type=int, default=4, help="of mining (default 4)")
    parser.add_argument("--steps", type=int, default=75, help="of each round (default 75)")
    parser.add_argument("--first_threshold", type=float, default=SelfTrainArguments.first_threshold)
    parser.add_argument("--last_threshold", type=float, default=SelfTrainArguments.last_threshold)
    parser.add_argument("--mined_share", type=float, default=SelfTrainArguments.mined_share)
    parser.add_argument(
        "--lexical_rounds", type=int, default=SelfTrainArguments.lexical_rounds, help="0: none before those of mining"
    )
    parser.add_argument("--without_lexicon", action="store_true", help="words start where `before` has them")
    parser.add_argument("--before_without_lexicon", action="store_true", help="`before` without `lexicon_start`")
    parser.add_argument("--test", action="store_true", help="score on Tatoeba and SIB-200, once settings are chosen")
    parser.add_argument("--output_dir", default="outputs/withheld", help="a rerun goes on here")
    given = parser.parse_args(argv)
    quiet()
    log_to_screen(True)
    results = []
    draw(given)
    for language in given.languages:
        for seed in range(given.seeds):
            study = Study(given, Texts(Path(given.output_dir) / language / f"seed-{seed}", language), seed)
            folder = study.folder
            for stage in STAGES:
                name = f"{stage.replace(' ', '_')}{'.test' if given.test else ''}.json"
                scores = kept(folder / name, lambda study=study, stage=stage: study.scores(stage))
                results.append({"language": language, "seed": seed, "stage": stage, "scores": scores})
                print(f"{language}, seed {seed}, {stage}: {scores}", flush=True)
            for found in study.mined():
                print(self_train.described(found), flush=True)
    runs = [
        {
            "language": language,
            **{
                each["stage"]: each["scores"]
                for each in results
                if (each["language"], each["seed"]) == (language, seed)
            },
        }
        for language in given.languages
        for seed in range(given.seeds)
    ]
    print(f"\n{table(runs)}\n\n{given.seeds} runs of each language; in %.")
    return runs


if __name__ == "__main__":
    main()
