"""Data of every task in three languages, the command that measures on them, and what it reports."""

import json
from pathlib import Path

from xling_align.cli.main import main

ENGLISH = ["good morning", "red sun", "blue moon", "green day", "good night", "red moon", "blue sun", "green night"]
GERMAN = ["guten morgen", "rot sonne", "blau mond", "grün tag", "guten nacht", "rot mond", "blau sonne", "grün nacht"]
FRENCH = [
    "bonjour",
    "red bonjour",
    "blue bonjour",
    "bonjour day",
    "bonjour night",
    "bonjour moon",
    "bonjour sun",
    "bonjour",
]
TEXTS = {"en": ENGLISH, "de": GERMAN, "fr": FRENCH}
LABELS = ["day", "night"]


def task_files() -> dict[str, str]:
    """Files of every task, three languages each."""
    files = {}
    for code, texts in TEXTS.items():
        topics = [(text, LABELS[row % 2]) for row, text in enumerate(texts * 2)]
        pairs = [(text, texts[(row + row % 2) % len(texts)], row % 2) for row, text in enumerate(texts)]
        tagged = "\n\n".join(f"{text.split()[0]}\tB-PER\n{text.split()[-1]}\tO" for text in texts) + "\n"
        dated = tagged.replace("O", "B-DATE", 1)
        for split in ("train", "dev", "test"):
            files[f"sib200/{code}/{split}.tsv"] = "index_id\tcategory\ttext\n" + "".join(
                f"{row}\t{label}\t{text}\n" for row, (text, label) in enumerate(topics)
            )
            files[f"mldoc/{code}/{split}.tsv"] = "".join(f"{label}\t{text}\n" for text, label in topics)
            files[f"pawsx/{code}/{split}.tsv"] = "id\tsentence1\tsentence2\tlabel\n" + "".join(
                f"{row}\t{first}\t{second}\t{label}\n" for row, (first, second, label) in enumerate(pairs)
            )
            files[f"xnli/{code}/{split}.tsv"] = "premise\thypothesis\tlabel\n" + "".join(
                f"{first}\t{first} {row}\t{LABELS[label]}\n" for row, (first, _, label) in enumerate(pairs)
            )
            files[f"stsb/{code}/{split}.tsv"] = "sentence1\tsentence2\tscore\n" + "".join(
                f"{first}\t{second}\t{row / 2}\n" for row, (first, second, _) in enumerate(pairs)
            )
            files[f"ner/panx/{code}/{split}.conll"] = tagged
            files[f"ner/masakhaner/{code}/{split}.conll"] = dated
    for split in ("sample", "training", "test"):
        for code in ("de", "fr"):
            folder = f"bucc2018/{code}-en/{code}-en.{split}"
            files[f"{folder}.en"] = "".join(f"en-{row}\t{text}\n" for row, text in enumerate(ENGLISH))
            files[f"{folder}.{code}"] = "".join(f"{code}-{row}\t{text}\n" for row, text in enumerate(TEXTS[code][2:]))
            files[f"{folder}.gold"] = "".join(f"{code}-{row}\ten-{row + 2}\n" for row in range(6))
    files["xnli/en/train-mnli-subset.tsv"] = files["xnli/en/test.tsv"]
    files["sts17/de-en.tsv"] = files["stsb/en/test.tsv"]
    for code in ("de", "fr"):
        own = TEXTS[code]
        files[f"tatoeba/{code}-en.en"] = "\n".join(ENGLISH[:7]) + "\n"
        files[f"tatoeba/{code}-en.{code}"] = "\n".join(own[:7]) + "\n"
        files[f"lexicon/{code}-en.tsv"] = "".join(
            f"{one.split()[0]}\t{other.split()[0]}\ttest\n" for one, other in zip(ENGLISH, own, strict=True)
        )
        for split in ("dev", "test"):
            files[f"wordalign/{code}-en/{split}.en"] = "\n".join(ENGLISH) + "\n"
            files[f"wordalign/{code}-en/{split}.{code}"] = "\n".join(own) + "\n"
            files[f"wordalign/{code}-en/{split}.align"] = "0-0\n" * len(own)
    return files


def evaluate(root: Path, output: Path, *more: str) -> dict:
    flags = ["--model", str(root / "plain"), "--data_dir", str(root / "data"), "--output", str(output), *more]
    assert main(["eval", *flags]) == 0
    return json.loads((output / "results.json").read_text(encoding="utf-8"))


def task_of(report: dict, name: str) -> dict:
    return next(task for task in report["tasks"] if task["name"] == name)
