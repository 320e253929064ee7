"""The `xling` command: finds the sub-command's file, hands it the arguments, and turns bad input into one line."""

import argparse
import difflib
import importlib
import os
import sys
from importlib.metadata import version
from typing import NoReturn

COMMANDS = {
    "demo": "align a small encoder on real text in fourteen languages and measure it",
    "align": "align an encoder on translation pairs: xling align RECIPE.yaml --flag value",
    "pretrain": "train an encoder by masked language modelling: xling pretrain RECIPE.yaml --flag value",
    "tokenizer": "train a tokenizer on any scripts",
    "finetune": "fine-tune on one language's labels: xling finetune RECIPE.yaml --flag value",
    "ablate": "train and measure a recipe with parts of it taken out, and other recipes beside it",
    "eval": "measure encoders side by side on all tasks that there are data for",
    "preflight": "measure what a model makes of languages, and recommend what to do about each",
    "adapt": "add languages to an aligned model, from plain text or pairs, and keep those that it has",
    "self_train": "align on pairs mined from plain text, round by round: xling self_train RECIPE.yaml --flag value",
    "mine": "find translation pairs in two files of sentences that are not known to correspond",
    "score": "give translation pairs a cosine and a ratio margin by a frozen encoder",
    "info": "describe a model: encoder, languages, sizes, files",
    "explain": "show which words of two sentences a model takes for each other",
    "classify": "give texts of any language labels by the labels' names alone",
    "search": "find the nearest phrases in other languages",
    "export": "write a plain encoder that loads without trust_remote_code",
    "push": "put a model on the Hub, with a card",
}
PROGRAMS = {  # their flags are those of their dataclasses
    "align": "trainers.align",
    "finetune": "cli.finetune",
    "pretrain": "trainers.pretrain",
    "self_train": "trainers.self_train",
}


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` whose errors take one line."""

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with code 2."""
        raise SystemExit(fail(f"{message} (see {self.prog} --help)"))


def fail(message: str) -> int:
    """Print one line on standard error; the exit code for bad input is returned."""
    print(f"error: {' '.join(message.splitlines())}", file=sys.stderr)
    return 2


def overview() -> str:
    """What `xling --help` prints."""
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:{width}}{text}" for name, text in COMMANDS.items()]
    return "usage: xling COMMAND ...\n\n" + "\n".join(lines) + "\n\nxling COMMAND --help describes a command."


def main(argv: list[str] | None = None) -> int:
    """Run one sub-command.

    Args:
        argv: The command line without the program; `sys.argv` unless given.

    Returns:
        The exit code: 0, 2 for bad input, 130 when interrupted.
    """
    try:
        try:
            code = dispatch(list(sys.argv[1:] if argv is None else argv))
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader went away; what is still buffered must not fail again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def dispatch(argv: list[str]) -> int:
    """Answer `--help` and `--version`, or run the sub-command that is named first."""
    if not argv or argv[0] in ("-h", "--help"):
        print(overview())
    elif argv[0] == "--version":
        print(f"xling-align {version('xling-align')}")
    elif argv[0] in COMMANDS:
        run(argv[0], argv[1:])
    else:
        close = difflib.get_close_matches(argv[0], COMMANDS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return fail(f"xling has no command {argv[0]!r}{hint} (commands: {', '.join(COMMANDS)})")
    return 0


def run(name: str, argv: list[str]) -> None:
    """Run a sub-command with its arguments.

    Args:
        name: Which.
        argv: Its arguments.

    Raises:
        SystemExit: Bad input, with code 2 and one line on standard error.
    """
    if name in PROGRAMS:
        importlib.import_module(f"xling_align.{PROGRAMS[name]}").main(argv)
        return
    command = importlib.import_module(f"xling_align.cli.{name}")
    parser = Parser(prog=f"xling {name}", description=COMMANDS[name])
    command.add_arguments(parser)
    arguments, arguments.flags = parser.parse_known_args(argv)
    if arguments.flags and not getattr(command, "TAKES_FLAGS", False):
        parser.error(f"unrecognized arguments: {' '.join(arguments.flags)}")
    from xling_align.modeling_xling import InputError

    try:
        command.run(arguments)
    except (InputError, FloatingPointError) as error:  # a loss that is not finite comes from the settings
        raise SystemExit(fail(str(error))) from None


if __name__ == "__main__":
    raise SystemExit(main())
