"""Add languages to an aligned model: rows, pieces, and training beside pairs of the languages that it has.

One run in order: hold pairs out -> rows and pieces -> measure -> train (on pairs, by rounds of mining, or both) ->
measure. Each step's result is kept in `OUTPUT_DIR/work`; a run that was stopped goes on after the last one, and
training from its last checkpoint. The model that is adapted is only read.
"""

import copy
import json
import logging
import random
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedTokenizerBase

from xling_align.eval.encoding import TextEncoder, has_fast_bf16, model_digest
from xling_align.eval.metrics.retrieval import retrieval_scores
from xling_align.modeling_xling import InputError, XLingAlignConfig, XLingAlignModel, load_tokenizer

from .align import load_model, with_lm_head
from .arguments import DataArguments, ModelArguments, XLingAlignTrainingArguments
from .averaging import train_average
from .checkpoints import alone, check_same_settings, claim, digests, drop, holds_work, settings_of
from .checks import check_at_least, check_files
from .data.identification import check_texts_not_swapped, not_swapped
from .data.mixture import mixture
from .data.pairs import Languages, Pair, pair_id_of
from .data.readers import ReadReport, pairs_by_name, read_data_dir, read_pairs
from .data.sentences import NO_LANGUAGE, Sentences, copy_without
from .data.tokenized import TokenizedPairs, join_pairs, tokenize_pairs
from .facts import corpora_of, recipe_of, write_facts
from .languages import add_languages, start_languages
from .lexicon import start_from_translations
from .new_tokens import add_embeddings, extended
from .programs import write_json
from .self_train import SelfTrainArguments, SelfTraining

logger = logging.getLogger("xling_align")

MOST_SENTENCES = 200_000  # of a text, that rows and pieces are learned from
ENOUGH = 5  # times as many pairs as are held out a language has
FEWEST = 20  # pairs that say anything of a language


@dataclass
class AdaptArguments:
    """What is added, and from what.

    Attributes:
        model: Folder or Hub id of a model of ours.
        add_languages: Codes of the languages.
        mono: A text file for each of them, a sentence a line.
        parallel: Files of pairs with the source language.
        source_mono: Text of the source language; pairs are then mined from it and `mono`, round by round.
        replay: Files of pairs of the languages that the model has.
        data_dir: A folder of such pairs, `parallel/<corpus>/<xx>-en.tsv[.gz]`.
        corpora: Which corpora of `data_dir`.
        replay_share: Share of the training pairs that are of languages that the model has. Where pairs are both given
            and mined, `mined_share` of the rest are mined ones.
        replay_pairs: Most of these that are read, drawn at random.
        new_tokens: Pieces to add to the vocabulary.
        held_out: Pairs of each language that are measured on and not trained on, where there are five times as many.
        tolerance: Points of retrieval that a language may lose; less than about 3 is within the noise of 500 pairs.
        allow_unmeasured: Go on where a language that the model has has too few pairs to measure what it loses.
    """

    model: str
    add_languages: list[str] = field(default_factory=list)
    mono: list[str] = field(default_factory=list)
    parallel: list[str] | None = None
    source_mono: str | None = None
    replay: list[str] | None = None
    data_dir: str | None = None
    corpora: list[str] | None = None
    replay_share: float = 0.5
    replay_pairs: int = 60_000
    new_tokens: int = 0
    held_out: int = 500
    tolerance: float = 3.0
    allow_unmeasured: bool = False

    def __post_init__(self):
        check_at_least(0, new_tokens=self.new_tokens, tolerance=self.tolerance)
        check_at_least(1, held_out=self.held_out, replay_pairs=self.replay_pairs)
        Languages("add_languages", self.add_languages)
        if not 0 < self.replay_share < 1:
            raise InputError(f"--replay_share is {self.replay_share}; it must be above 0 and below 1")
        if len(self.mono) != len(self.add_languages) or not self.mono:
            raise InputError(
                f"--add_languages names {len(self.add_languages)} languages and --mono {len(self.mono)} files; "
                "give a text file for each language, in the same order"
            )
        check_files(*self.mono, self.source_mono)
        if not self.parallel and not self.source_mono:
            raise InputError(
                "there is nothing to align the languages by; give --parallel FILE with pairs, or --source_mono FILE "
                "with text of the source language to mine pairs from"
            )
        if not self.replay and not self.data_dir:
            raise InputError(
                "without pairs of the languages that the model has it would forget them; give --replay FILE or "
                "--data_dir FOLDER"
            )


