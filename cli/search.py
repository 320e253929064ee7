"""`xling search MODEL "text"`: the nearest phrases in every other language."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("model", help="folder or Hub id")
    parser.add_argument("text", help="what to look for")
    parser.add_argument("--language", help="language of the text; the model's source language unless given")
    parser.add_argument("--texts", help="lines of language<TAB>text to search; MODEL/phrases.tsv unless given")
    parser.add_argument("--top", type=int, default=3, help="phrases per language (default 3)")


def run(args: argparse.Namespace) -> None:
    """Print the nearest phrases, language by language."""
    from xling_align.cli.models import by_language, check_languages, quiet, read_rows, text_encoder
    from xling_align.modeling_xling import InputError, XLingAlignConfig

    quiet()
    if not args.text.strip():
        raise InputError("there is no text to search for; give a word or a sentence")
    if args.top < 1:
        raise InputError(f"--top is {args.top}; it must be at least 1")
    encoder = text_encoder(args.model)
    phrases = by_language(read_rows(Path(args.texts or Path(args.model) / "phrases.tsv")))
    config = encoder.model.config
    language = args.language
    if isinstance(config, XLingAlignConfig):
        language = language or config.source_language
        check_languages(config, [language, *phrases])
    if not phrases.keys() - {language}:
        raise InputError(f"all texts to search are in {language!r}; give --texts a file with other languages as well")
    query = encoder([args.text], language)[0]  # (dim,)
    for code, texts in phrases.items():
        if code == language:
            continue
        scores = encoder(texts, code) @ query
        for row in scores.argsort()[::-1][: args.top]:
            print(f"{code}  {scores[row]:.2f}  {texts[row]}")
