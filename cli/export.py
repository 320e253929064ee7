"""`xling export MODEL FOLDER`: a plain encoder with Pooling and Normalize, which needs no trust_remote_code."""

import argparse
import tempfile
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("model", help="folder or Hub id of an aligned model")
    parser.add_argument("folder", help="folder to write; it must not exist, or be empty")
    parser.add_argument("--tower", choices=("target", "source"), default="target", help="of a dual encoder")
    parser.add_argument("--texts", help="language<TAB>text lines to measure on; MODEL/phrases.tsv if there")


def run(args: argparse.Namespace) -> None:
    """Export, and print how far the vectors moved."""
    from xling_align.cli.models import by_language, check_languages, load_aligned, quiet, read_rows
    from xling_align.modeling_xling import InputError, load_tokenizer

    quiet()
    folder = Path(args.folder)
    if folder.is_symlink() or folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there already and not an empty folder; name a new one")
    model, tokenizer = load_aligned(args.model), load_tokenizer(args.model)
    phrases = Path(args.texts or Path(args.model) / "phrases.tsv")
    texts = by_language(read_rows(phrases)) if args.texts or phrases.is_file() else {}
    check_languages(model.config, texts)
    target = folder.resolve()  # has a name where `folder` is "."
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as partial:
            written = Path(partial) / target.name
            distance = model.export_stock(written, tokenizer, texts, args.tower)
            target.mkdir(exist_ok=True)
            for path in written.iterdir():
                path.rename(target / path.name)
    except OSError as error:
        raise InputError(f"{folder} can't be written ({error.strerror}); name another folder") from error
    print(f"{folder} loads with SentenceTransformer({str(folder)!r}), no flag needed")
    if distance["texts"]:
        print(
            f"cosine to the full model over {distance['texts']} texts: "
            f"mean {distance['mean_cosine']:.4f}, smallest {distance['min_cosine']:.4f}"
        )
    else:
        print("how far its vectors are from the full model's was not measured; --texts FILE measures it")