class Adaptation:
    """One run.

    Args:
        arguments: What is added, and from what.
        rounds: How pairs are mined, where that is asked for.
        args: Training arguments; of one round, where pairs are mined.

    Raises:
        InputError: The model is none of ours or has one of the languages, there is no number of steps, the texts
            are swapped, or pairs are to be mined without FAISS.
    """

    def __init__(self, arguments: AdaptArguments, rounds: dict[str, Any], args: XLingAlignTrainingArguments):
        self.arguments, self.rounds, self.args = arguments, rounds, args
        self.output = Path(args.output_dir)
        self.work = self.output / "work"
        config = AutoConfig.from_pretrained(arguments.model)
        if not isinstance(config, XLingAlignConfig):
            raise InputError(f"{arguments.model!r} is a plain encoder; align it first by xling align")
        self.old, self.source = list(config.languages), config.source_language
        there = [code for code in arguments.add_languages if code in self.old]
        if there:
            raise InputError(
                f"the model has {', '.join(there)} already, among {', '.join(self.old)}; name other languages, or "
                "train it further by xling align"
            )
        if arguments.source_mono:
            SelfTrainArguments(**rounds).check_installed("lexicon" not in args.without)
        if args.max_steps < 1:
            raise InputError("say how long to train: --max_steps, such as 300 (of each round, where pairs are mined)")
        if self.output.exists() and Path(arguments.model).exists() and self.output.samefile(arguments.model):
            raise InputError(f"--output_dir {self.output} is the model itself; name another folder")
        texts = {self.source: arguments.source_mono} if arguments.source_mono else {}
        texts |= zip(arguments.add_languages, arguments.mono, strict=True)
        check_texts_not_swapped(texts, "swap the files of --source_mono and --mono")

    @property
    def languages(self) -> list[str]:
        """All languages but the source language, the added ones last."""
        return [code for code in (*self.old, *self.arguments.add_languages) if code != self.source]

    def run(self) -> dict[str, Any]:
        """Adapt, and save model and report; nothing is done again that was done.

        Returns:
            Retrieval of held-out pairs by language, `before` and `after`, in %, and `lost`: the languages that lost
            more than is tolerated.
        """
        with alone(self.output):
            return self.adapted()

    def adapted(self) -> dict[str, Any]:
        """As `run`, with the output folder to itself."""
        report, done = self.output / "adapt.json", self.output / "adapt_settings.json"
        settings = settings_of(self.rounds, asdict(self.arguments), self.args.to_dict(), self.inputs())
        if report.exists():
            check_same_settings(done, settings)
            return json.loads(report.read_text(encoding="utf-8"))
        claim(self.work, settings)
        try:
            result = self.steps()
        except InputError:
            if not holds_work(self.work):
                drop(self.work)
            raise
        write_json(done, settings)
        write_json(report, result)
        shutil.rmtree(self.work)
        return result

    def steps(self) -> dict[str, Any]:
        """Hold out, measure, train, measure, and save the model."""
        if not (self.work / "held.json").exists():
            self.hold_out()
        if not (self.work / "start").exists():
            self.begin()
        model = self.work / "start"
        before = self.measured(self.arguments.model, "before", self.old)
        before |= self.measured(model, "start", self.arguments.add_languages)
        if self.arguments.parallel:
            model = self.train_pairs(model, self.work / "paired")
        if self.arguments.source_mono:
            model = self.train_rounds(model, self.work / "rounds")
        after = self.measured(model, "after", self.languages)
        lost = [code for code in self.old if code in before and before[code] - after[code] > self.arguments.tolerance]
        shutil.copytree(model, self.output, dirs_exist_ok=True, ignore=shutil.ignore_patterns("model"))
        self.write_facts()
        unmeasured = [code for code in self.languages if code not in before]
        result = {"before": before, "after": after, "lost": lost, "tolerance": self.arguments.tolerance}
        return result | {"unmeasured": unmeasured}

    def inputs(self) -> dict[str, str]:
        """What tells the texts, the pairs and the model apart from others of the same names."""
        given = self.arguments
        files = [*given.mono, *filter(None, [given.source_mono]), *(given.parallel or []), *(given.replay or [])]
        pairs = DataArguments(data_dir=given.data_dir, corpora=given.corpora)
        return digests([*files, *pairs.paths]) | {
            "contents of the model": model_digest(self.given_model(), load_tokenizer(given.model))
        }

    def given_model(self) -> XLingAlignModel:
        """The model as it was given."""
        return load_model(ModelArguments(encoder=self.arguments.model), self.old, self.source)

    def hold_out(self) -> None:
        """Read all pairs; write those to train on, and those to measure on."""
        given, report = self.arguments, ReadReport()
        replay = self.stream(given.replay or [], self.old, report)
        if given.data_dir:
            rows = read_data_dir(given.data_dir, None, given.corpora, report=report)
            replay = chain(replay, (row for row in rows if row["target_language"] in self.old))
        most = given.held_out + given.replay_pairs // max(len(self.old) - 1, 1)
        held: dict[str, list[Pair]] = {}
        parallel = self.stream(given.parallel or [], given.add_languages, report)
        kept: list[Pair] = []  # at the end, those of the added languages
        for name, rows, limit in (("replay", replay, most), ("parallel", parallel, None)):
            kept = []
            for code, drawn in sampled(rows, limit).items():
                held[code], rest = parted(drawn, given.held_out)
                kept += rest
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
            (self.work / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
        counts = Counter(row["target_language"] for row in kept)
        if given.parallel and not kept:
            raise InputError(
                f"{', '.join(given.parallel)}: no pair is in {' or '.join(given.add_languages)}; give their pairs, or "
                "leave --parallel out"
            )
        if given.source_mono and min(counts[code] for code in given.add_languages) >= self.rounds["many_pairs"]:
            raise InputError(
                f"--parallel has {min(counts.values()):,} pairs or more of each language, and none are mined for so "
                "many; leave --source_mono out, or raise --many_pairs"
            )
        if not (self.work / "replay.jsonl").stat().st_size:
            raise InputError(f"the replayed pairs are in none of the model's languages, {', '.join(self.old)}")
        self.check_measured(held)
        write_json(self.work / "corpora.json", corpora_of(DataArguments(data_dir=given.data_dir), report))
        write_json(self.work / "held.json", {code: rows for code, rows in held.items() if rows})

    def check_measured(self, held: dict[str, list[Pair]]) -> None:
        """Refuse to adapt where nobody would see what a language loses, unless that is allowed."""
        missing = [code for code in self.old if code != self.source and not held.get(code)]
        if missing and not self.arguments.allow_unmeasured:
            raise InputError(
                f"--replay and --data_dir have too few pairs of {', '.join(missing)} to measure what they lose: "
                f"{ENOUGH * FEWEST} of each are needed; add theirs, or --allow_unmeasured"
            )

    def write_facts(self) -> None:
        """Leave beside the model what it was adapted on and how, for its card."""
        given = self.arguments
        texts = [*given.mono, *([given.source_mono] if given.source_mono else [])]
        corpora = {Path(path).name: {"pairs": "single sentences"} for path in texts}
        corpora |= json.loads((self.work / "corpora.json").read_text(encoding="utf-8"))
        moving = "lexicon" not in self.args.without
        recipe = recipe_of(ModelArguments(encoder=given.model, lexicon_start=moving), self.args)
        if given.source_mono:
            recipe["rounds"] = self.rounds["rounds"]
        write_facts(self.output, given.model, corpora, recipe | {"added_languages": given.add_languages})

    def stream(self, files: list[str], languages: list[str], report: ReadReport) -> Iterator[Pair]:
        """Pairs of files in some languages; where there are several, a file may say its own by its name."""
        codes = [code for code in languages if code != self.source]
        for path in files:
            yield from not_swapped(pairs_by_name(path, self.source, codes, report), path)

    def begin(self) -> None:
        """Save the model with rows and pieces for the added languages, untrained."""
        given, model = self.arguments, self.given_model()
        tokenizer = load_tokenizer(given.model)
        texts = {code: self.sentences(path) for code, path in zip(given.add_languages, given.mono, strict=True)}
        if given.new_tokens:
            first = len(tokenizer)
            tokenizer, parts = extended(tokenizer, list(chain(*texts.values())), given.new_tokens)
            add_embeddings(model, first, parts)
            logger.info("%d new pieces", len(parts))
        add_languages(model, given.add_languages)
        start_languages(model, tokenizer, texts, self.args.max_length)
        model.save_pretrained(self.work / "start.partial", tokenizer=tokenizer)
        (self.work / "start.partial").rename(self.work / "start")

    def sentences(self, path: str) -> list[str]:
        """Distinct sentences of a text, as many as rows and pieces are learned from."""
        found = Sentences(path, self.work / "sentences.txt")
        logger.info(found)
        return list(islice(found.after(0), MOST_SENTENCES))

    def measured(self, name: str | Path, when: str, languages: list[str]) -> dict[str, float]:
        """Retrieval of the held-out pairs, the mean of both directions.

        Args:
            name: Folder or Hub id of a model.
            when: Under which name the scores are kept.
            languages: Which of those that pairs are held out of.

        Returns:
            Scores by language, in %.
        """
        path = self.work / f"{when}.json"
        if not path.exists():
            tokenizer = load_tokenizer(name)
            model: Any = XLingAlignModel.from_pretrained(name, dtype=torch.float32)
            model.to(self.args.device)
            encode = TextEncoder(model, tokenizer, normalize=True, bf16=has_fast_bf16())
            held = json.loads((self.work / "held.json").read_text(encoding="utf-8"))
            scores = {}
            for code in (code for code in languages if code in held):
                source, target = ([row[side] for row in held[code]] for side in ("source", "target"))
                vectors = encode(source, language=self.source), encode(target, language=code)
                scores[code] = 100 * retrieval_scores(*vectors)["accuracy"]
            write_json(path, scores)
        return json.loads(path.read_text(encoding="utf-8"))

    def train_pairs(self, start: Path, folder: Path) -> Path:
        """Train on the added languages' pairs beside the others'."""
        if not folder.exists():
            model = load_model(ModelArguments(encoder=str(start)), self.languages, self.source)
            tokenizer, args = load_tokenizer(start), copy.copy(self.args)
            args.output_dir = str(self.work / "paired.training")
            share = self.arguments.replay_share
            shares = {self.work / "replay.jsonl": share, self.work / "parallel.jsonl": 1 - share}
            moving = [] if "lexicon" in args.without else self.arguments.add_languages
            pairs = mixed_files(shares, model, tokenizer, args, moving)
            whole = with_lm_head(model, ModelArguments(encoder=str(start)), args)
            train_average(whole, args, pairs, tokenizer, self.rounds["average_decay"], folder)
        return folder

    def train_rounds(self, start: Path, folder: Path) -> Path:
        """Rounds of mining and training; known pairs of all languages join in, each kind with its share."""
        given, args = self.arguments, copy.copy(self.args)
        args.output_dir = str(folder)
        shares = {"replay": given.replay_share}
        if given.parallel:
            shares["parallel"] = (1 - given.replay_share) * (1 - self.rounds["mined_share"])
        settings = {"mono": self.texts_to_mine(), "mono_languages": [self.source, *given.add_languages]}
        known = DataArguments(train_file=[str(self.work / f"{name}.jsonl") for name in shares])
        known.source_language = self.source
        rounds = SelfTrainArguments(**{**self.rounds, **settings})
        model = ModelArguments(encoder=str(start), lexicon_start=True)
        SelfTraining(rounds, model, known, args, list(shares.values())).run()
        return folder

    def texts_to_mine(self) -> list[str]:
        """Copies of the texts, that of the source language first, without the sentences that are measured on."""
        given = self.arguments
        held = json.loads((self.work / "held.json").read_text(encoding="utf-8"))
        ids = {pair_id_of(row[side], NO_LANGUAGE) for row in chain(*held.values()) for side in ("source", "target")}
        copies = []
        for code, path in zip([self.source, *given.add_languages], [str(given.source_mono), *given.mono], strict=True):
            copies.append(self.work / "texts" / code / Path(path).name.removesuffix(".gz"))
            copies[-1].parent.mkdir(parents=True, exist_ok=True)
            emptied = copy_without(path, copies[-1], ids)
            logger.info("%s: %d lines with sentences of held-out pairs are not mined", path, emptied)
        return list(map(str, copies))


def mixed_files(
    shares: Mapping[Path, float],
    model: XLingAlignModel,
    tokenizer: PreTrainedTokenizerBase,
    args: XLingAlignTrainingArguments,
    moving: Sequence[str],
) -> TokenizedPairs:
    """What a model is trained on from files of pairs; the words of some languages start at what these show.

    Args:
        shares: Of the training pairs, by file.
        model: Whose words start there, in place.
        tokenizer: Its tokenizer.
        args: How long is trained.
        moving: Codes of the languages whose words move.

    Returns:
        As many pairs as the steps take.
    """
    parts = [tokenize_pairs(read_pairs(path), tokenizer, model.config, args.max_length) for path in shares]
    if moving:
        start_from_translations(model, join_pairs(parts), tokenizer.all_special_ids, moving)
    number = args.max_steps * args.train_batch_size * args.gradient_accumulation_steps
    return mixture(parts, list(shares.values()), number, args.seed)


def sampled(rows: Iterable[Pair], limit: int | None) -> dict[str, list[Pair]]:
    """Pairs by language, at most so many of each, drawn at random and the same in every run (Vitter's algorithm R)."""
    generator, seen = random.Random(0), Counter()
    found: dict[str, list[Pair]] = {}
    for row in rows:
        code = row["target_language"]
        own = found.setdefault(code, [])
        seen[code] += 1
        if limit is None or len(own) < limit:
            own.append(row)
        elif (place := generator.randrange(seen[code])) < limit:
            own[place] = row
    return found


def parted(rows: list[Pair], number: int) -> tuple[list[Pair], list[Pair]]:
    """Pairs to measure on, fewer where there are few, and pairs to train on; no sentence is among both.

    Args:
        rows: Pairs of one language.
        number: How many to measure on at most.

    Returns:
        Both lists.
    """
    order = random.Random(0).sample(rows, len(rows))
    held: dict[int, Pair] = {}
    targets: set[str] = set()
    if (number := min(number, len(rows) // ENOUGH)) >= FEWEST:
        for row in order:
            if len(held) < number and row["pair_id"] not in held and row["target"] not in targets:
                held[row["pair_id"]] = row
                targets.add(row["target"])
    rest = [row for row in order if row["pair_id"] not in held and row["target"] not in targets]
    return list(held.values()), rest
