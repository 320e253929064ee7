"""`xling classify MODEL texts.tsv --labels sport,politics`: labels for texts of any language, without a classifier."""

import argparse
import sys
from pathlib import Path

FEWEST = 20  # texts of a language whose mean similarity says something about a label


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("model", help="folder or Hub id")
    parser.add_argument("texts", help="lines of language<TAB>text")
    parser.add_argument("--labels", help="names of the labels in English, with commas")
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help=f"take each label's mean over a language's texts, {FEWEST} or more, off the scores; for labels that are "
        "about equally frequent",
    )
    parser.add_argument(
        "--label_prompts", help="YAML: for each language's code `templates`, texts with {}, and `names` by label"
    )


def run(args: argparse.Namespace) -> None:
    """Print language, label, score and text of each line of the file, in its order."""
    from xling_align.cli.models import by_language, quiet, read_rows
    from xling_align.cli.subject import Subject
    from xling_align.eval.tasks.label_names import (
        check_prompts,
        label_vectors,
        plain_prompts,
        read_prompts,
        similarities,
    )
    from xling_align.modeling_xling import InputError

    quiet()
    if bool(args.labels) == bool(args.label_prompts):
        raise InputError("give --labels sport,politics or --label_prompts FILE.yaml, one of the two")
    names = [name.strip() for name in (args.labels or "").split(",") if name.strip()]
    prompts = read_prompts(args.label_prompts) if args.label_prompts else [plain_prompts(names)]
    check_prompts(prompts)
    if len(prompts[0].names) < 2:
        raise InputError(f"there is one label, {next(iter(prompts[0].names))!r}; give two or more")
    rows = read_rows(Path(args.texts))
    texts = by_language(rows)
    few = [code for code, distinct in texts.items() if len(distinct) < FEWEST]
    if args.calibrate and few:
        raise InputError(f"--calibrate needs {FEWEST} texts or more of each language; there are fewer of {few[0]!r}")
    subject = Subject(args.model)
    codes = dict.fromkeys([*texts, *(each.language for each in prompts)])
    if unknown := [code for code in codes if subject.languages and not subject.code(code)]:
        print(f"read as an unknown language, since the model has none such: {', '.join(unknown)}", file=sys.stderr)
    labels, vectors = label_vectors(subject.encode, prompts)
    answers = {}
    for code, distinct in texts.items():
        scores = similarities(subject.encode, distinct, code, vectors, args.calibrate)
        for text, found in zip(distinct, scores, strict=True):
            answers[code, text] = f"{labels[found.argmax()]}\t{found.max():.2f}"
    for code, text in rows:
        print(f"{code}\t{answers[code, text]}\t{text}")
