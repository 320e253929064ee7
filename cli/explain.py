"""`xling explain "text" "translation" --model M`: which words of a pair a model takes for each other."""

import argparse
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xling_align.eval.explaining import Explanation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("text", help="a sentence")
    parser.add_argument("translation", help="another, such as its translation")
    parser.add_argument("--model", required=True, help="folder or Hub id")
    parser.add_argument("--languages", help="codes of both, such as en,de; unknown unless given")
    parser.add_argument("--output", default="outputs/explain.html", help="page to write (default %(default)s)")


def run(args: argparse.Namespace) -> None:
    """Print cosines and aligned words, and write the page with the maps."""
    from xling_align.cli.models import check_languages, quiet, text_encoder
    from xling_align.eval.explaining import explain
    from xling_align.modeling_xling import InputError, XLingAlignConfig

    start = time.perf_counter()
    quiet()
    if not args.text.strip() or not args.translation.strip():
        raise InputError("a text is empty; give two sentences")
    if Path(args.output).is_dir():
        raise InputError(f"--output {args.output} is a folder; name a file, such as {args.output}/explain.html")
    languages = codes(args.languages)
    encoder = text_encoder(args.model)
    encoder.bf16 = False  # two sentences cost nothing, and the page shows two digits
    if isinstance(encoder.model.config, XLingAlignConfig):
        check_languages(encoder.model.config, [code for code in languages if code])
    pair = explain(encoder, (args.text, args.translation), languages)
    write(args, pair, time.perf_counter() - start)
    tell(pair)
    print(f"\nPage: {args.output}")


def codes(given: str | None) -> tuple[str | None, str | None]:
    """The two languages of `--languages`.

    Args:
        given: Such as `en,de`; None where they are unknown.

    Returns:
        Both codes, or None twice.

    Raises:
        InputError: There are other than two.
    """
    from xling_align.modeling_xling import InputError

    if given is None:
        return None, None
    found = [code.strip() for code in given.split(",")]
    if len(found) != 2 or not all(found):
        raise InputError(f"--languages is {given!r}; give the codes of both texts, such as en,de")
    return found[0], found[1]


def tell(pair: "Explanation") -> None:
    """Print what the page shows, in short."""
    print(f"sentence cosine  {pair.cosine:.2f}")
    width = max((len(pair.first.words[row]) for row, _ in pair.links), default=0)
    for (row, column), cosine in pair.links.items():
        print(f"{cosine:.2f}  {pair.first.words[row]:{width}}  {pair.second.words[column]}")
    for side, text in enumerate((pair.first, pair.second)):
        linked = {link[side] for link in pair.links}
        alone = [word for place, word in enumerate(text.words) if place not in linked]
        if alone:
            print(f"no partner among the words of text {side + 1}: {' '.join(alone)}")
    for text in (pair.first, pair.second):
        print(f"{len(text.tokens)} tokens: {' '.join(text.tokens)}")


def write(args: argparse.Namespace, pair: "Explanation", seconds: float) -> None:
    """Write the page.

    Args:
        args: The command's flags.
        pair: What to show.
        seconds: What it took.
    """
    from importlib.metadata import version

    from xling_align.eval.page import render, write_texts

    flags = ["--model", args.model, *(("--languages", args.languages) if args.languages else ())]
    report = {
        "title": "A pair of texts, word by word",
        "command": shlex.join(["xling", "explain", args.text, args.translation, *flags]),
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "seconds": seconds,
        "versions": {name: version(name) for name in ("xling-align", "torch", "transformers")},
        "model": {"model": args.model, "languages": args.languages or "unknown"},
    }
    page = render("explain.html.jinja", {"report": report, "pair": pair, "figures": pair.figures()})
    write_texts(Path(args.output).parent, {Path(args.output).name: page})
