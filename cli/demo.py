"""`xling demo`: align a small encoder over fourteen languages, from nothing, and measure what that brought."""

import argparse
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xling_align.eval.drawing import Figure
    from xling_align.eval.encoding import TextEncoder
    from xling_align.trainers.data.demo_corpus import DemoCorpus

HELP = "align a small encoder on real text in fourteen languages and measure it"
QUERY = "smiling cat"
VOCABULARY, MAX_LENGTH = 50_000, 64
GRANULARITIES = (1.0, 0.5, 0.25, 0.12)  # every pair is seen in larger and in smaller pieces
ENCODER: dict[str, Any] = {
    "hidden_size": 256,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
}
PRETRAINING: dict[str, Any] = {
    "max_steps": 300,
    "per_device_train_batch_size": 128,
    "learning_rate": 1e-3,
    "weight_decay": 0.01,
}
ALIGNMENT: dict[str, Any] = {
    "max_steps": 700,
    "per_device_train_batch_size": 512,
    "learning_rate": 3e-4,
    "embedding_learning_rate": 3e-3,
    "weight_decay": 1.0,
    "tau": 0.1,
}
CLOUD = 60  # meanings drawn, in every language
PAIRS = 14  # words drawn with their translations


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--output_dir", default="outputs/demo", help="where model, report and checkpoints go")
    parser.add_argument("--held_out", choices=("test", "dev"), default="test", help="'dev' while settings are chosen")
    parser.add_argument("--seed", type=int, default=0)


def run(args: argparse.Namespace) -> None:
    """Run all stages; those that were finished before are read from their files."""
    from xling_align.modeling_xling import XLingAlignModel
    from xling_align.trainers.data.demo_corpus import load_demo_corpus
    from xling_align.trainers.programs import check_writable

    check_writable(args.output_dir)
    stages = Stages(Path(args.output_dir))
    with stages.timed("corpus"):
        corpus = load_demo_corpus(args.held_out)
    print(f"{len(corpus.pairs):,} translation pairs, English and {len(corpus.languages)} other languages")
    with stages.timed("encoder"):
        stages.folder("encoder", lambda folder: train_encoder(corpus, stages.work / "pretraining", folder, args.seed))
    with stages.timed("measuring before"):
        before = stages.result("before", lambda: measure_before(stages.root / "encoder", corpus))
    with stages.timed("alignment"):
        stages.folder("model", lambda folder: align(corpus, stages.root, folder, args.seed))
    with stages.timed("measuring after"):
        encoder = text_encoder(stages.root / "model", XLingAlignModel, "cls")
        after = stages.result("after", lambda: {task: measure(encoder, corpus, task) for task in TASKS})
    with stages.timed("report"):
        write(stages, corpus, before, after)
    tell(stages.root, before, after)


class Stages:
    """Work in steps: each leaves a file or folder when it is done, and is skipped from then on.

    Args:
        root: Output folder; checkpoints and partial results go to its sub-folder `work`.
    """

    def __init__(self, root: Path):
        self.root, self.work = root, root / "work"
        self.work.mkdir(exist_ok=True)
        self.clock = self.work / "seconds.json"
        self.seconds: dict[str, float] = json.loads(self.clock.read_text()) if self.clock.exists() else {}

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the time spent to a stage's, also when it is interrupted."""
        print(f"\n== {name} ==", flush=True)
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
            self.clock.write_text(json.dumps(self.seconds))

    def folder(self, name: str, make: Callable[[Path], None]) -> None:
        """Have a folder made; it gets its name only when it is complete."""
        if (self.root / name).is_dir():
            print(f"{self.root / name} is there")
            return
        partial = self.work / f"{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        make(partial)
        partial.rename(self.root / name)

    def result(self, name: str, compute: Callable[[], dict]) -> dict:
        """Have a result computed, or read it."""
        path = self.work / f"{name}.json"
        if not path.exists():
            partial = path.with_suffix(".partial")
            partial.write_text(json.dumps(compute()))
            partial.rename(path)
        return json.loads(path.read_text())


def training_arguments(folder: Path, seed: int, settings: dict):
    """Arguments of one training stage.

    Args:
        folder: Where checkpoints go.
        seed: Seed of all that is random.
        settings: Steps, batch size, learning rates and the like.

    Returns:
        `XLingAlignTrainingArguments`.
    """
    from xling_align.trainers import XLingAlignTrainingArguments

    return XLingAlignTrainingArguments(
        output_dir=str(folder),
        seed=seed,
        max_length=MAX_LENGTH,
        lr_scheduler_type="cosine",
        save_steps=100,
        save_total_limit=1,
        **settings,
    )


