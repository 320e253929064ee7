"""Align languages that have no translations: mine pairs from plain text, train on them, mine again with the result.

`python -m xling_align.trainers.self_train RECIPE.yaml --encoder MODEL --mono en.txt xx.txt --flag value`.
adaptive_contrastive_framework.txt, section 2.2, gives no formulas; the form is ours (method.md, section 2):

- First, words that two texts share show sentences that may be translations, these show words, and so on, with no
  model (`adaptive/lexical.py`); the words of each language move to the translations found so.
- Round by round: of each sentence's neighbours by sentence vectors, the best by the ratio margin of their words
  (`adaptive/words.py`), where it is mutual and above a threshold that falls from round to round. A pair counts if two
  of three say so, too: the sentence vectors, the round before, and letters and words as that round's pairs translate
  them. Where no words were learned from the texts, that round has few pairs, or there are more than 100,000
  sentences, one of the first two is enough; the JSON beside the pairs names who was asked.
- A language with many known pairs is not mined for (`--many_pairs`); the plan is logged before the first round.
- Training on these pairs and on known ones (`--train_file`, `--data_dir`), in a fixed proportion.
- The running average of the weights is what mines in the next round, and what the next round starts from.
- The rounds end when training no longer changes what is found: by the threshold of the round before, a round finds
  nearly the same pairs as that one. It is still trained on all that its own, lower threshold lets in. They also end
  when a round after the first finds less than a batch; the model of the one before it is the result.

All that is done is kept in `OUTPUT_DIR/rounds`; a run that was stopped, by `kill -9` or otherwise, goes on there and
ends with the same pairs and the same weights.
"""

import copy
import json
import logging
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from transformers import set_seed

from xling_align.eval.encoding import TextEncoder, has_fast_bf16, model_digest
from xling_align.modeling_xling import InputError, XLingAlignConfig, XLingAlignModel, load_tokenizer

from .adaptive.lexical import LEAST_MARGIN, ROUNDS, load_lexical
from .adaptive.neighbours import load_faiss
from .adaptive.rounds import falling
from .align import PairData, encoder_of, has_lexicon, load_model, start_new_languages, with_lm_head, wrapped_without
from .arguments import (
    DataArguments,
    ModelArguments,
    XLingAlignTrainingArguments,
    one_line_errors,
    parse,
)
from .averaging import train_average
from .checkpoints import alone, claim, digests, drop, settings_of
from .checks import check_at_least, check_files
from .data.identification import check_texts_not_swapped
from .data.mixture import counts_of, mixture
from .data.pairs import Languages
from .data.readers import pairs_by_name
from .data.resources import to_mine
from .data.tokenized import TokenizedPairs, join_pairs, tokenize_pairs
from .distributed import process_count
from .facts import corpora_of, recipe_of, write_facts
from .lexicon import start_from_translations, start_words
from .mine import MineArguments
from .mine_rounds import hidden_pairs, mine_confirmed, mine_lexically, quality, read_rows
from .programs import check_writable, log_to_screen, write_json

logger = logging.getLogger("xling_align")


