"""What wrong pairs do: a share of the targets shuffled within their language, under one loss and set of weights each.

    python benchmarks/noisy_pairs.py --data_dir FOLDER --shuffled 0 0.3 --seeds 5 [--any_flag_of_align value ...]

Every variant trains on the same pairs for as many steps. With pair weights it is also told how well they separate the
clean pairs from the shuffled ones, which nothing but this program knows: the area under the ROC curve over all pairs
seen after the warm-up, by language. The variant `all` has every adaptive part, `without_...` all but one. A run
that is done leaves its result, and a rerun goes on with the others.
"""

import argparse
import json
import shutil
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xling_align.cli.ablate import kept, words
from xling_align.cli.tasks import TASKS, Setting, measure
from xling_align.modeling_xling import InputError
from xling_align.trainers.adaptive.confidence import PairConfidence
from xling_align.trainers.adaptive.evidence import pair_evidence
from xling_align.trainers.adaptive.similarities import BatchSimilarities
from xling_align.trainers.align import PairData, build, check_writable, pair_stream
from xling_align.trainers.arguments import (
    DataArguments,
    ModelArguments,
    XLingAlignTrainingArguments,
    check_choice,
    one_line_errors,
    parse,
)
from xling_align.trainers.data.readers import ReadReport
from xling_align.trainers.data.tokenized import TokenizedPairs, tokenize_pairs
from xling_align.trainers.distributed import with_mean_one
from xling_align.trainers.levels import Step
from xling_align.trainers.trainer import XLingAlignTrainer

PARTS = {
    "evidence": ["--pair_evidence", "true"],
    "weights": ["--pair_weights", "adaptive"],
    "temperature": ["--temperature", "dynamic"],
    "regulariser": ["--alignment_regulariser", "0.5"],
    "sampling": ["--sampling_temperature", "3"],
}
VARIANTS = {
    "fixed": [],  # the recipe's own loss
    "infonce": ["--inter_loss", "infonce"],
    "rince": ["--inter_loss", "rince"],
    "adaptive": PARTS["weights"],
    "evidence": PARTS["evidence"],
    "both": [*PARTS["evidence"], *PARTS["weights"]],
    "all": [word for words in PARTS.values() for word in words],
    **{
        f"without_{part}": [word for other, words in PARTS.items() if other != part for word in words]
        for part in PARTS
    },
    "told": [],  # which pairs are wrong: they weigh nothing; what no way of finding them can surpass
}


def shuffled(pairs: TokenizedPairs, share: float, seed: int) -> tuple[TokenizedPairs, np.ndarray]:
    """Pairs of which a share got another's target, of the same language pair.

    Args:
        pairs: Clean pairs.
        share: From 0 to 1, of every language pair.
        seed: Chooses them.

    Returns:
        The pairs, and which of them are wrong (pairs,).
    """
    generator, groups = np.random.default_rng(seed), pairs.groups
    targets, wrong = np.arange(len(pairs)), np.zeros(len(pairs), bool)
    for group in np.unique(groups):
        members = generator.permutation(np.flatnonzero(groups == group))
        chosen = members[: round(share * len(members))]
        if len(chosen) > 1:
            targets[chosen], wrong[chosen] = np.roll(chosen, 1), True
    return pairs.take(np.arange(len(pairs)), targets), wrong


class SomePairs(PairData):
    """Every so many-th pair of `PairData`: a run sees few of them.

    Args:
        data: Where the pairs come from.
        every: Which are taken.
    """

    def __init__(self, data: DataArguments, every: int):
        super().__init__(data)
        self.every = every

    def tokenized(self, tokenizer, config, max_length: int) -> TokenizedPairs:
        """The pairs as token ids, made once for all runs."""
        if not self.done:
            rows = islice(pair_stream(self.data, ReadReport()), 0, None, self.every)
            self.done[()] = tokenize_pairs(rows, tokenizer, config, max_length)
        return self.done[()]


class ShuffledPairs(PairData):
    """Pairs of which a share is wrong.

    Args:
        clean: The pairs.
        share: Of them.
        seed: Chooses them.
    """

    def __init__(self, clean: PairData, share: float, seed: int):
        super().__init__(clean.data)
        self.clean, self.share, self.seed = clean, share, seed
        self.languages = clean.languages
        self.wrong = np.zeros(0, bool)

    def tokenized(self, tokenizer, config, max_length: int) -> TokenizedPairs:
        """The pairs as token ids, some of them wrong."""
        pairs, self.wrong = shuffled(self.clean.tokenized(tokenizer, config, max_length), self.share, self.seed)
        return pairs