def train_encoder(corpus: "DemoCorpus", checkpoints: Path, folder: Path, seed: int) -> None:
    """Train a tokenizer and, by masked language modelling on single sentences, an encoder.

    Args:
        corpus: Its training pairs serve as single sentences.
        checkpoints: Where checkpoints go.
        folder: Where the encoder and its tokenizer are saved.
        seed: Seed of all that is random.
    """
    from transformers import BertConfig

    from xling_align.trainers.data.tokenized import tokenize_texts
    from xling_align.trainers.pretrain import pretrain
    from xling_align.trainers.tokenizer import train_tokenizer

    texts = sorted({row[side] for row in corpus.pairs for side in ("source", "target")})
    tokenizer = train_tokenizer(texts, VOCABULARY, MAX_LENGTH, lowercase=True)
    config = BertConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=MAX_LENGTH + 1,  # one more than the longest text, for the language token
        pad_token_id=tokenizer.get_vocab()["<pad>"],
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        **ENCODER,
    )
    tokenized = tokenize_texts(texts, tokenizer, MAX_LENGTH)
    pretrain(config, tokenized, tokenizer, training_arguments(checkpoints, seed, PRETRAINING), folder)


def align(corpus: "DemoCorpus", root: Path, folder: Path, seed: int) -> None:
    """Align the encoder.

    Args:
        corpus: Holds the training pairs.
        root: Output folder of the demo, which holds the encoder.
        folder: Where the model is saved.
        seed: Seed of all that is random.
    """
    import torch

    from xling_align.modeling_xling import XLingAlignModel, load_tokenizer
    from xling_align.trainers import XLingAlignTrainer
    from xling_align.trainers.arguments import ModelArguments
    from xling_align.trainers.checkpoints import last_complete_checkpoint
    from xling_align.trainers.data.demo_corpus import emoji_names
    from xling_align.trainers.data.tokenized import join_pairs, tokenize_pairs
    from xling_align.trainers.facts import recipe_of, write_facts
    from xling_align.trainers.subwords import share_subwords
    from xling_align.trainers.tokenizer import finer

    torch.manual_seed(seed)
    tokenizer = load_tokenizer(root / "encoder")
    languages = ["en", *corpus.languages]
    model = XLingAlignModel.from_encoder(root / "encoder", languages, pooling="mean")
    tokenizers = [finer(tokenizer, merges) for merges in GRANULARITIES]
    pairs = join_pairs([tokenize_pairs(corpus.pairs, each, model.config, MAX_LENGTH) for each in tokenizers])
    model.init_language_embeddings(pairs.token_counts(len(languages), len(tokenizer)))
    share_subwords(model, tokenizer)
    args = training_arguments(root / "work" / "alignment", seed, ALIGNMENT)
    trainer = XLingAlignTrainer(model, args, pairs, processing_class=tokenizer)
    trainer.train(resume_from_checkpoint=last_complete_checkpoint(args.output_dir))
    trainer.save_model(str(folder))
    corpora = {name: {"pairs": None} for name in ("emoji", "django")}  # their licences are known by their names
    write_facts(folder, str(root / "encoder"), corpora, recipe_of(ModelArguments(share_subwords=True), args))
    phrases = sorted({(code, name) for names in emoji_names().values() for code, name in names.items()})
    (folder / "phrases.tsv").write_text("".join(f"{code}\t{name}\n" for code, name in phrases), encoding="utf-8")


def text_encoder(folder: Path, kind: Any, pooling: str) -> "TextEncoder":
    """A saved model of a class, ready to encode."""
    from xling_align.eval.encoding import TextEncoder
    from xling_align.modeling_xling import load_tokenizer

    return TextEncoder(kind.from_pretrained(folder), load_tokenizer(folder), pooling)  # pyright: ignore[reportArgumentType]


TASKS = ("retrieval", "zero_shot")


def measure(encoder: "TextEncoder", corpus: "DemoCorpus", task: str) -> dict:
    """One task's scores on what was held out.

    Args:
        encoder: Turns texts into vectors.
        corpus: Holds the tasks' data.
        task: `retrieval` or `zero_shot`.

    Returns:
        `mean` over the languages other than English, `languages`, `pooling`, and for `zero_shot` the transfer figures.
    """
    from xling_align.eval.tasks import classification, retrieval

    if task == "retrieval":
        result = retrieval.run(encoder, corpus.retrieval)
        return {"mean": result.mean, "languages": result.scores, "pooling": encoder.pooling}
    tests: dict[str, classification.Labelled] = {**corpus.classification}
    result = classification.run(encoder, corpus.classification_train, tests)
    transfer = result.summary()
    figures = {name: transfer[name] for name in ("source", "gap", "worst_five")}
    return {"mean": result.mean, "languages": result.scores, "pooling": encoder.pooling, **figures}


def measure_before(folder: Path, corpus: "DemoCorpus") -> dict:
    """The encoder's scores before alignment, by the better of first-token and mean pooling in each task."""
    from transformers import AutoModel

    encoders = [text_encoder(folder, AutoModel, pooling) for pooling in ("cls", "mean")]
    return {
        task: max((measure(encoder, corpus, task) for encoder in encoders), key=lambda scores: scores["mean"])
        for task in TASKS
    }


