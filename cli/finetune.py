"""`xling finetune`: fine-tune on one language's labels, and score what comes of it on test files in any languages.

The training is `trainers.finetune`. Test files are read and checked before it starts; the scores are printed and
written beside the model, means over the seeds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import stdev
from typing import Any

from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

from xling_align.cli.models import load_weights
from xling_align.cli.tuning import told
from xling_align.eval.data_dir import Pairs, Tagged, Texts
from xling_align.eval.encoding import length_limit
from xling_align.eval.extras import eval_extra
from xling_align.eval.metrics.entities import entity_types
from xling_align.eval.predicting import PairClassifier, Tagger
from xling_align.eval.summary import as_run, merged
from xling_align.eval.tasks import classification, ner
from xling_align.eval.tasks.pairs import score_pairs
from xling_align.eval.tasks.result import TaskResult
from xling_align.modeling_xling import InputError, load_tokenizer
from xling_align.trainers.arguments import one_line_errors, parse
from xling_align.trainers.data.labelled import check_labels, label_names
from xling_align.trainers.finetune import FineTuneArguments, Job, TaskArguments, model_folders, train
from xling_align.trainers.programs import log_to_screen, write_json
from xling_align.trainers.selection import are_entities

Tests = dict[str, list[dict]]  # rows by language


@dataclass
class ScoringArguments:
    """What the fine-tuned model is scored on.

    Attributes:
        test_files: Labelled rows in the form of `train_file`, for each language as code=FILE, such as de=test.de.tsv.
    """

    test_files: list[str] | None = None

    def read(self, job: Job) -> Tests:
        """Read and check all files.

        Args:
            job: Says what the rows are like, and which labels there are.

        Returns:
            Rows by language.

        Raises:
            InputError: A file can't be read, or has a label that the training rows lack; among the tags of entities
                such are left to `ner.run`.
        """
        tests, labels = {}, label_names(job.rows)
        for given in self.test_files or []:
            code, _, path = given.partition("=")
            if not path or code in tests:
                raise InputError(f"--test_files {given!r} must be code=FILE, such as de=test.tsv, each code once")
            tests[code] = job.task.rows(path, code)
            if not (job.task.task == "token" and are_entities(labels)):
                check_labels(tests[code], labels)
        if tests:
            with eval_extra():
                import seqeval  # noqa: F401  # pyright: ignore[reportUnusedImport]
                import sklearn  # noqa: F401  # pyright: ignore[reportUnusedImport]
        return tests


def score(folder: Path, job: Job, tests: Tests, args: FineTuneArguments) -> TaskResult:
    """Score a fine-tuned model in every language.

    Args:
        folder: Where it was saved.
        job: What it was fine-tuned for.
        tests: Rows by language.
        args: Name the longest text, the rows in a batch, and the precision.

    Returns:
        Macro-F1 of texts, accuracy of pairs, F1 of entities, or of other tags of words macro-F1.
    """
    words = job.task.task == "token"
    model = load_weights(AutoModelForTokenClassification if words else AutoModelForSequenceClassification, str(folder))
    tokenizer = load_tokenizer(str(folder))
    predict = (Tagger if words else PairClassifier)(
        model,
        tokenizer,
        args.per_device_eval_batch_size,
        min(args.max_length, length_limit(model, tokenizer)),
        bool(args.bf16),
    )
    source = job.task.language if len(tests) > 1 else ""  # alone it has no others to stand apart from
    kind = job.task.task if not words or are_entities(predict.labels) else "tags"
    return KINDS[kind](told(predict), predict.labels, tests, source)


def score_texts(predict: Callable[..., Any], labels: list[str], tests: Tests, source: str) -> TaskResult:
    """Labels of texts."""
    texts = {code: Texts(*columns(rows, "text", "label")) for code, rows in tests.items()}
    return classification.run_classifier(predict, texts, source, labels)


def score_text_pairs(predict: Callable[..., Any], labels: list[str], tests: Tests, source: str) -> TaskResult:
    """Labels of pairs."""
    pairs = {code: Pairs(*columns(rows, "text", "text_pair", "label")) for code, rows in tests.items()}
    return score_pairs("pairs", predict, pairs, source, labels=labels)


def score_entities(predict: Callable[..., Any], labels: list[str], tests: Tests, source: str) -> TaskResult:
    """Entities; types that the training labels lack are left out."""
    return ner.run(predict, sentences(tests), entity_types([labels]), source)


def score_tags(predict: Callable[..., Any], labels: list[str], tests: Tests, source: str) -> TaskResult:
    """Tags that are not of entities, word by word."""
    tagged = sentences(tests)

    def tags(_: Any, language: str) -> list[str]:
        return list(chain.from_iterable(predict(tagged[language].tokens, language=language)))

    words = {code: Texts(*(list(chain.from_iterable(side)) for side in sides)) for code, sides in tagged.items()}
    return classification.run_classifier(tags, words, source, labels)


KINDS = {"sequence": score_texts, "pair": score_text_pairs, "token": score_entities, "tags": score_tags}


def columns(rows: list[dict], *names: str) -> list[list]:
    """Parts of rows, each as a list."""
    return [[row[name] for row in rows] for name in names]


def sentences(tests: Tests) -> dict[str, Tagged]:
    """Words and tags by language."""
    return {code: Tagged(*columns(rows, "tokens", "tags")) for code, rows in tests.items()}


def table(found: dict[str, Any]) -> str:
    """Each language's score and, of several seeds, its deviation, in %; then the mean of the others and the gap."""
    several = len(found["runs"]) > 1
    lines = [["language", found["metric"], "deviation"], ["---", "---:", "---:"]]
    for code, value in found["languages"].items():
        deviation = stdev(run["languages"][code] for run in found["runs"]) if several else 0.0
        lines.append([code, f"{100 * value:.1f}", f"{100 * deviation:.1f}"])
    text = "\n".join(f"| {' | '.join(line if several else line[:2])} |" for line in lines)
    seeds = f", over {len(found['runs'])} seeds" if several else ""
    if found["gap"] is None:
        return f"{text}\n\nMean {100 * found['score']:.1f}{seeds}"
    return f"{text}\n\nMean of the others {100 * found['score']:.1f}, gap {100 * found['gap']:.1f}{seeds}"


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    task, args, scoring = parse(argv, TaskArguments, FineTuneArguments, ScoringArguments, program="xling finetune")
    log_to_screen(args.should_log)
    job = Job.read(task)
    tests = scoring.read(job)
    train(job, args)
    if not tests or not args.should_save:
        return
    runs = [as_run(score(folder, job, tests, args), seed) for seed, folder in model_folders(args, task.seeds).items()]
    found = {"metric": runs[0]["metric"], "test_files": scoring.test_files, **merged(runs)}
    path = Path(str(args.output_dir)) / "test_scores.json"
    write_json(path, found)
    print(f"\n{table(found)}")
    if left_out := found["metadata"].get("left_out_types"):
        print(f"Left out, since the training labels lack them: {', '.join(left_out)}")
    print(path)
