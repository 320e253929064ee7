"""`xling finetune --test_files`: scores in other languages, of every kind of label and seed, and bad input."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

from tests.trainers.test_finetune import pairs, tagged, texts
from tests.trainers.test_finetune_program import outputs, refused
from xling_align.cli.finetune import main, table
from xling_align.modeling_xling import load_tokenizer

GERMAN = {"good": "guten", "morning": "morgen", "day": "tag", "sun": "sonne", "moon": "mond", "night": "nacht"}
TRANSLATED = ("text", "text_pair", "tokens")


def german(value):
    """Rows, texts or words in German, as far as the dictionary goes."""
    if isinstance(value, list):
        return [german(each) for each in value]
    if isinstance(value, dict):
        return {name: german(part) if name in TRANSLATED else part for name, part in value.items()}
    return " ".join(GERMAN.get(word, word) for word in value.split())


def plain(rows: list[dict]) -> list[dict]:
    return [{name: part for name, part in row.items() if name != "language"} for row in rows]


@pytest.fixture
def command(encoder_folders, tmp_path):
    """Writes rows to files and gives the flags to fine-tune on them and to score the tests."""

    def write(name: str, rows: list[dict]) -> str:
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return str(path)

    def flags(task: str, rows: list[dict], tests: dict[str, list[dict]], *more: str) -> list[str]:
        files = [f"{code}={write(code, plain(test))}" for code, test in tests.items()]
        settings = {"num_train_epochs": 2, "learning_rate": 3e-3, "per_device_train_batch_size": 8}
        own = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        given = ["--model", encoder_folders["bert"], "--task", task, "--train_file", write("train", plain(rows))]
        return [*given, *own, "--disable_tqdm", "true", "--bf16", "false", "--test_files", *files, *more]

    return flags


def scores(folder: Path) -> dict:
    return json.loads((folder / "test_scores.json").read_text(encoding="utf-8"))


def answers(folder: Path, *given: str | list[str], words: bool = False) -> np.ndarray:
    """What the saved model answers to one text, pair or sentence, read without the code under test."""
    kind = AutoModelForTokenClassification if words else AutoModelForSequenceClassification
    tokens = load_tokenizer(str(folder))(*given, is_split_into_words=words, return_tensors="pt")
    best = kind.from_pretrained(folder).eval()(**tokens).logits.argmax(-1)[0].numpy()
    if not words:
        return best
    places = tokens.word_ids(0)
    return np.array([best[places.index(word)] for word in range(len(given[0]))])


def test_texts_are_scored_in_every_language_and_seed_without_training_again(command, tmp_path, capsys):
    out, seeds = tmp_path / "out", ["--seeds", "2", "--output_dir", str(tmp_path / "out")]
    flags = command("sequence", texts(), {"en": texts(), "de": german(texts())}, *seeds)
    main([*flags[: flags.index("--test_files")], *seeds])
    trained = outputs(out)
    capsys.readouterr()
    main(flags)
    assert trained.items() <= outputs(out).items()
    folders = [out / "seed-42", out / "seed-43"]
    gold = [int(row["label"] == "light") for row in texts()]
    expected = {
        code: [
            f1_score(gold, [answers(folder, row["text"]) for row in rows], average="macro", labels=[0, 1])
            for folder in folders
        ]
        for code, rows in (("en", texts()), ("de", german(texts())))
    }
    found = scores(out)
    assert found["languages"] == {code: pytest.approx(np.mean(values)) for code, values in expected.items()}
    assert [run["languages"]["de"] for run in found["runs"]] == pytest.approx(expected["de"])
    gap = np.mean(expected["en"]) - np.mean(expected["de"])
    printed = capsys.readouterr().out
    assert f"gap {100 * gap:.1f}, over 2 seeds" in printed
    assert f"| en | {100 * np.mean(expected['en']):.1f} | {100 * np.std(expected['en'], ddof=1):.1f} |" in printed


def test_a_test_of_one_label_is_scored_whatever_is_answered(command, tmp_path):
    one = [row for row in german(pairs()) if row["label"] == 0][:3]
    main(command("pair", pairs(), {"de": one}, "--output_dir", str(tmp_path / "out")))
    right = [answers(tmp_path / "out", row["text"], row["text_pair"]) == 0 for row in one]
    assert scores(tmp_path / "out")["languages"] == {"de": pytest.approx(np.mean(right))}


def test_types_of_entities_that_training_lacked_are_left_out_and_named(command, tmp_path, capsys):
    dated = [{"tokens": ["rot", "mond"], "tags": ["B-DATE", "O"]}]
    main(command("token", tagged(), {"en": tagged(), "de": dated}, "--output_dir", str(tmp_path / "out")))
    assert "Left out, since the training labels lack them: DATE" in capsys.readouterr().out
    assert scores(tmp_path / "out")["metric"] == "f1"


def test_tags_that_are_not_of_entities_count_word_by_word(command, tmp_path):
    rows = [{**row, "tags": ["NOUN" if word == "day" else "ADJ" for word in row["tokens"]]} for row in tagged()]
    main(command("token", rows, {"de": german(rows)}, "--output_dir", str(tmp_path / "out")))
    gold = [int(tag == "NOUN") for row in rows for tag in row["tags"]]
    found = np.concatenate([answers(tmp_path / "out", row["tokens"], words=True) for row in german(rows)])
    result = scores(tmp_path / "out")
    assert result["languages"]["de"] == pytest.approx(f1_score(gold, found, average="macro"))
    assert result["details"]["de"]["accuracy"] == pytest.approx(np.mean(found == gold))


def test_a_single_run_shows_no_deviation_and_a_single_language_no_gap():
    run = {"languages": {"de": 0.5}}
    found = {"metric": "accuracy", "runs": [run], "languages": {"de": 0.5}, "score": 0.5, "gap": None}
    assert table(found) == "| language | accuracy |\n| --- | ---: |\n| de | 50.0 |\n\nMean 50.0"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["de"], "--test_files 'de' must be code=FILE"),
        (["de=train.tsv", "de=train.tsv"], "each code once"),
        (["de=none.tsv"], "there is no 'none.tsv'"),
        (["de=train.tsv", "fr=other.tsv"], "other.tsv, row 3: label 'grey' is not one of the training labels"),
        (["de=empty.tsv"], "empty.tsv is empty"),
    ],
)
def test_a_bad_test_file_is_refused_before_training(encoder_folders, tmp_path, monkeypatch, capsys, files, message):
    monkeypatch.chdir(tmp_path)
    rows = {"train": "sun\tlight\nmoon\tdark\n", "other": "sun\tlight\nmoon\tgrey\n", "empty": ""}
    for name, text in rows.items():
        (tmp_path / f"{name}.tsv").write_text(f"text\tlabel\n{text}")
    flags = ["--model", encoder_folders["bert"], "--train_file", "train.tsv", "--test_files", *files]
    assert message in refused(flags, capsys, main)
    assert not (tmp_path / "outputs").exists()