def vector_plots(root: Path, corpus: "DemoCorpus", pooling: str) -> list["Figure"]:
    """Draw held-out texts before and after: meanings in all languages, one language's classes, word by word.

    Args:
        root: Output folder, which holds encoder and model.
        corpus: Holds the texts.
        pooling: How the encoder's vectors are made.

    Returns:
        The figures.
    """
    from transformers import AutoModel

    from xling_align.eval.projections import vector_figures, vector_spaces, word_pairs
    from xling_align.modeling_xling import XLingAlignModel

    encoders = {
        "before": text_encoder(root / "encoder", AutoModel, pooling),
        "after": text_encoder(root / "model", XLingAlignModel, "cls"),
    }
    names = {code: dict(enumerate(names[:CLOUD])) for code, names in corpus.retrieval.items()}
    both = zip(corpus.retrieval["en"], corpus.retrieval["de"], strict=True)
    words = [pair for pair in both if pair[0] != pair[1] and not any(" " in word for word in pair)][:PAIRS]
    english, german = ([pair[side] for pair in words] for side in (0, 1))
    spaces = vector_spaces(encoders, {"en": english, "de": german})
    return [
        *vector_figures(encoders, names, {"de": corpus.classification["de"]}),
        word_pairs(spaces, english, german, ("en", "de")),
    ]


def write(stages: Stages, corpus: "DemoCorpus", before: dict, after: dict) -> None:
    """Write the report.

    Args:
        stages: Output folder and times.
        corpus: For its sizes and for the plots of vectors.
        before: Scores before alignment.
        after: Scores after it.
    """
    from xling_align.cli.subject import Subject
    from xling_align.eval.report import write_report

    digest = Subject(str(stages.root / "model")).digest  # by which `xling push` finds the model's results
    report = {
        "title": "xling-align demo",
        "summary": summary(before, after),
        "command": "xling demo",
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "versions": versions(),
        "seconds": sum(stages.seconds.values()),
        "stage_seconds": stages.seconds,
        "source": "en",
        "models": [
            {"name": "before", "vocabulary": VOCABULARY, **ENCODER, "pre-training": PRETRAINING},
            {"name": "after", "digest": digest, "granularities": GRANULARITIES, "alignment": ALIGNMENT},
        ],
        "tasks": [task_report(task, before[task], after[task]) for task in TASKS],
        **{task: {"before": before[task], "after": after[task]} for task in TASKS},
        "data": {
            "training pairs": len(corpus.pairs),
            "retrieval": f"{len(corpus.retrieval['en'])} held-out emoji meanings, both ways",
            "zero-shot": f"{len(corpus.classification_train[0])} English names to learn from",
            "sources": "emoji names (emoji), interface messages (Django), CLDR names (Babel; for testing only)",
        },
    }
    write_report(stages.root, report, vector_plots(stages.root, corpus, before["retrieval"]["pooling"]))


TITLES = {
    "retrieval": ("Retrieval of held-out translations", "accuracy"),
    "zero_shot": ("Zero-shot classification", "macro-F1"),
}


def task_report(task: str, before: dict, after: dict) -> dict:
    """One task's part of the report.

    Args:
        task: One of `TASKS`.
        before: Scores before alignment.
        after: Scores after it.

    Returns:
        The part, with `before` and `after` as models.
    """
    title, metric = TITLES[task]
    notes = {
        "retrieval": "Mean of both directions against English.",
        "zero_shot": "A classifier of names (territory, language, script, currency) that saw English only.",
    }
    results = {"before": before, "after": after}
    return {
        "name": task,
        "title": title,
        "metric": metric,
        "unit": "%",
        "higher_is_better": True,
        "note": f"{notes[task]} Vectors by {before['pooling']} pooling before, {after['pooling']} after.",
        "results": {name: {"score": scores["mean"], **scores} for name, scores in results.items()},
    }


def versions() -> dict[str, str]:
    """Versions of what made the numbers."""
    from importlib.metadata import version

    return {
        name: version(name)
        for name in ("xling-align", "torch", "transformers", "sentence-transformers", "emoji", "Babel", "Django")
    }


def summary(before: dict, after: dict) -> str:
    """One sentence with the four means."""
    figures = {task: (100 * before[task]["mean"], 100 * after[task]["mean"]) for task in TASKS}
    return "Retrieval of held-out translations went from {:.1f} to {:.1f} %, ".format(
        *figures["retrieval"]
    ) + "zero-shot classification (macro-F1) from {:.1f} to {:.1f}.".format(*figures["zero_shot"])


def tell(root: Path, before: dict, after: dict) -> None:
    """Print what came out, and how to use the model."""
    print(f"\n{summary(before, after)}\nReport: {root / 'report.html'}\n\nUse the model:\n")
    print("from sentence_transformers import SentenceTransformer")
    print(f'model = SentenceTransformer("{root / "model"}", trust_remote_code=True)')
    print(f'print(model.encode("{QUERY}", language_ids="en").shape)')
    print(f'\nxling search {root / "model"} "{QUERY}"')
