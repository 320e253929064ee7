"""Pairs per second in training: `XLingAlignTrainer` against the trainer of sentence-transformers.

- Same on both sides: encoder, text, pairs of an epoch, batch size, max_length, optimiser, precision, temperature, and
  the objective: symmetric InfoNCE, there `MultipleNegativesRankingLoss` in both directions. Each English sentence
  occurs once in the text, so neither side needs to keep duplicates apart.
- Each side works as its users get it: we with language token, fusion and length buckets, tokenised beforehand; they
  with the default collator and sampler, which tokenise and pad batch by batch. Their `train_sampling_strategy` is
  measured too; with `--ablate` also their trainer with a length-bucket sampler written for it.
- Timed: whole epochs, from before the first batch is fetched to the end of the last step, in one process and in
  rounds that run every side once, in reversed order every second time. Some steps of each side go untimed before.
- Our tokenising is timed apart and added for the second ratio, as for a run of a single epoch.

    python benchmarks/training_speed.py --data_dir ../shared/data
"""

import argparse
import heapq
import logging
import os
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

import numpy as np
import torch
import transformers
from datasets import Dataset
from datasets import logging as datasets_logging
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.base.modules import Transformer
from sentence_transformers.base.sampler import DefaultBatchSampler
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import Pooling
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import UnigramTrainer
from torch.utils.data import RandomSampler
from transformers import (
    AutoModel,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    XLMRobertaConfig,
)

from xling_align.eval.encoding import has_fast_bf16
from xling_align.modeling_xling import XLingAlignModel
from xling_align.trainers import XLingAlignTrainer, XLingAlignTrainingArguments
from xling_align.trainers.data.batches import LengthBucketSampler
from xling_align.trainers.data.demo_corpus import load_demo_corpus
from xling_align.trainers.data.pairs import counted
from xling_align.trainers.data.readers import read_data_dir
from xling_align.trainers.data.tokenized import TokenizedPairs, tokenize_pairs

TAU = 0.05
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
OURS, PEER, PEER_EAGER = "xling-align", "sentence-transformers", "sentence-transformers, eager"


@dataclass
class Timing:
    """What one epoch of one side took.

    Attributes:
        seconds: From before the first batch is fetched to the end of the last step.
        steps: Optimiser steps.
        collating: Seconds of it in tokenising and padding.
        tokens: Real tokens.
        positions: Tokens and padding.
    """

    seconds: float = 0.0
    steps: int = 0
    collating: float = 0.0
    tokens: int = 0
    positions: int = 0


Side = Callable[[int, int], Timing]


class Clock(TrainerCallback):
    """Times the steps of one run, and within them a function that makes batches."""

    def __init__(self):
        self.timing = Timing()

    def on_epoch_begin(self, args, state, control, **kwargs):
        """Start."""
        self.start = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):
        """Count a step."""
        self.timing.seconds = time.perf_counter() - self.start
        self.timing.steps += 1

    def timed(self, collate: Callable) -> Callable:
        """The same function, its seconds and tokens counted."""

        def wrapped(*args, **kwargs):
            start = time.perf_counter()
            batch = collate(*args, **kwargs)
            self.timing.collating += time.perf_counter() - start
            self.timing.tokens += int(batch["attention_mask"].sum())
            self.timing.positions += batch["attention_mask"].numel()
            return batch

        return wrapped


@dataclass
class Setting:
    """What both sides share.

    Attributes:
        encoder: Folder of the encoder and its tokenizer.
        rows: The pairs.
        batch_size: Pairs in a batch.
        max_length: Longest text in tokens.
        bf16: Precision.
        output_dir: Where trainers may write.
        languages: Codes of all languages.
        tokenizing_seconds: What it took to tokenise all pairs beforehand, for our side.
    """

    encoder: str
    rows: list[dict]
    batch_size: int
    max_length: int
    bf16: bool
    output_dir: str
    languages: list[str] = field(init=False)
    tokenized: TokenizedPairs = field(init=False)
    texts: Dataset = field(init=False)
    tokenizing_seconds: float = field(init=False)

    def __post_init__(self):
        self.languages = sorted({row[side] for row in self.rows for side in ("source_language", "target_language")})
        config = XLingAlignModel.from_encoder(self.encoder, self.languages).config
        start = time.perf_counter()
        self.tokenized = tokenize_pairs(self.rows, self.tokenizer(), config, self.max_length)
        self.tokenizing_seconds = time.perf_counter() - start
        self.texts = Dataset.from_dict({name: [row[name] for row in self.rows] for name in ("source", "target")})

    def tokenizer(self):
        """A fresh copy of the tokenizer."""
        return AutoTokenizer.from_pretrained(self.encoder)

    def arguments(self, seed: int, max_steps: int) -> dict:
        """Training arguments that are the same on both sides."""
        return {
            "output_dir": self.output_dir,
            "per_device_train_batch_size": self.batch_size,
            "num_train_epochs": 1,
            "max_steps": max_steps,
            "learning_rate": 2e-5,
            "warmup_steps": 0.05,
            "bf16": self.bf16,
            "use_cpu": not torch.cuda.is_available(),
            "seed": seed,
            "dataloader_drop_last": True,
            "logging_strategy": "no",
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
        }