@dataclass
class SelfTrainArguments:
    """What is mined and how.

    Attributes:
        mono: Text files, a sentence a line: of the source language first, then of each other language.
        mono_languages: Their codes; the files' names up to the first dot unless given.
        gold: Files of known pairs that the rounds are measured against, and that nothing is trained on.
        lexical_rounds: How often translations of words are learned from the texts alone, before the first round,
            where words move (`lexicon_start`); 0 for never.
        rounds: Most rounds.
        first_threshold: Smallest ratio margin in the first round.
        last_threshold: In the last.
        k: Neighbours that are compared word by word, and that a similarity is held against.
        max_length_ratio: How many times longer or shorter than usual a target may be.
        many_pairs: A language with as many known pairs is trained on these alone; others get mined pairs as well.
        mined_share: Share of the training pairs that are mined ones, where known pairs are given.
        average_decay: Of the running average of the weights.
        enough_overlap: Jaccard overlap of a round's pairs with those of the round before, both by the threshold of
            that one, from which no more round follows.
        rejected: How many rejected candidates to keep for each reason, drawn at random.
        batch_size: Texts in a forward pass while mining.
    """

    mono: list[str] = field(default_factory=list)
    mono_languages: list[str] | None = None
    gold: list[str] | None = None
    lexical_rounds: int = ROUNDS
    rounds: int = 4
    first_threshold: float = 1.12
    last_threshold: float = 1.04
    k: int = 8
    max_length_ratio: float = 2.0
    many_pairs: int = 10_000
    mined_share: float = 0.5
    average_decay: float = 0.95
    enough_overlap: float = 0.9
    rejected: int = 1000
    batch_size: int = 128

    def __post_init__(self):
        check_at_least(
            1,
            rounds=self.rounds,
            k=self.k,
            many_pairs=self.many_pairs,
            batch_size=self.batch_size,
            max_length_ratio=self.max_length_ratio,
        )
        check_at_least(0, lexical_rounds=self.lexical_rounds)
        check_at_least(0, first_threshold=self.first_threshold, last_threshold=self.last_threshold)
        for name in ("mined_share", "average_decay", "enough_overlap"):
            if not 0 < getattr(self, name) <= 1:
                raise InputError(f"--{name} is {getattr(self, name)}; it must be above 0 and at most 1")

    def check_installed(self, lexicon_start: bool) -> None:
        """Load what mining needs beside the core; refuse, in one line, what is not installed.

        Args:
            lexicon_start: Whether words move.
        """
        load_faiss()
        if self.lexical_rounds and lexicon_start:
            load_lexical()

    def files(self, source_language: str) -> dict[str, str]:
        """Text files by language, that of the source language first.

        Args:
            source_language: Its code.

        Returns:
            The files.

        Raises:
            InputError: There is none of the source language or of any other, a code is none, or a file is not there.
        """
        codes = self.mono_languages or [Path(path).name.partition(".")[0] for path in self.mono]
        Languages("mono_languages", codes)
        if len(codes) != len(self.mono) or len(set(codes)) != len(codes):
            raise InputError(
                f"--mono names {len(self.mono)} files and --mono_languages {codes}; give each its own code"
            )
        check_files(*self.mono)
        files = dict(zip(codes, self.mono, strict=True))
        if source_language not in files or len(files) < 2:
            raise InputError(
                f"--mono has text in {', '.join(files) or 'no language'}; give a file in {source_language!r} "
                "and one or more in others: --mono en.txt xx.txt"
            )
        return {source_language: files.pop(source_language), **files}


def check_unused(model: ModelArguments, data: DataArguments) -> None:
    """Refuse what rounds of mining and training do not read.

    Args:
        model: Arguments of the model.
        data: Arguments of the data.

    Raises:
        InputError: One of them is given.
    """
    parts = (
        (model, ("share_subwords", "freeze_embeddings", "lora_rank")),
        (data, ("text_file", "monolingual_files")),
    )
    for part, names in parts:
        for name in names:
            if getattr(part, name):
                raise InputError(f"--{name} is not for rounds of mining, which train the whole model; leave it out")


