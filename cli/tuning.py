"""Fine-tuning on English labels, and the tasks that are scored with what came of it."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from xling_align.cli.subject import Data, Setting, Subject
from xling_align.eval import data_dir
from xling_align.eval.encoding import has_fast_bf16
from xling_align.eval.predicting import PairClassifier, Tagger
from xling_align.eval.tasks import classification, ner, nli, paraphrase
from xling_align.eval.tasks.result import TaskResult
from xling_align.modeling_xling import InputError, load_tokenizer, nearest
from xling_align.trainers.arguments import check_choice, flags_of, parse, read_recipe
from xling_align.trainers.finetune import Classifier, FineTuneArguments, finetune

Run = Callable[[Classifier], TaskResult]
TEXTS: dict[str, Any] = {"num_train_epochs": 8, "learning_rate": 2e-4, "per_device_train_batch_size": 16}
PAIRS: dict[str, Any] = {"num_train_epochs": 4, "learning_rate": 2e-4, "per_device_train_batch_size": 32}
WORDS: dict[str, Any] = {"num_train_epochs": 3, "learning_rate": 5e-4, "per_device_train_batch_size": 32}


class Training(NamedTuple):
    """How a classifier is fine-tuned: `rows(setting, split, limit)` gives English rows, of `train` and of `dev`."""

    rows: Callable[[Setting, str, int | None], list[dict]]
    arguments: dict[str, Any]


def text_rows(setting: Setting, split: str, limit: int | None) -> list[dict]:
    """Rows of SIB-200."""
    texts = data_dir.sib200(setting.data_dir, split, ["en"], limit)["en"]
    return [{"text": text, "label": label} for text, label in zip(*texts, strict=True)]


def word_rows(setting: Setting, split: str, limit: int | None) -> list[dict]:
    """Rows of PAN-X."""
    sentences = data_dir.panx(setting.data_dir, split, ["en"], limit)["en"]
    return [{"tokens": words, "tags": tags} for words, tags in zip(*sentences, strict=True)]


def paraphrase_rows(setting: Setting, split: str, limit: int | None) -> list[dict]:
    """Rows of PAWS-X."""
    return pair_rows(data_dir.pawsx(setting.data_dir, split, ["en"], limit)["en"])


def nli_rows(setting: Setting, split: str, limit: int | None) -> list[dict]:
    """Rows of MultiNLI, or of XNLI's development set."""
    if split == "train":
        return pair_rows(data_dir.xnli_train(setting.data_dir, limit))
    return pair_rows(data_dir.xnli(setting.data_dir, split, ["en"], limit)["en"])


def pair_rows(pairs: data_dir.Pairs) -> list[dict]:
    """Rows of text pairs."""
    return [dict(zip(("text", "text_pair", "label"), row, strict=True)) for row in zip(*pairs, strict=True)]


TRAININGS = {
    "sib200": Training(text_rows, TEXTS),
    "panx": Training(word_rows, WORDS),
    "pawsx": Training(paraphrase_rows, PAIRS),
    "xnli": Training(nli_rows, PAIRS),
}
NOT_SETTABLE = {"output_dir", "seed", "disable_tqdm", "alignment_weight", "alignment_tau"}  # set here, or need pairs
DEV_ROWS = 1000  # of the larger development sets, to choose the epoch by


def arguments_of(training: str, setting: Setting) -> dict[str, Any]:
    """How a training is run: as `TRAININGS` says, with the changes of the setting."""
    return {**TRAININGS[training].arguments, **setting.tuning.get(training, {})}


def read_tuning(path: str) -> dict[str, dict[str, Any]]:
    """Read changes to the arguments of fine-tuning.

    Args:
        path: YAML: by training a mapping of arguments of `FineTuneArguments`, such as
            `panx: {learning_rate: 1e-4, select: average}`.

    Returns:
        The same, as values of the arguments' types.

    Raises:
        InputError: There is no such file, or it names an unknown training or argument, or holds a bad value.
    """
    if not Path(path).is_file():
        raise InputError(f"--tuning: there is no file {path!r}")
    settable = sorted({item.name for item in fields(FineTuneArguments) if item.init} - NOT_SETTABLE)
    tuning = {}
    for training, changes in read_recipe(Path(path)).items():
        check_choice("tuning", str(training), tuple(TRAININGS))
        if not isinstance(changes, dict):
            raise InputError(f"{path}, {training}: must hold `argument: value` lines")
        for name in changes:
            if name not in settable:
                close = nearest(str(name), settable)
                raise InputError(f"{path}, {training}: {name!r} is no argument that can be set here{close}")
        try:
            (args,) = parse(flags_of({**TRAININGS[training].arguments, **changes}), FineTuneArguments, program="")
        except InputError as error:
            raise InputError(f"{path}, {training}: {error}") from error
        values = args.to_dict()
        tuning[training] = {name: values[name] for name in changes}
    return tuning