class ShuffledTrainer(XLingAlignTrainer):
    """Our trainer without length buckets."""

    def _get_train_sampler(self, train_dataset=None):
        return RandomSampler(self.train_dataset)  # pyright: ignore[reportArgumentType]


class SdpaTrainer(XLingAlignTrainer):
    """Our trainer, with the attention that the model came with."""

    def train(self, resume_from_checkpoint=None, **kwargs):
        """Train as `Trainer` does."""
        return Trainer.train(self, resume_from_checkpoint, **kwargs)


class LengthBatches(DefaultBatchSampler):
    """Our length buckets as a batch sampler of sentence-transformers; the lengths are those in characters."""

    def __init__(self, dataset: Dataset, batch_size: int, drop_last: bool, **kwargs):
        super().__init__(dataset, batch_size, drop_last, **kwargs)
        sides = zip(dataset["source"], dataset["target"], strict=True)
        lengths = np.array([max(map(len, texts)) for texts in sides])
        self.buckets = LengthBucketSampler(lengths, np.arange(len(lengths)), batch_size, self.seed)

    def __iter__(self) -> Iterator[list[int]]:
        rows = list(self.buckets)
        return iter([rows[start : start + self.batch_size] for start in range(0, len(rows), self.batch_size)])


def timed_training(trainer: Trainer, clock: Clock) -> Timing:
    """Train without a word, and give what the clock read."""
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(clock)
    trainer.train()
    return clock.timing


def our_side(setting: Setting, trainer_class: type[XLingAlignTrainer] = XLingAlignTrainer, **config) -> Side:
    """Our trainer.

    Args:
        setting: What both sides share.
        trainer_class: The trainer, or a variant of it.
        **config: Fields of `XLingAlignConfig`.

    Returns:
        A function of the seed and the number of steps (-1 for an epoch) that trains and gives a `Timing`.
    """
    model = XLingAlignModel.from_encoder(setting.encoder, setting.languages, **config)

    def run(seed: int, max_steps: int) -> Timing:
        shared = setting.arguments(seed, max_steps)
        args = XLingAlignTrainingArguments(**shared, tau=TAU, max_length=setting.max_length)
        clock = Clock()
        trainer = trainer_class(model, args, setting.tokenized, processing_class=setting.tokenizer())
        trainer.data_collator = clock.timed(trainer.data_collator)
        return timed_training(trainer, clock)

    return run


def their_loss(model: SentenceTransformer) -> MultipleNegativesRankingLoss:
    """Their loss in the form that equals ours."""
    directions = ("query_to_doc", "doc_to_query")
    return MultipleNegativesRankingLoss(model, 1 / TAU, directions=directions, partition_mode="per_direction")


def their_side(setting: Setting, attention: str | None = None, **arguments) -> Side:
    """The trainer of sentence-transformers.

    Args:
        setting: What both sides share.
        attention: Attention of the encoder; the library's choice unless given.
        **arguments: More of `SentenceTransformerTrainingArguments`.

    Returns:
        A function of the seed and the number of steps (-1 for an epoch) that trains and gives a `Timing`.
    """
    options = {"attn_implementation": attention} if attention else {}
    encoder = Transformer(setting.encoder, model_kwargs=options)
    model = SentenceTransformer(modules=[encoder, Pooling(encoder.get_embedding_dimension(), "cls")])
    model.max_seq_length = setting.max_length

    def run(seed: int, max_steps: int) -> Timing:
        args = SentenceTransformerTrainingArguments(**setting.arguments(seed, max_steps), **arguments)
        clock = Clock()
        trainer = SentenceTransformerTrainer(model, args, setting.texts, loss=their_loss(model))
        trainer.data_collator.preprocess_fn = clock.timed(trainer.data_collator.preprocess_fn)
        return timed_training(trainer, clock)

    return run