class SeenWeights:
    """Keeps the weights and scores of the pairs of every batch, in the order of the batches."""

    def __init__(self, confidence: PairConfidence):
        self.update = confidence.update
        self.seen: list[tuple[np.ndarray, np.ndarray]] = []

    def __call__(self, step: Step, batch: BatchSimilarities) -> dict[str, Tensor]:
        """Weigh a batch's pairs, in the place of `PairConfidence.update`."""
        figures = self.update(step, batch)
        scores = batch.ratio_margins().gather(1, batch.positives.unsqueeze(1)).squeeze(1)
        self.seen.append((step.weights.cpu().numpy(), scores.cpu().numpy()))  # pyright: ignore[reportOptionalMemberAccess]
        return figures


def seen_rows(trainer: XLingAlignTrainer) -> np.ndarray:
    """Numbers of the pairs in the order in which one process sees them in its first epoch."""
    trainer.train_sampler.set_epoch(0)
    return np.array(list(trainer.train_sampler))


class Told:
    """Gives wrong pairs the weight 0, in the place of `Policies.observe`.

    Args:
        trainer: Of one process, before training.
        wrong: Which of its pairs are shuffled (pairs,).
    """

    def __init__(self, trainer: XLingAlignTrainer, wrong: np.ndarray):
        self.right = torch.from_numpy(~wrong[seen_rows(trainer)]).float()
        self.seen = 0

    def __call__(self, step: Step) -> dict[str, Tensor]:
        """Weigh a batch's pairs."""
        pairs = len(step.pair_ids)
        step.weights = with_mean_one(self.right[self.seen : self.seen + pairs].to(step.pair_ids.device))
        self.seen += pairs
        return {}


def separation(trainer: XLingAlignTrainer, seen: SeenWeights, wrong: np.ndarray) -> dict[str, Any]:
    """How well weights and scores separate clean from shuffled pairs, after the warm-up.

    Args:
        trainer: After training on one process, within one epoch.
        seen: What it was watched by.
        wrong: Which of its pairs are shuffled (pairs,).

    Returns:
        Areas under the ROC curve over all pairs and by language, and the mean weight of clean and of shuffled pairs.
    """
    pairs: Any = trainer.train_dataset
    weights, scores = (np.concatenate(column) for column in zip(*seen.seen, strict=True))
    rows = seen_rows(trainer)[: len(weights)]
    rows, weights, scores = (
        column[round(2 * trainer.args.weight_warmup * len(rows)) :] for column in (rows, weights, scores)
    )
    if trainer.kept_pairs is not None:
        wrong = wrong[trainer.kept_pairs]
    clean, codes = ~wrong[rows], ["", *trainer.base.config.languages]
    if clean.all():
        return {"clean": float(weights.mean()), "kept": float((weights > 0).mean())}
    languages = pairs.languages.reshape(-1, 2)[rows, 1]
    return {
        "weights": area(weights, clean),
        "scores": area(scores, clean),
        "clean": float(weights[clean].mean()),
        "shuffled": float(weights[~clean].mean()),
        "languages": areas_by_language(weights, clean, languages, codes),
    }


def area(values: np.ndarray, clean: np.ndarray) -> float | None:
    """Area under the ROC curve of values that should be large for clean pairs; None of one kind alone."""
    from sklearn.metrics import roc_auc_score

    finite = np.nan_to_num(values.astype(float))  # pairs that are not judged have infinite odds
    return round(float(roc_auc_score(clean, finite)), 4) if len(set(clean)) == 2 else None


def areas_by_language(
    values: np.ndarray, clean: np.ndarray, languages: np.ndarray, codes: list[str]
) -> dict[str, float | None]:
    """`area` of each language's pairs."""
    rows = sorted(set(languages.tolist()))
    return {codes[row]: area(values[languages == row], clean[languages == row]) for row in rows}


def separation_before(pairs: TokenizedPairs, wrong: np.ndarray, languages: list[str]) -> dict[str, Any]:
    """How well the evidence separates clean from shuffled pairs before training, as `separation`."""
    odds, codes = pair_evidence(pairs), ["", *languages]
    by_language = areas_by_language(odds, ~wrong, pairs.languages[1::2], codes)
    return {"weights": area(odds, ~wrong), "languages": by_language} if wrong.any() else {}


def train(words: list[str], pairs: ShuffledPairs, seed: int, folder: Path, told: bool) -> dict[str, Any]:
    """One run; its model is left in the folder.

    Args:
        words: Recipe and flags.
        pairs: What it is trained on.
        seed: Of the run.
        folder: Output.
        told: Whether the wrong pairs are known.

    Returns:
        Seconds, and what `separation` found.
    """
    own = [*words, "--seed", str(seed), "--output_dir", str(folder), "--save_strategy", "no", "--disable_tqdm", "true"]
    model, _, args = parse(own, ModelArguments, DataArguments, XLingAlignTrainingArguments, program="noisy_pairs")
    start, trainer = time.perf_counter(), build(model, pairs, args)
    if told:
        trainer.policies.observe = Told(trainer, pairs.wrong)
    seen, confidence = None, trainer.policies.confidence
    if confidence is not None:
        seen = SeenWeights(confidence)
        confidence.update = seen
    trainer.train()
    trainer.save_model()
    found = {"seconds": time.perf_counter() - start, "log": trainer.state.log_history}
    if trainer.kept_pairs is not None:
        wrong = pairs.wrong[trainer.kept_pairs]
        tokenizer: Any = trainer.processing_class
        given = pairs.tokenized(tokenizer, trainer.base.config, args.max_length)
        found["separation"] = separation_before(given, pairs.wrong, trainer.base.config.languages)
        found |= {"wrong_left": float(wrong.mean()), "clean_kept": float((~wrong).sum() / (~pairs.wrong).sum())}
    return found if seen is None else found | {"separation": separation(trainer, seen, pairs.wrong)}


