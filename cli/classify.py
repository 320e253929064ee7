"""`xling classify MODEL texts.tsv --labels sport,politics`: labels for texts of any language, without a classifier."""

import argparse
from pathlib import Path

FEWEST = 20  # texts of a language whose mean similarity says something about a label


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("model", help="folder or Hub id")
    parser.add_argument("texts", help="lines of language<TAB>text")
    parser.add_argument("--labels", help="names of the labels in English, with commas")
    parser.add_argument(
        "--label_prompts", help="YAML: for each language's code `templates`, texts with {}, and `names` by label"
    )


def run(args: argparse.Namespace) -> None:
    """Print language, label, score and text of each text, the texts of a language together."""
    from xling_align.cli.models import check_languages, quiet, read_phrases, text_encoder
    from xling_align.eval.tasks.label_names import (
        check_prompts,
        label_vectors,
        plain_prompts,
        read_prompts,
        similarities,
    )
    from xling_align.modeling_xling import InputError, XLingAlignConfig

    quiet()
    if bool(args.labels) == bool(args.label_prompts):
        raise InputError("give --labels sport,politics or --label_prompts FILE.yaml, one of the two")
    names = [name.strip() for name in (args.labels or "").split(",") if name.strip()]
    prompts = read_prompts(args.label_prompts) if args.label_prompts else [plain_prompts(names)]
    check_prompts(prompts)
    if len(prompts[0].names) < 2:
        raise InputError(f"there is one label, {next(iter(prompts[0].names))!r}; give two or more")
    texts = read_phrases(Path(args.texts))
    encoder = text_encoder(args.model)
    if isinstance(encoder.model.config, XLingAlignConfig):
        check_languages(encoder.model.config, [*texts, *(each.language for each in prompts)])
    labels, vectors = label_vectors(encoder, prompts)
    for code, rows in texts.items():
        scores = similarities(encoder, rows, code, vectors, calibrate=len(rows) >= FEWEST)
        for text, found in zip(rows, scores, strict=True):
            print(f"{code}\t{labels[found.argmax()]}\t{found.max():.2f}\t{text}")