def all_sides(setting: Setting, ablate: bool) -> dict[str, Side]:
    """The sides to compare, by name; the first is ours, the second the peer.

    Args:
        setting: What both sides share.
        ablate: Whether to add the variants that show where the difference comes from.

    Returns:
        The sides.
    """
    sides = {
        OURS: our_side(setting),
        PEER: their_side(setting),
        PEER_EAGER: their_side(setting, "eager"),
    }
    if ablate:
        sides |= {
            f"{OURS}, sdpa": our_side(setting, SdpaTrainer),
            f"{OURS}, no length buckets": our_side(setting, ShuffledTrainer),
            f"{OURS}, no language token, no fusion": our_side(setting, language_token="none", fusion_context="none"),
            f"{PEER}, group_by_length": their_side(setting, train_sampling_strategy="group_by_length"),
            f"{PEER}, eager, length sampler": their_side(setting, "eager", batch_sampler=LengthBatches),
        }
    return sides


def measure(sides: dict[str, Side], rounds: int, warmup: int) -> dict[str, list[Timing]]:
    """Run every side once a round, in reversed order every second time.

    Args:
        sides: The sides by name.
        rounds: How often each is timed.
        warmup: Steps of each that go untimed before.

    Returns:
        The timings by name.
    """
    timings = {name: [] for name in sides}
    for run in sides.values():
        run(0, warmup)
    for number in range(rounds):
        for name in list(sides)[:: -1 if number % 2 else 1]:
            timings[name].append(sides[name](number + 1, -1))
    return timings


def read_rows(data_dir: str | None, number: int) -> list[dict]:
    """Random pairs with distinct sources: all corpora and languages in their natural shares, or the demo corpus.

    Args:
        data_dir: Folder that holds `parallel`; the demo corpus unless given.
        number: How many pairs.

    Returns:
        The pairs; fewer if there are not so many.
    """
    pairs: Iterable = load_demo_corpus().pairs
    if data_dir:
        files = Path(data_dir).glob("parallel/*/*-en.tsv*")
        pairs = read_data_dir(data_dir, sorted({path.name.split("-en.tsv")[0] for path in files}))
    drawn = heapq.nsmallest(4 * number, pairs, key=lambda pair: zlib.crc32(pair["target"].encode()))
    return [dict(pair) for pair in {pair["pair_id"]: pair for pair in drawn}.values()][:number]


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A unigram tokenizer like that of XLM-R, trained on the text."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = UnigramTrainer(vocab_size=vocab_size, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token", "mask_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, cls_token="<s>", sep_token="</s>", **names)


def build_encoder(folder: str, rows: list[dict], vocab_size: int, layers: int, hidden_size: int, heads: int) -> None:
    """Write a fresh encoder of XLM-R's kind and its tokenizer.

    Args:
        folder: Where to.
        rows: Pairs to train the tokenizer on.
        vocab_size: Entries of the vocabulary at most.
        layers: Layers of the encoder.
        hidden_size: Size of its states.
        heads: Attention heads.
    """
    tokenizer = train_tokenizer((row[side] for row in rows for side in ("source", "target")), vocab_size)
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer),
        num_hidden_layers=layers,
        hidden_size=hidden_size,
        num_attention_heads=heads,
        intermediate_size=4 * hidden_size,
        max_position_embeddings=514,
    )
    torch.manual_seed(0)
    AutoModel.from_config(config, add_pooling_layer=False).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def pairs_per_second(timings: list[Timing], batch_size: int) -> list[float]:
    """Pairs per second of each round, sorted."""
    return sorted(timing.steps * batch_size / timing.seconds for timing in timings)


