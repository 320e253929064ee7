"""`xling preflight --model M --languages de,ta --data_dir D`: what to do about each language before any training."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xling_align.eval.preflight import Sample

COLUMNS = {
    "pairs": ",d",
    "tokens_per_word": ".2f",
    "premium": ".2f",
    "unknown": ".1%",
    "forward": ".1%",
    "backward": ".1%",
    "leakage": ".1%",
    "offset": ".2f",
    "hubness": ".2f",
    "isomorphism": ".2f",
}
HEADS = {"forward": "source finds", "backward": "is found", "tokens_per_word": "tokens/word"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--model", required=True, help="folder or Hub id of an aligned model, or of any encoder")
    parser.add_argument("--languages", required=True, help="codes with commas: de,ta")
    parser.add_argument("--data_dir", help="a folder with parallel/<corpus>/<xx>-en.tsv[.gz]")
    parser.add_argument("--corpora", nargs="+", help="which corpora of --data_dir")
    parser.add_argument(
        "--texts",
        type=Path,
        nargs="+",
        default=[],
        help="xx.txt for plain sentences of language xx; xx.tsv, .jsonl, .parquet, .tmx for pairs",
    )
    parser.add_argument("--source_language", default="en", help="language that the others are aligned to (default en)")
    parser.add_argument("--sentences", type=int, default=300, help="sentences of each language (default 300)")
    parser.add_argument("--output", default="preflight.json", help="JSON file (default preflight.json)")


def run(args: argparse.Namespace) -> None:
    """Measure, print a table and the reasons, write JSON."""
    from xling_align.cli.models import check_languages, quiet, text_encoder
    from xling_align.eval.preflight import preflight
    from xling_align.modeling_xling import InputError, XLingAlignConfig
    from xling_align.trainers.checks import check_at_least
    from xling_align.trainers.data.pairs import Languages
    from xling_align.trainers.programs import check_writable

    quiet()
    check_at_least(1, sentences=args.sentences)
    codes = list(dict.fromkeys(code.strip() for code in args.languages.split(",") if code.strip()))
    Languages("languages", codes)
    Languages("source_language", args.source_language)
    if not codes or args.source_language in codes:
        raise InputError(
            f"--languages {args.languages!r} must name languages other than {args.source_language!r}, such as de,ta"
        )
    samples = samples_of(args, codes)
    source_texts = samples.pop(args.source_language, None)
    encoder = text_encoder(args.model)
    config = encoder.model.config
    known = config.languages if isinstance(config, XLingAlignConfig) else None
    if known is not None:
        check_languages(config, [args.source_language])
    plain = source_texts.texts if source_texts else None
    output = Path(args.output)
    check_writable(str(output.parent))
    found = preflight(encoder, encoder.tokenizer, samples, args.source_language, plain, known)
    output.write_text(json.dumps({"model": args.model, "languages": found}, indent=2) + "\n", encoding="utf-8")
    print(table(found))
    for code, figures in found.items():
        print(f"{code}: {', '.join(figures['actions'])} ({'; '.join(figures['reasons'])})")
    print(f"figures in {output}")


def samples_of(args: argparse.Namespace, codes: list[str]) -> "dict[str, Sample]":
    """A sample of every language, and of the source language where it has a file of its own.

    Args:
        args: The flags.
        codes: The languages.

    Returns:
        Samples by language.

    Raises:
        InputError: There is no text, a language has none, or two languages' texts are swapped.
    """
    from xling_align.eval.preflight import Sample
    from xling_align.modeling_xling import InputError
    from xling_align.trainers.data.identification import check_not_swapped, identify

    if not args.texts and not args.data_dir:
        raise InputError("there are no sentences; give --texts xx.txt ... or --data_dir FOLDER")
    pairs: dict[str, dict[int, tuple[str, str]]] = {}  # by meaning
    for row in pair_rows(args, codes):
        pairs.setdefault(row["target_language"], {}).setdefault(row["pair_id"], (row["source"], row["target"]))
    found = {}
    for code, rows in pairs.items():
        texts = {target: source for source, target in rows.values()}  # one row for each text, too
        chosen = drawn(list(texts.items()), args.sentences)
        found[code] = Sample([target for target, _ in chosen], [source for _, source in chosen], len(texts))
    for path in filter(is_plain, args.texts):
        code = path.name.partition(".")[0]
        if code not in (*codes, args.source_language):
            raise InputError(
                f"{path} is named after no language of --languages; name it xx.txt, such as {codes[0]}.txt"
            )
        if code not in found:
            found[code] = Sample(drawn(sentences(path), args.sentences))
    for code in codes:
        if code not in found:
            raise InputError(f"there are no sentences in {code!r}; give --texts {code}.txt")
        if args.source_language in found:
            both = args.source_language, code
            told = identify(found[args.source_language].texts), identify(found[code].texts)
            names = f"the text in {args.source_language!r}", f"the text in {code!r}"
            check_not_swapped(both, told, names, "swap the names of the files")
    return {code: found[code] for code in (*codes, args.source_language) if code in found}


def is_plain(path: Path) -> bool:
    """Whether a file is plain text, by its suffix."""
    return path.name.removesuffix(".gz").endswith(".txt")


def pair_rows(args: argparse.Namespace, codes: list[str]) -> Iterator[Any]:
    """All pairs with the source language that the flags name."""
    from xling_align.trainers.data.identification import not_swapped
    from xling_align.trainers.data.readers import pairs_by_name, read_data_dir

    for path in args.texts:
        if not is_plain(path):
            yield from not_swapped(pairs_by_name(path, args.source_language, codes), path)
    if args.data_dir:
        yield from read_data_dir(args.data_dir, codes, args.corpora)


def sentences(path: Path) -> list[str]:
    """The distinct sentences of a plain text file.

    Args:
        path: The file.

    Returns:
        The sentences, as they come.
    """
    from tempfile import TemporaryDirectory

    from xling_align.trainers.checks import check_files
    from xling_align.trainers.data.sentences import Sentences

    check_files(path)
    with TemporaryDirectory() as folder:
        return list(Sentences(path, Path(folder) / "text").after(0))


def drawn(rows: list, number: int) -> list:
    """The same random part of the rows in every run."""
    import numpy as np

    return [rows[row] for row in np.random.default_rng(0).permutation(len(rows))[:number]]


def table(found: dict[str, dict[str, Any]]) -> str:
    """The figures for a reader, `-` where one can't be measured."""
    lines = [["language", *(HEADS.get(name, name) for name in COLUMNS)]]
    for code, figures in found.items():
        cells = ("-" if figures[name] is None else format(figures[name], form) for name, form in COLUMNS.items())
        lines.append([code, *cells])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
