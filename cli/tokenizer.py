"""`xling tokenizer`: train a tokenizer on the texts of translation pairs or of plain files."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--output_dir", required=True, help="folder for the tokenizer")
    parser.add_argument("--vocab_size", type=int, default=30_000, help="pieces, special tokens included")
    parser.add_argument("--max_length", type=int, default=512, help="longest text in tokens")
    parser.add_argument("--lowercase", action="store_true", help="fold the case of all text")
    parser.add_argument("--text_file", nargs="+", help="plain text files, a sentence a line")
    parser.add_argument("--train_file", nargs="+", help="files of translation pairs, of any format that align reads")
    parser.add_argument("--data_dir", help="a folder with parallel/<corpus>/<xx>-en.tsv[.gz]")
    parser.add_argument("--corpora", nargs="+", help="which corpora of --data_dir")
    parser.add_argument("--languages", nargs="+", help="which target languages")


def run(args: argparse.Namespace) -> None:
    """Train and save the tokenizer, and print how it splits."""
    from xling_align.trainers.arguments import DataArguments
    from xling_align.trainers.pretrain import single_texts
    from xling_align.trainers.programs import check_writable
    from xling_align.trainers.tokenizer import train_tokenizer

    check_writable(args.output_dir)
    names = ("text_file", "train_file", "data_dir", "corpora", "languages")
    texts = single_texts(DataArguments(**{name: getattr(args, name) for name in names}))
    tokenizer = train_tokenizer(texts, args.vocab_size, args.max_length, args.lowercase)
    tokenizer.save_pretrained(args.output_dir)
    sample = texts[:: max(len(texts) // 1000, 1)]
    tokens, words = sum(map(len, tokenizer(sample)["input_ids"])), sum(len(text.split()) for text in sample)
    print(
        f"{len(tokenizer):,} pieces from {len(texts):,} texts; {tokens / words:.2f} tokens a word over {len(sample)}"
    )
    print(f"saved to {args.output_dir}")
