"""`xling preflight` on a tiny model: table, JSON, bad input."""

import itertools
import json

import pytest
import torch

from tests.conftest import LANGUAGES, make_tokenizer
from xling_align.cli.main import main
from xling_align.modeling_xling import XLingAlignModel

PAIRS = list(
    zip(
        *(
            [" ".join(words) for words in itertools.permutations(texts.split(), 3)]
            for texts in ("good morning night day sun", "guten morgen nacht tag sonne")
        ),
        strict=True,
    )
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, encoder_folders):
    root = tmp_path_factory.mktemp("preflight")
    torch.manual_seed(0)
    model = XLingAlignModel.from_encoder(encoder_folders["bert"], LANGUAGES)
    model.save_pretrained(root / "model", tokenizer=make_tokenizer())
    rows = [f"{english}\t{german}" for english, german in [*PAIRS, *PAIRS[:5]]]
    for path in (root / "de.tsv", root / "data" / "parallel" / "tiny" / "de-en.tsv"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(rows) + "\n")
    (root / "fr.txt").write_text("\n".join(f"bonjour {german}" for _, german in PAIRS) + "\n")
    (root / "en.txt").write_text("\n".join(english for english, _ in PAIRS) + "\n")
    (root / "empty.txt").write_text("")
    (root / "de.txt").write_text("guten tag\n" * 50)
    russian = [f"доброе утро и солнце {number}" for number in range(30)]
    (root / "swapped").mkdir()
    (root / "swapped" / "en.txt").write_text("\n".join(russian), encoding="utf-8")
    (root / "swapped" / "ru.txt").write_text("\n".join(english for english, _ in PAIRS), encoding="utf-8")
    (root / "swapped" / "plain.tsv").write_text("sun\tsonne\n")
    rows = [f"{text}\t{english}" for text, (english, _) in zip(russian, PAIRS, strict=False)]
    (root / "ru.tsv").write_text("\n".join(rows), encoding="utf-8")
    return root


def measured(folder, tmp_path, *words: str) -> dict:
    output = tmp_path / "out.json"
    assert main(["preflight", "--model", str(folder / "model"), *words, "--output", str(output)]) == 0
    return json.loads(output.read_text())["languages"]


def test_pairs_from_a_folder_are_measured_and_told(folder, tmp_path, capsys):
    found = measured(folder, tmp_path, "--languages", "de", "--data_dir", str(folder / "data"))
    assert found["de"]["pairs"] == len(PAIRS) == found["de"]["sentences"]
    assert 0 <= found["de"]["forward"] <= 1 and found["de"]["unknown"] == 0
    screen = capsys.readouterr().out
    assert "source finds" in screen and f"de: {found['de']['actions'][0]} (" in screen


def test_plain_text_serves_where_there_are_no_pairs(folder, tmp_path, capsys):
    files = [str(folder / name) for name in ("fr.txt", "en.txt", "de.tsv")]
    found = measured(folder, tmp_path, "--languages", "fr,de", "--texts", *files, "--sentences", "30")
    assert list(found) == ["fr", "de"] and found["de"]["sentences"] == 30
    assert found["fr"]["actions"] == ["mine first"] and found["fr"]["forward"] is None and found["fr"]["offset"] > 0
    assert "   -" in capsys.readouterr().out


def test_any_encoder_can_be_looked_at(folder, tmp_path, encoder_folders):
    words = ["--languages", "de", "--texts", str(folder / "de.tsv"), "--output", str(tmp_path / "out.json")]
    assert main(["preflight", "--model", encoder_folders["xlm-roberta"], *words]) == 0


BAD = {
    "no texts": ("--languages de", ["--texts", "--data_dir"]),
    "no sentences of a language": ("--languages de,fr --texts {de.tsv}", ["'fr'", "fr.txt"]),
    "the source language": ("--languages en --texts {en.txt}", ["'en'", "other than"]),
    "no code": ("--languages German! --texts {de.tsv}", ["German!", "ISO 639"]),
    "text of another language": ("--languages de --texts {fr.txt}", ["fr.txt", "xx.txt"]),
    "empty text": ("--languages de --texts {empty.txt}", ["empty.txt"]),
    "no sentences asked for": ("--languages de --texts {de.tsv} --sentences 0", ["--sentences is 0", "at least 1"]),
    "no such text": ("--languages pl --texts {pl.txt}", ["pl.txt", "no file"]),
    "one sentence many times": ("--languages de --texts {de.txt}", ["de: 1 sentences"]),
    "sides swapped": ("--languages ru --texts {ru.tsv}", ["source side", "ru.tsv looks like 'ru'", "swap"]),
    "pairs of no language that is told": ("--languages de,fr --texts {swapped/plain.tsv}", ["plain.tsv", "de.tsv"]),
    "texts swapped": (
        "--languages ru --texts {swapped/ru.txt} {swapped/en.txt}",
        ["the text in 'en' looks like 'ru'", "swap the names"],
    ),
    "unknown source language": (
        "--languages de --texts {de.tsv} --source_language pl",
        ["'pl'", "en, de, fr"],
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(name, folder, tmp_path, capsys):
    flags, expected = BAD[name]
    words = [str(folder / word[1:-1]) if word[0] == "{" else word for word in flags.split()]
    with pytest.raises(SystemExit) as stop:
        main(["preflight", "--model", str(folder / "model"), *words, "--output", str(tmp_path / "out.json")])
    errors = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and len(errors) == 1
    for word in expected:
        assert word in errors[0]
    assert not list(tmp_path.iterdir())
