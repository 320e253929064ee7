"""`xling adapt --model M --add_languages xx --mono xx.txt ...`: more languages for an aligned model."""

import argparse
import sys
from typing import Any

TAKES_FLAGS = True  # those that it does not know are those of self_train: training, and how pairs are mined


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--model", required=True, help="folder or Hub id of an aligned model; it is only read")
    parser.add_argument("--add_languages", nargs="+", required=True, help="codes of the languages to add")
    parser.add_argument("--mono", nargs="+", required=True, help="a text file for each of them, a sentence a line")
    parser.add_argument("--parallel", nargs="+", help="files of pairs with the source language, if there are any")
    parser.add_argument("--source_mono", help="text of the source language, to mine pairs from")
    parser.add_argument("--replay", nargs="+", help="files of pairs of the languages that the model has")
    parser.add_argument("--data_dir", help="a folder of such pairs: parallel/<corpus>/<xx>-en.tsv[.gz]")
    parser.add_argument("--corpora", nargs="+", help="which corpora of --data_dir")
    parser.add_argument(
        "--replay_share", type=float, default=0.5, help="share of these pairs in training (default 0.5)"
    )
    parser.add_argument(
        "--replay_pairs", type=int, default=60_000, help="most of them, drawn at random (default 60,000)"
    )
    parser.add_argument("--new_tokens", type=int, default=0, help="pieces to add to the vocabulary (default none)")
    parser.add_argument("--held_out", type=int, default=500, help="pairs of a language to measure on (default 500)")
    parser.add_argument(
        "--tolerance", type=float, default=3.0, help="points of retrieval that a language may lose (default 3)"
    )
    parser.add_argument(
        "--allow_unmeasured", action="store_true", help="go on where a language has too few pairs to measure it"
    )
    parser.add_argument("--output_dir", required=True, help="folder for the new model; a rerun goes on here")


def run(args: argparse.Namespace) -> None:
    """Adapt, and print retrieval before and after; exit code 1 where a language lost too much."""
    from dataclasses import asdict

    from xling_align.cli.models import load_config, quiet
    from xling_align.modeling_xling import InputError
    from xling_align.trainers.adapt import AdaptArguments, Adaptation
    from xling_align.trainers.arguments import ModelArguments, XLingAlignTrainingArguments, parse
    from xling_align.trainers.programs import check_writable, log_to_screen
    from xling_align.trainers.self_train import SelfTrainArguments

    quiet()
    log_to_screen(True)
    given = {name: value for name, value in vars(args).items() if name not in ("flags", "output_dir")}
    flags = ["low_resource", *args.flags, "--output_dir", args.output_dir]
    kinds = (SelfTrainArguments, ModelArguments, XLingAlignTrainingArguments)
    rounds, model, training = parse(flags, *kinds, program="xling adapt")
    recipe = parse(["low_resource", "--output_dir", args.output_dir], *kinds, program="xling adapt")
    mining, wrapping = changed(rounds, recipe[0]), changed(model, recipe[1])
    if wrapping:
        raise InputError(f"--{wrapping[0]} is not for xling adapt, which goes on from --model as it is; leave it out")
    if "mono_languages" in mining:
        raise InputError("--mono is in the languages of --add_languages; leave --mono_languages out")
    if not args.source_mono and (unread := set(mining) - {"average_decay"}):
        raise InputError(f"--{min(unread)} says how pairs are mined; give --source_mono to mine any, or leave it out")
    load_config(args.model)
    adaptation = Adaptation(AdaptArguments(**given), asdict(rounds), training)
    check_writable(args.output_dir)
    result = adaptation.run()
    print(table(result, args.add_languages))
    if result["lost"]:
        reason = f"{', '.join(result['lost'])} lost more than {result['tolerance']:g} points"
        print(f"{reason}; raise --replay_share, or lower --learning_rate or --max_steps", file=sys.stderr)
        raise SystemExit(1)


def changed(given: Any, recipe: Any) -> list[str]:
    """Names of the arguments that are not as the recipe has them."""
    return [name for name, value in vars(recipe).items() if getattr(given, name) != value]


def table(result: dict[str, Any], added: list[str]) -> str:
    """Retrieval of held-out pairs by language, in %; every language but the source is named."""
    lines = [f"{'language':>10}{'before':>8}{'after':>8}{'change':>8}"]
    for code, before in result["before"].items():
        after = result["after"][code]
        note = "  added" if code in added else "  lost" if code in result["lost"] else ""
        lines.append(f"{code:>10}{before:8.1f}{after:8.1f}{after - before:+8.1f}{note}")
    for code in result["unmeasured"]:
        files = "--parallel" if code in added else "--replay"
        lines.append(f"{code:>10}  not measured: too few pairs in {files} to hold any out")
    return "\n".join(lines)