class SelfTraining:
    """The rounds of one run.

    Args:
        arguments: What is mined and how.
        model_arguments: The model to start from, and how it is wrapped.
        data: Known pairs to train on, if any are named.
        args: Training arguments of one round.
        shares: Share of the training pairs that comes from each file of known pairs. Unless given, `mined_share` of
            them are mined, and the known ones are as they are.

    Raises:
        InputError: A round has no number of steps, an argument is not for rounds, or several processes were started.
    """

    def __init__(
        self,
        arguments: SelfTrainArguments,
        model_arguments: ModelArguments,
        data: DataArguments,
        args: XLingAlignTrainingArguments,
        shares: Sequence[float] | None = None,
    ):
        check_unused(model_arguments, data)
        self.arguments, self.data, self.args = arguments, data, args
        self.model_arguments = wrapped_without(model_arguments, args)
        self.files = arguments.files(data.source_language)
        check_texts_not_swapped(self.files, "swap the files of --mono, or their --mono_languages")
        self.source, *self.targets = self.files
        self.gold: dict[str, set] = {}  # known pairs of each language that are hidden in the texts
        self.root = Path(args.output_dir) / "rounds"
        known = [data] if data.train_file or data.data_dir else []
        if shares is not None:
            known = [replace(data, train_file=[path]) for path in data.train_file or []]
        self.seeds = [PairData(each) for each in known]
        self.shares = [1 - arguments.mined_share] * len(known) if shares is None else list(shares)
        self.tokenizer = load_tokenizer(encoder_of(model_arguments))
        if args.max_steps < 1:
            raise InputError("a round needs its number of steps; give --max_steps, such as 100")
        if process_count() > 1:
            raise InputError("rounds of mining run in one process; start the program without a launcher")

    def run(self) -> XLingAlignModel:
        """All rounds; the model of the last is saved into the output folder.

        Returns:
            The model.
        """
        with alone(Path(str(self.args.output_dir))):
            return self.all_rounds()

    def all_rounds(self) -> XLingAlignModel:
        """As `run`, with the output folder to itself."""
        known = {code: self.known[code] for code in self.languages if code != self.source}
        self.targets = to_mine(known, self.targets, self.arguments.many_pairs, self.args.pair_evidence)
        self.gold = self.hidden_pairs()
        given = self.arguments, self.model_arguments, self.data
        inputs = digests([*self.files.values(), *(self.arguments.gold or []), *self.data.paths])
        inputs["contents of the model"] = model_digest(self.given_model(), self.tokenizer)
        claim(self.root, settings_of(*map(asdict, given), self.args.to_dict(), inputs))
        if self.arguments.lexical_rounds and has_lexicon(self.model_arguments, self.args):
            try:
                self.start_words()
            except InputError:  # another text may be given then
                drop(self.root)
                raise
        number = self.rounds_done()
        model = self.model(number)
        model.save_pretrained(self.args.output_dir, tokenizer=self.tokenizer)
        self.write_facts(number)
        logger.info("%d rounds; saved to %s", number, self.args.output_dir)
        return model

    @cached_property
    def known(self) -> Counter[str]:
        """Known pairs by language."""
        return sum((seeds.counts for seeds in self.seeds), Counter())

    @property
    def languages(self) -> list[str]:
        """Codes of all languages: those of the texts, and others of known pairs."""
        return [*self.files, *(code for code in self.known if code not in self.files)]

    def rounds_done(self) -> int:
        """Mine and train round by round, as far as there is something to do; how many rounds that were."""
        for number in range(1, self.arguments.rounds + 1):
            report = self.folder(number) / "round.json"
            if not report.exists():
                figures = self.mine_round(number)
                if figures is None:
                    return number - 1
                logger.info(described(figures))
                self.train_round(number)
                write_json(report, figures)
            shutil.rmtree(self.folder(number - 1) / "model", ignore_errors=True)
            if json.loads(report.read_text(encoding="utf-8"))["overlap"] >= self.arguments.enough_overlap:
                return number
        return self.arguments.rounds

    def write_facts(self, rounds: int) -> None:
        """Leave beside the model what it was trained on and how, for its card."""
        corpora = {Path(path).name: {"pairs": "single sentences"} for path in self.files.values()}
        for seeds in self.seeds:
            corpora |= corpora_of(seeds.data, seeds.report)
        recipe = recipe_of(self.model_arguments, self.args) | {"rounds": rounds}
        write_facts(self.args.output_dir, str(self.model_arguments.encoder), corpora, recipe)

    def folder(self, number: int) -> Path:
        """Where a round's files are."""
        return self.root / str(number)

    def given_model(self) -> XLingAlignModel:
        """The model to start from."""
        set_seed(self.args.seed)  # what is new in the model starts the same in every run
        return load_model(self.model_arguments, self.languages, self.source)

    def model(self, number: int) -> XLingAlignModel:
        """The model after a round; 0 for what the first starts from."""
        folder = self.folder(number) / "model"
        if not number and not folder.exists():
            return self.given_model()
        set_seed(self.args.seed)
        saved = replace(self.model_arguments, encoder=str(folder), target_encoder=None)
        return load_model(saved, self.languages, self.source)

    def start_words(self) -> None:
        """Move the words of every language to translations that the texts show by themselves: round 0.

        They stay where fewer of a sample of the pairs found so find each other then: the model knows better.
        """
        folder = self.folder(0)
        if (folder / "round.json").exists():
            return
        model = self.given_model()
        if len(model.towers) > 1:  # they have no space in common
            return
        folder.mkdir(parents=True, exist_ok=True)
        figures = {code: self.mine_language(0, code, LEAST_MARGIN) for code in self.targets}
        rows = self.mined_rows(0)
        if rows and not (folder / "model").exists():
            mined = tokenize_pairs(rows, self.tokenizer, model.config, self.args.max_length)
            start_words(model, self.tokenizer, join_pairs([mined, *self.known_pairs(model.config)]), self.targets)
            shutil.rmtree(folder / "model.partial", ignore_errors=True)
            model.save_pretrained(folder / "model.partial", tokenizer=self.tokenizer)
            (folder / "model.partial").rename(folder / "model")
        found = {"round": 0, "threshold": LEAST_MARGIN, "overlap": 0.0, "languages": figures}
        logger.info(described(found))
        write_json(folder / "round.json", found)

    def known_pairs(self, config: XLingAlignConfig) -> list[TokenizedPairs]:
        """Known pairs of each kind."""
        return [seeds.tokenized(self.tokenizer, config, self.args.max_length) for seeds in self.seeds]

    def mine_round(self, number: int) -> dict[str, Any] | None:
        """Mine pairs of every language, and write them.

        Args:
            number: Of the round.

        Returns:
            What the report says of the round; None where it found too little to train on, after others that did.

        Raises:
            InputError: The first round found too little; nothing of it is kept.
        """
        own = self.arguments
        model: Any = self.model(number - 1)
        model.to(self.args.device)
        encoder = TextEncoder(model, self.tokenizer, "cls", own.batch_size, normalize=True, bf16=has_fast_bf16())
        threshold = falling(own.first_threshold, own.last_threshold, number, own.rounds)
        figures = {code: self.mine_language(number, code, threshold, encoder) for code in self.targets}
        if not self.fills_a_batch(number, model.config):
            batch, found = self.args.train_batch_size, sum(each["pairs"] for each in figures.values())
            told = f"round {number} found {found} pairs with a margin of {threshold:.2f} or more that are confirmed"
            told += f", and a batch takes {batch} that differ"
            drop(self.folder(number) if number > 1 else self.root)
            if number == 1:
                raise InputError(
                    f"{told}; lower --first_threshold or --per_device_train_batch_size, or start from a model that is "
                    "nearer"
                )
            logger.warning("%s; the model of round %d is kept", told, number - 1)
            return None
        least = min(each["overlap"] for each in figures.values())
        return {"round": number, "threshold": threshold, "overlap": least, "languages": figures}

    def fills_a_batch(self, number: int, config: XLingAlignConfig) -> bool:
        """Whether a round found pairs, and a batch of different ones together with known pairs."""
        mined, batch = {row["pair_id"] for row in self.mined_rows(number)}, self.args.train_batch_size
        if not mined or len(mined) >= batch:
            return bool(mined)
        return len(mined.union(*(pairs.pair_ids.tolist() for pairs in self.known_pairs(config)))) >= batch

    def mine_language(
        self, number: int, code: str, threshold: float, encoder: TextEncoder | None = None
    ) -> dict[str, Any]:
        """Mine one language.

        Args:
            number: Of the round; 0 by words alone.
            code: The language.
            threshold: Smallest margin.
            encoder: The model, in other rounds.

        Returns:
            How many pairs there are, how many candidates were rejected by reason, the overlap with the round before,
            and precision and recall where known pairs were given.
        """
        own, output, before = self.arguments, self.pairs_file(number, code), self.pairs_file(number - 1, code)
        texts = self.files[self.source], self.files[code], self.source, code, str(output)
        settings = {name: getattr(own, name) for name in ("k", "max_length_ratio", "rejected")}
        arguments = MineArguments(*texts, threshold=threshold, **settings)
        if encoder is None:
            found = mine_lexically(arguments, self.tokenizer, own.lexical_rounds)
        else:
            lexicon = self.pairs_file(0, code).exists()
            found = mine_confirmed(arguments, encoder, number, before if before.exists() else None, lexicon)
        figures = {name: found[name] for name in ("pairs", "rejected", "overlap")}
        return figures | quality(output, self.gold[code]) if own.gold else figures

    def pairs_file(self, number: int, code: str) -> Path:
        """Where a round's pairs of a language are."""
        return self.folder(number) / f"{code}.parquet"

    def hidden_pairs(self) -> dict[str, set]:
        """Known pairs of each language that are hidden in the texts; nothing is trained on them."""
        files, texts = self.arguments.gold or [], self.files[self.source]
        rows = [row for path in files for row in pairs_by_name(path, self.source, self.targets)]
        return {
            code: hidden_pairs((row for row in rows if row["target_language"] == code), texts, self.files[code])
            for code in (self.targets if files else [])
        }

    def train_round(self, number: int) -> None:
        """Train from the last round's model on the round's pairs, and keep the average of the weights."""
        folder = self.folder(number)
        if (folder / "model").exists():
            return
        args = copy.copy(self.args)
        args.output_dir, args.seed = str(folder / "training"), self.args.seed + number
        model = self.model(number - 1)
        mined, copies = self.mined_pairs(number, model.config)
        known = self.known_pairs(model.config)
        if has_lexicon(self.model_arguments, self.args):
            special = self.tokenizer.all_special_ids
            start_from_translations(model, join_pairs([mined, *known]), special, self.targets)
        pairs = self.training_pairs(number, [mined.take(copies), *known])
        start_new_languages(model, pairs)
        whole = with_lm_head(model, self.model_arguments, args)
        train_average(whole, args, pairs, self.tokenizer, self.arguments.average_decay, folder / "model")

    def mined_pairs(self, number: int, config: XLingAlignConfig) -> tuple[TokenizedPairs, np.ndarray]:
        """A round's pairs, and their numbers as often as their weights say."""
        rows = self.mined_rows(number)
        mined = tokenize_pairs(rows, self.tokenizer, config, self.args.max_length)
        return mined, np.repeat(np.arange(len(rows)), [round(2 * row["weight"]) for row in rows])

    def mined_rows(self, number: int) -> list[dict[str, Any]]:
        """A round's pairs of all languages, as they were written."""
        return [row for code in self.targets for row in read_rows(self.pairs_file(number, code))]

    def training_pairs(self, number: int, parts: list[TokenizedPairs]) -> TokenizedPairs:
        """What a round trains on.

        Args:
            number: Of the round.
            parts: Its pairs, and known pairs of each kind.

        Returns:
            As many pairs as the round's steps take, each part with its share.
        """
        shares = [1 - sum(self.shares), *self.shares]
        total = self.args.max_steps * self.args.train_batch_size * self.args.gradient_accumulation_steps
        names = ["mined", *(f"of {known_files(seeds.data)}" for seeds in self.seeds)]
        told = (f"{count:,} {name}" for count, name in zip(counts_of(shares, total), names, strict=True))
        logger.info("training pairs: %s", ", ".join(told))
        return mixture(parts, shares, total, self.args.seed + number)


def known_files(data: DataArguments) -> str:
    """The files of known pairs, without their folders."""
    paths = [*(data.train_file or []), *([data.data_dir] if data.data_dir else [])]
    return " and ".join(Path(path).name for path in paths)


def described(figures: dict[str, Any]) -> str:
    """A round's report on one line."""
    languages = []
    for code, found in figures["languages"].items():
        measured = (
            f", precision {found['precision']:.1%}, recall {found['recall']:.1%}" if "precision" in found else ""
        )
        languages.append(f"{code} {found['pairs']:,} pairs (overlap {found['overlap']:.2f}{measured})")
    return f"round {figures['round']}, margin {figures['threshold']:.2f}: {'; '.join(languages)}"


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    """Run the program."""
    classes = SelfTrainArguments, ModelArguments, DataArguments, XLingAlignTrainingArguments
    arguments, model, data, args = parse(argv, *classes, program="self_train")
    log_to_screen(args.should_log)
    arguments.check_installed(has_lexicon(model, args))
    training = SelfTraining(arguments, model, data, args)
    check_writable(args.output_dir)
    training.run()


if __name__ == "__main__":
    main()