def training_rows(training: str, setting: Setting) -> tuple[list[dict], list[dict]]:
    """English rows to fine-tune on, and to choose the epoch by."""
    rows = TRAININGS[training].rows
    return rows(setting, "train", setting.train_limit), rows(setting, "dev", DEV_ROWS if training == "panx" else None)


def fine_tuned(subject: Subject, training: str, setting: Setting, runs: Mapping[str, Run]) -> dict[str, TaskResult]:
    """Fine-tune once and run tasks with the epoch that is best on English development rows, or as `tuning` selects.

    Args:
        subject: The model to start from.
        training: One of `TRAININGS`.
        setting: How; with `oracle` the tasks are run after every epoch.
        runs: What scores a fine-tuned model, by task.

    Returns:
        Each task's result, its metadata with `fine_tuning` (loss and dev score of each epoch) and, where asked for,
        `oracle` (each language's score after the epoch that is best on its own test).
    """
    language = subject.code("en")
    sides = [[{**row, "language": language} for row in rows] for rows in training_rows(training, setting)]
    by_epoch: list[dict[str, TaskResult]] = []

    def score(model: Classifier) -> None:
        by_epoch.append({name: run(model) for name, run in runs.items()})
        means = ", ".join(f"{name} {result.mean:.3f}" for name, result in by_epoch[-1].items())
        print(f"    epoch {len(by_epoch)}: {means}", flush=True)

    with TemporaryDirectory() as folder:
        own = arguments_of(training, setting)
        bar = {"disable_tqdm": not sys.stderr.isatty()}
        args = FineTuneArguments(output_dir=folder, seed=setting.seed, **bar, **own)
        found = finetune(
            subject.path,
            load_tokenizer(subject.path),
            sides[0],
            args=args,
            dev_rows=sides[1],
            pooling="mean",
            each_epoch=score if setting.oracle else None,
        )
    if not setting.oracle or args.select != "best":  # averaged weights are those of no epoch
        chosen = {name: run(found.model) for name, run in runs.items()}
    else:
        scores = [epoch["dev_score"] for epoch in found.history]
        chosen = by_epoch[scores.index(max(scores))]
    for name, result in chosen.items():
        result.metadata["fine_tuning"] = found.history
        if setting.oracle:
            epochs = [epoch[name].scores for epoch in by_epoch]
            result.metadata["oracle"] = {code: max(scores[code] for scores in epochs) for code in result.scores}
    return chosen


def told(predict: PairClassifier | Tagger) -> Callable[..., Any]:
    """A classifier or tagger that is told the languages that it knows, and of others nothing."""
    known = predict.model.config.languages

    def predicted(*texts: Any, language: str | None = None) -> Any:
        return predict(*texts, language=language if language in known else None)

    return predicted


def pair_classifier(subject: Subject, model: Classifier) -> Callable[..., list[str]]:
    """Answers of a classifier of texts or pairs."""
    return told(PairClassifier(model, load_tokenizer(subject.path), bf16=has_fast_bf16()))


def run_texts(subject: Subject, data: Data, model: Classifier) -> TaskResult:
    """Topics."""
    return classification.run_classifier(pair_classifier(subject, model), data.tests)


def run_words(subject: Subject, data: Data, model: Classifier) -> TaskResult:
    """Named entities; types that the training labels lack are left out."""
    tagger = Tagger(model, load_tokenizer(subject.path), bf16=has_fast_bf16())
    return ner.run(told(tagger), data.tests, tagger.types)


def run_paraphrase(subject: Subject, data: Data, model: Classifier) -> TaskResult:
    """Paraphrases within a language."""
    return paraphrase.run(pair_classifier(subject, model), data.tests)


def run_paraphrase_mixed(subject: Subject, data: Data, model: Classifier) -> TaskResult:
    """Paraphrases between English and another language."""
    return paraphrase.run(pair_classifier(subject, model), data.tests, first="en")


def run_nli(subject: Subject, data: Data, model: Classifier) -> TaskResult:
    """Inference within a language."""
    return nli.run(pair_classifier(subject, model), data.tests)


def run_nli_mixed(subject: Subject, data: Data, model: Classifier) -> TaskResult:
    """Inference from English to another language."""
    return nli.run(pair_classifier(subject, model), data.tests, first="en")
