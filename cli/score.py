"""`xling score FILE --model M --output OUT`: cosine and ratio margin of given translation pairs."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("file", help="pairs: a file or folder of any format that align reads, or a Hub dataset id")
    parser.add_argument("--model", required=True, help="folder or Hub id of an aligned model, or of any encoder")
    parser.add_argument("--output", required=True, help=".jsonl or .parquet file")
    parser.add_argument("--source_language", help="language of the source side, where the file does not name it")
    parser.add_argument("--target_language", nargs="+", help="languages of the target side")
    parser.add_argument("--columns", nargs="+", default=[], metavar="ROLE=NAME", help="such as source=english")
    parser.add_argument("--config", help="of a Hub dataset")
    parser.add_argument("--split", help="of a Hub dataset")
    parser.add_argument("--revision", help="of a Hub dataset")
    parser.add_argument("--score", default="margin", help="what the column score holds: margin (default) or cosine")
    parser.add_argument("--block", type=int, default=20_000, help="pairs that are held against one another")
    parser.add_argument("--k", type=int, default=4, help="neighbours that a cosine is held against (default 4)")
    parser.add_argument("--batch_size", type=int, default=128, help="texts in a forward pass (default 128)")


def run(args: argparse.Namespace) -> None:
    """Score, write, and print the middle and the edges of both scores."""
    from xling_align.cli.models import quiet, text_encoder
    from xling_align.modeling_xling import InputError
    from xling_align.trainers.arguments import check_at_least, check_choice
    from xling_align.trainers.data.identification import not_swapped
    from xling_align.trainers.data.readers import ReadReport, read_pairs
    from xling_align.trainers.programs import log_to_screen
    from xling_align.trainers.score import OUTPUTS, SCORES, scored, write_scored

    quiet()
    log_to_screen(True)
    check_choice("score", args.score, SCORES)
    check_at_least(1, k=args.k, batch_size=args.batch_size)
    check_at_least(2, block=args.block)
    output, report = Path(args.output), ReadReport()
    if output.suffix not in OUTPUTS:
        raise InputError(f"--output {output} must end in {' or '.join(OUTPUTS)}")
    if output.exists() and Path(args.file).exists() and output.samefile(args.file):
        raise InputError(f"--output {output} is the file to score; name another")
    columns = dict(column.partition("=")[::2] for column in args.columns)
    hub = {name: getattr(args, name) for name in ("config", "split", "revision")}
    pairs = read_pairs(args.file, args.source_language, args.target_language, columns, report, **hub)
    pairs = not_swapped(pairs, args.file)
    blocks = scored(pairs, text_encoder(args.model, args.batch_size), args.score, args.block, args.k)
    cosines, margins = write_scored(blocks, output).T
    print(f"{report}; scored to {output}")
    for name, values in (("cosine", cosines), ("margin", margins)):
        low, middle, high = (float(value) for value in _quantiles(values))
        print(f"{name}: median {middle:.3f}, nine in ten between {low:.3f} and {high:.3f}")


def _quantiles(values):
    import numpy as np

    return np.quantile(values, (0.05, 0.5, 0.95))