def run(flags: argparse.Namespace, words: list[str], clean: PairData, share: float, variant: str, seed: int) -> dict:
    """One run's result, computed or read."""
    folder = Path(flags.output_dir) / f"shuffled-{share:g}" / variant / f"seed-{seed}"
    folder.mkdir(parents=True, exist_ok=True)

    def compute() -> dict:
        pairs = ShuffledPairs(clean, share, seed)
        result = train([*words, *VARIANTS[variant]], pairs, seed, folder / "model", variant == "told")
        setting = Setting(clean.data.data_dir or "", clean.languages, flags.dev, seed=seed)
        for task in flags.tasks:
            result[task] = measure(folder / "model", task, setting)
        shutil.rmtree(folder / "model")
        return result

    result = kept(folder / "result.json", compute)
    print(
        f"{share:g} shuffled, {variant}, seed {seed}: "
        + ", ".join(f"{t} {result[t]['score']:.1f}" for t in flags.tasks)
    )
    return result


def table(results: dict[tuple[float, str], list[dict]], tasks: list[str]) -> str:
    """Means and deviations by share and variant, and the areas under the curve."""
    lines = [["shuffled", "variant", *tasks, "AUC of the weights", "lowest language"]]
    lines.append(["---"] * 2 + ["---:"] * (len(tasks) + 2))
    for (share, variant), runs in results.items():
        cells = []
        for task in tasks:
            scores = [run[task]["score"] for run in runs]
            cells.append(f"{np.mean(scores):.1f}" + (f" ± {np.std(scores, ddof=1):.1f}" if len(scores) > 1 else ""))
        areas = [run["separation"] for run in runs if "weights" in run.get("separation", {})]
        lowest = [min((v, k) for k, v in area["languages"].items() if v is not None) for area in areas]
        cells.append(f"{np.mean([area['weights'] for area in areas]):.3f}" if areas else "")
        cells.append(f"{min(lowest)[1]} {min(lowest)[0]:.3f}" if lowest else "")
        lines.append([f"{share:g}", variant, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    """Run what has not run yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="single_level")
    parser.add_argument("--shuffled", type=float, nargs="+", default=[0.0, 0.3], help="shares of the targets")
    parser.add_argument("--variants", type=words, default=["fixed", "infonce", "rince", "adaptive", "evidence"])
    parser.add_argument("--every", type=int, default=8, help="take every so many-th pair of the corpora (default 8)")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first_seed", type=int, default=0)
    parser.add_argument("--tasks", type=words, default=["tatoeba", "sib200"])
    parser.add_argument("--dev", action="store_true", help="measure on dev sets, while settings are chosen")
    parser.add_argument("--output_dir", default="outputs/noisy_pairs")
    flags, rest = parser.parse_known_args(argv)
    check_choice("variants", flags.variants, tuple(VARIANTS))
    for share in flags.shuffled:
        if not 0 <= share <= 1:
            raise InputError(f"--shuffled is {share}; it is a share of the pairs, from 0 to 1")
    check_choice("tasks", flags.tasks, tuple(TASKS))
    check_writable(flags.output_dir)
    recipe = [flags.recipe, *rest]
    for variant in flags.variants:  # a mistake shows before hours of work
        parse(
            [*recipe, *VARIANTS[variant]],
            ModelArguments,
            DataArguments,
            XLingAlignTrainingArguments,
            program="noisy_pairs",
        )
    _, data, _ = parse(recipe, ModelArguments, DataArguments, XLingAlignTrainingArguments, program="noisy_pairs")
    clean = SomePairs(data, flags.every)
    results: dict[tuple[float, str], list[dict]] = {}
    for seed in range(flags.first_seed, flags.first_seed + flags.seeds):
        for share in flags.shuffled:
            for variant in flags.variants:
                results.setdefault((share, variant), []).append(run(flags, recipe, clean, share, variant, seed))
    text = table(results, flags.tasks)
    (Path(flags.output_dir) / "table.md").write_text(text + "\n", encoding="utf-8")
    (Path(flags.output_dir) / "flags.json").write_text(json.dumps(recipe), encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
