"""Measuring one model on the tasks of a data folder, with the fine-tuning that a task needs."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from xling_align.eval.encoding import TextEncoder
    from xling_align.eval.tasks.result import TaskResult
    from xling_align.trainers.finetune import FineTuned

Rows = TypeVar("Rows")

PAIRS: dict[str, Any] = {"num_train_epochs": 4, "learning_rate": 2e-4, "per_device_train_batch_size": 32}
WORDS: dict[str, Any] = {"num_train_epochs": 3, "learning_rate": 5e-4, "per_device_train_batch_size": 32}


@dataclass(frozen=True)
class Setting:
    """How tasks are run.

    Attributes:
        data_dir: The folder that holds the tasks' data.
        languages: Codes of the languages to measure.
        dev: Use development sets, while settings are chosen; XNLI's stand in for Tatoeba, which has none.
        limit: Score the first so many rows of each language in the tasks that are slow; all unless given.
        train_limit: Fine-tune on the first so many rows; all unless given.
        seed: Of fine-tuning.
    """

    data_dir: str
    languages: list[str]
    dev: bool = False
    limit: int | None = None
    train_limit: int | None = None
    seed: int = 0

    @property
    def split(self) -> str:
        """Which part of a task's data is scored."""
        return "dev" if self.dev else "test"

    def own(self, data: dict[str, Rows]) -> dict[str, Rows]:
        """Rows of the languages to measure; how many there are at most goes with them into the result."""
        from xling_align.eval.data_dir import ByLanguage

        rows = {code: rows for code, rows in data.items() if code in self.languages}
        return ByLanguage(rows, getattr(data, "limit", None))


def encoder_of(model: str) -> "TextEncoder":
    """A model ready to encode."""
    from xling_align.cli.models import text_encoder

    return text_encoder(model)


def tatoeba(model: str, setting: Setting) -> "TaskResult":
    """Retrieval of translations, both ways."""
    from xling_align.eval import data_dir
    from xling_align.eval.tasks import retrieval

    if setting.dev:
        data = data_dir.xnli_translations(setting.data_dir, limit=setting.limit or 1000)
    else:
        data = data_dir.tatoeba(setting.data_dir)
    return retrieval.run_tatoeba(encoder_of(model), setting.own(data))


def sib200(model: str, setting: Setting) -> "TaskResult":
    """Topics, by a classifier of English vectors."""
    from xling_align.eval import data_dir
    from xling_align.eval.tasks import classification

    train = data_dir.sib200(setting.data_dir, "train", ["en"])["en"]
    tests: dict[str, classification.Labelled] = {**setting.own(data_dir.sib200(setting.data_dir, setting.split))}
    return classification.run(encoder_of(model), train, tests)


def tuned(model: str, rows: list[dict], dev_rows: list[dict], settings: dict, seed: int) -> "FineTuned":
    """A classifier fine-tuned on English rows, the epoch chosen on English dev rows."""
    from xling_align.modeling_xling import load_tokenizer
    from xling_align.trainers.finetune import FineTuneArguments, finetune

    with TemporaryDirectory() as folder:
        args = FineTuneArguments(output_dir=folder, seed=seed, disable_tqdm=True, **settings)
        return finetune(model, load_tokenizer(model), rows, args=args, dev_rows=dev_rows, pooling="mean")


def pawsx(model: str, setting: Setting) -> "TaskResult":
    """Paraphrases, by a classifier fine-tuned on English pairs."""
    from xling_align.eval import data_dir
    from xling_align.eval.encoding import has_fast_bf16
    from xling_align.eval.predicting import PairClassifier
    from xling_align.eval.tasks import paraphrase
    from xling_align.modeling_xling import load_tokenizer

    def rows(split: str, limit: int | None) -> list[dict]:
        pairs = data_dir.pawsx(setting.data_dir, split, ["en"], limit)["en"]
        names = ("text", "text_pair", "label")
        return [dict(zip(names, row, strict=True), language="en") for row in zip(*pairs, strict=True)]

    found = tuned(model, rows("train", setting.train_limit), rows("dev", None), PAIRS, setting.seed)
    tests = setting.own(data_dir.pawsx(setting.data_dir, setting.split, limit=setting.limit))
    classifier = PairClassifier(found.model, load_tokenizer(model), bf16=has_fast_bf16())
    result = paraphrase.run(classifier, tests)
    result.metadata["fine_tuning"] = found.history
    return result


def panx(model: str, setting: Setting) -> "TaskResult":
    """Named entities, by a tagger fine-tuned on English sentences."""
    from xling_align.eval import data_dir
    from xling_align.eval.encoding import has_fast_bf16
    from xling_align.eval.predicting import Tagger
    from xling_align.eval.tasks import ner
    from xling_align.modeling_xling import load_tokenizer

    def rows(split: str, limit: int | None) -> list[dict]:
        sentences = data_dir.panx(setting.data_dir, split, ["en"], limit)["en"]
        return [{"tokens": words, "tags": tags, "language": "en"} for words, tags in zip(*sentences, strict=True)]

    found = tuned(model, rows("train", setting.train_limit), rows("dev", 1000), WORDS, setting.seed)
    tests = setting.own(data_dir.panx(setting.data_dir, setting.split, limit=setting.limit))
    tagger = Tagger(found.model, load_tokenizer(model), bf16=has_fast_bf16())
    result = ner.run(tagger, tests, tagger.types)
    result.metadata["fine_tuning"] = found.history
    return result


TASKS = {"tatoeba": tatoeba, "sib200": sib200, "panx": panx, "pawsx": pawsx}


def measure(model: str | Path, task: str, setting: Setting) -> dict:
    """One task's result as plain data.

    Args:
        model: Folder or Hub id.
        task: One of `TASKS`.
        setting: How.

    Returns:
        `score` (mean over the languages besides English, in %), `source`, `gap`, `worst_five`, `languages`, `metric`,
        `metadata`.
    """
    result = TASKS[task](str(model), setting)
    figures = {name: 100 * value for name, value in result.summary().items()}
    languages = {code: 100 * value for code, value in result.scores.items()}
    metadata = {**result.metadata, "split": setting.split}
    return {
        "score": 100 * result.mean,
        **figures,
        "languages": languages,
        "metric": result.metric,
        "metadata": metadata,
    }