def table(timings: dict[str, list[Timing]], batch_size: int) -> str:
    """The measurements as a Markdown table; ratios are medians of the rounds' ratios.

    Args:
        timings: The timings by name; the first is ours.
        batch_size: Pairs in a batch.

    Returns:
        The table.
    """
    lines = [
        "| side | pairs/s | min-max | padding | collating | ours is |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, rounds in timings.items():
        speeds = pairs_per_second(rounds, batch_size)
        padding = 1 - sum(timing.tokens for timing in rounds) / sum(timing.positions for timing in rounds)
        collating = sum(timing.collating for timing in rounds) / sum(timing.seconds for timing in rounds)
        spread = f"{speeds[0]:.0f}-{speeds[-1]:.0f}"
        faster = ratio(timings[OURS], rounds)
        median = f"{statistics.median(speeds):.0f}"
        lines.append(f"| {name} | {median} | {spread} | {padding:.0%} | {collating:.1%} | {faster:.2f}x |")
    return "\n".join(lines)


def ratio(ours: list[Timing], theirs: list[Timing], before: float = 0.0) -> float:
    """How much faster we are over the same pairs, the median over rounds.

    Args:
        ours: Our timings by round.
        theirs: The other side's.
        before: Seconds to add to each of ours.

    Returns:
        Their seconds over ours.
    """
    rounds = zip(ours, theirs, strict=True)
    return statistics.median(their.seconds / (our.seconds + before) for our, their in rounds)


def summary(timings: dict[str, list[Timing]], setting: Setting) -> str:
    """The ratios in words, one line for each peer."""
    speed = {name: statistics.median(pairs_per_second(timings[name], setting.batch_size)) for name in timings}
    how = (
        f"median of {len(timings[OURS])} alternating rounds; {'bf16' if setting.bf16 else 'fp32'}; "
        f"{counted(torch.get_num_threads(), 'thread')}; torch {torch.__version__}"
    )
    lines = []
    for peer in (PEER, PEER_EAGER):
        once = ratio(timings[OURS], timings[peer], setting.tokenizing_seconds)
        lines.append(
            f"{OURS} {speed[OURS]:.0f} pairs/s, {peer} {speed[peer]:.0f} pairs/s: "
            f"{ratio(timings[OURS], timings[peer]):.2f}x, with our tokenising in a run of one epoch {once:.2f}x "
            f"({how})"
        )
    return "\n".join(lines)


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", help="folder with parallel/<corpus>/<xx>-en.tsv[.gz]; else the demo corpus")
    parser.add_argument("--encoder", help="folder or Hub id of an encoder; else one is built")
    parser.add_argument("--steps", type=int, default=48, help="steps of an epoch (default 48)")
    parser.add_argument("--batch_size", type=int, default=64, help="pairs in a batch (default 64)")
    parser.add_argument("--max_length", type=int, default=128, help="longest text in tokens (default 128)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side is timed (default 3)")
    parser.add_argument("--warmup", type=int, default=8, help="untimed steps of each side (default 8)")
    parser.add_argument("--layers", type=int, default=4, help="of the encoder that is built (default 4)")
    parser.add_argument("--hidden_size", type=int, default=256, help="likewise (default 256)")
    parser.add_argument("--heads", type=int, default=4, help="likewise (default 4)")
    parser.add_argument("--vocab_size", type=int, default=16000, help="likewise (default 16000)")
    parser.add_argument("--threads", type=int, help="threads of torch; torch's own choice unless given")
    parser.add_argument("--ablate", action="store_true", help="also measure where the difference comes from")
    parser.add_argument("--fp32", action="store_true", help="fp32 on both sides; else bf16 where it is fast")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> dict[str, list[Timing]]:
    """Run the comparison and print it.

    Args:
        argv: The command line without the program; `sys.argv` unless given.

    Returns:
        The timings by side.
    """
    given = arguments(argv)
    for library in (transformers.logging, datasets_logging):
        library.set_verbosity_error()
        library.disable_progress_bar()
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
    if given.threads:
        torch.set_num_threads(given.threads)
    rows = read_rows(given.data_dir, given.steps * given.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        encoder = given.encoder or f"{folder}/encoder"
        if not given.encoder:
            build_encoder(encoder, rows, given.vocab_size, given.layers, given.hidden_size, given.heads)
        bf16 = has_fast_bf16() and not given.fp32
        setting = Setting(encoder, rows, given.batch_size, given.max_length, bf16, f"{folder}/outputs")
        timings = measure(all_sides(setting, given.ablate), given.rounds, given.warmup)
    print(describe(setting))
    print(table(timings, given.batch_size))
    print(summary(timings, setting))
    return timings


def describe(setting: Setting) -> str:
    """The text, in words."""
    lengths = np.diff(setting.tokenized.ends, prepend=0)
    tenth, median, last_tenth = np.percentile(lengths, [10, 50, 90])
    return (
        f"{len(setting.rows)} pairs, {len(setting.languages)} languages; tokens per text: mean {lengths.mean():.0f}, "
        f"median {median:.0f}, 10-90 % {tenth:.0f}-{last_tenth:.0f}; tokenising them beforehand, as our side does: "
        f"{setting.tokenizing_seconds:.2f} s"
    )


if __name__ == "__main__":
    main()
