"""`xling mine --source en.txt --target xx.txt --model M ...`: translation pairs from two files of sentences."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--source", required=True, help="text file, a sentence a line, also with .gz")
    parser.add_argument("--target", required=True, help="text file of another language")
    parser.add_argument("--source_language", required=True, help="code of the language of --source")
    parser.add_argument("--target_language", required=True, help="code of the language of --target")
    parser.add_argument("--model", required=True, help="folder or Hub id of an aligned model, or of any encoder")
    parser.add_argument("--output", required=True, help="Parquet file; .json and .rejected.parquet go beside it")
    parser.add_argument("--source_documents", help="a document id for each line of --source: pairs within documents")
    parser.add_argument("--target_documents", help="a document id for each line of --target")
    parser.add_argument("--k", type=int, default=4, help="neighbours that a cosine is held against (default 4)")
    parser.add_argument("--threshold", type=float, default=1.06, help="smallest ratio margin (default 1.06)")
    parser.add_argument(
        "--selection",
        default="mutual",
        help="mutual: pairs that are the best of both their sentences; max: the best of all, each sentence once",
    )
    parser.add_argument(
        "--max_length_ratio", type=float, default=3.0, help="times longer or shorter than usual (default 3)"
    )
    parser.add_argument("--search", default="auto", help="exact, approximate, or auto: exact up to 200,000 sentences")
    parser.add_argument("--batch_size", type=int, default=128, help="texts in a forward pass (default 128)")
    parser.add_argument("--rejected", type=int, default=1000, help="rejected candidates kept of each reason")
    parser.add_argument("--keep_work", action="store_true", help="keep vectors and neighbours for other thresholds")


def run(args: argparse.Namespace) -> None:
    """Mine, and print what came of it."""
    from xling_align.cli.models import quiet, text_encoder
    from xling_align.trainers.arguments import check_at_least
    from xling_align.trainers.mine import MineArguments, mine
    from xling_align.trainers.programs import log_to_screen

    quiet()
    log_to_screen(True)
    check_at_least(1, batch_size=args.batch_size)
    settings = {name: value for name, value in vars(args).items() if name not in ("flags", "model", "batch_size")}
    arguments = MineArguments(**settings)
    result = mine(arguments, text_encoder(args.model, args.batch_size))
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in result["rejected"].items() if count)
    print(f"{result['pairs']:,} pairs in {args.output}; rejected: {reasons or 'none'}")
