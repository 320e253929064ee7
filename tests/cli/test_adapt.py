"""`xling adapt` on a tiny model: what it adds and keeps, going on after a stop, bad input."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel

from tests.conftest import LANGUAGES, encoder_config, make_tokenizer
from xling_align.cli.main import main
from xling_align.modeling_xling import XLingAlignModel
from xling_align.trainers import XLingAlignTrainingArguments
from xling_align.trainers.adapt import AdaptArguments, Adaptation, parted
from xling_align.trainers.data.readers import read_pairs
from xling_align.trainers.facts import read_facts
from xling_align.trainers.self_train import SelfTrainArguments

SETS = {"en": "good morning night day sun moon", "de": "guten morgen nacht tag sonne mond"}
TEXTS = {code: [" ".join(three) for three in itertools.permutations(text.split(), 3)] for code, text in SETS.items()}
SETTINGS = {"max_steps": 8, "save_steps": 2, "per_device_train_batch_size": 8, "learning_rate": 1e-3}
FLAGS = [word for name, value in SETTINGS.items() for word in (f"--{name}", str(value))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("adapt")
    torch.manual_seed(0)
    AutoModel.from_config(encoder_config("bert")).save_pretrained(root / "encoder")
    make_tokenizer().save_pretrained(root / "encoder")
    XLingAlignModel.from_encoder(str(root / "encoder"), LANGUAGES).save_pretrained(
        root / "model", tokenizer=make_tokenizer()
    )
    (root / "en.txt").write_text("\n".join(TEXTS["en"]) + "\n")
    (root / "nl.txt").write_text("\n".join(TEXTS["de"][::-1]) + "\n")
    (root / "sv.txt").write_text("\n".join(TEXTS["de"]) + "\n")
    (root / "plain.tsv").write_text("good morning\tguten morgen\n")
    (root / "empty.txt").write_text("")
    (root / "cyrillic.txt").write_text("доброе утро\nсолнце и луна\nдобрый день\n", encoding="utf-8")
    (root / "dutch.txt").write_text("hoe gaat het met je\nde zon en de maan schijnen\ngoedenacht allemaal\n")
    (root / "swedish.txt").write_text("hur mår du\nsolen och månen skiner\ngod natt allihopa\n", encoding="utf-8")
    (root / "swapped.tsv").write_text("доброе утро\tgood morning\nсолнце\tsun\nдень\tday\n", encoding="utf-8")
    rows = list(zip(TEXTS["en"], TEXTS["de"], strict=True))
    for name, code in (("replay", "de"), ("parallel", "nl"), ("other", "pl")):
        lines = [
            json.dumps({"source": source, "target": target, "source_language": "en", "target_language": code})
            for source, target in rows
        ]
        (root / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return root


def words(folder: Path, out: Path, *flags: str, **changes: str | None) -> list[str]:
    given = {"model": "model", "add_languages": "nl", "mono": "nl.txt", "replay": "replay.jsonl"} | changes
    command = ["adapt"]
    for name, value in given.items():
        texts = [] if value is None else value.split()
        values = [word if name == "add_languages" else str(folder / word) for word in texts]
        command += [f"--{name}", *values] if values else []
    mining = ["--rounds", "1"] if given.get("source_mono") else []
    return [*command, "--output_dir", str(out), "--held_out", "20", "--allow_unmeasured", *FLAGS, *mining, *flags]


def test_pairs_align_an_added_language(folder, tmp_path, capsys):
    before = (folder / "model" / "model.safetensors").read_bytes()
    main(words(folder, tmp_path, "--tolerance", "100", parallel="parallel.jsonl"))
    model = XLingAlignModel.from_pretrained(tmp_path)
    assert model.config.languages == [*LANGUAGES, "nl"]
    report = json.loads((tmp_path / "adapt.json").read_text())
    assert list(report["before"]) == ["de", "nl"] == list(report["after"])
    screen = capsys.readouterr().out
    assert f"{report['after']['nl']:8.1f}" in screen and "added" in screen
    assert report["unmeasured"] == [code for code in LANGUAGES if code not in ("en", "de")] != []
    assert all(f"{code}  not measured: too few pairs in --replay" in screen for code in report["unmeasured"])
    assert not (tmp_path / "work").exists()
    assert (folder / "model" / "model.safetensors").read_bytes() == before
    facts = read_facts(tmp_path)
    rows = {"pairs": len(TEXTS["en"])}
    single = {"pairs": "single sentences"}
    assert facts["training_data"] == {"nl.txt": single, "replay.jsonl": rows, "parallel.jsonl": rows}
    assert facts["recipe"]["lexicon_start"] is True
    assert facts["recipe"]["added_languages"] == ["nl"] and "rounds" not in facts["recipe"]
    assert str(folder) not in json.dumps(facts)


def test_what_nobody_could_measure_is_not_adapted_unless_that_is_allowed(folder, tmp_path, capsys):
    command = words(folder, tmp_path, parallel="parallel.jsonl")
    command.remove("--allow_unmeasured")
    with pytest.raises(SystemExit) as stop:
        main(command)
    missing = ", ".join(code for code in LANGUAGES if code not in ("en", "de"))
    assert stop.value.code == 2
    assert f"too few pairs of {missing} to measure what they lose: 100 of each" in capsys.readouterr().err


def test_old_languages_are_compared_with_the_model_as_it_was_given(folder, tmp_path):
    """New pieces cut texts of old languages otherwise, which is a loss as any other."""
    settings = {"model": str(folder / "model"), "add_languages": ["nl"], "mono": [str(folder / "nl.txt")]}
    pairs = {"replay": [str(folder / "replay.jsonl")], "parallel": [str(folder / "parallel.jsonl")]}
    given = AdaptArguments(**settings, **pairs, held_out=20, tolerance=100, allow_unmeasured=True)
    training = XLingAlignTrainingArguments(str(tmp_path), per_device_train_batch_size=8, max_steps=1)
    adaptation = Adaptation(given, asdict(SelfTrainArguments()), training)
    measured = []
    adaptation.measured = lambda name, when, languages: measured.append((str(name), languages)) or {}
    adaptation.run()
    assert measured[0] == (str(folder / "model"), LANGUAGES)
    assert measured[1] == (str(tmp_path / "work" / "start"), ["nl"]) and measured[2][1] == ["de", "fr", "nl"]


def test_of_few_pairs_a_fifth_is_held_out_and_of_very_few_none():
    rows = [{"pair_id": row, "target": str(row)} for row in range(200)]
    held, rest = parted(rows, 500)
    assert (
        len(held) == 40 and len(rest) == 160 and not {row["target"] for row in held} & {row["target"] for row in rest}
    )
    assert [len(side) for side in parted(rows, 30)] == [30, 170]
    assert [len(side) for side in parted(rows[:99], 500)] == [0, 99]


def test_plain_text_alone_serves(folder, tmp_path, capsys):
    main(words(folder, tmp_path, "--tolerance", "100", "--first_threshold", "0.5", source_mono="en.txt"))
    assert XLingAlignModel.from_pretrained(tmp_path).config.languages == [*LANGUAGES, "nl"]
    assert "nl  not measured" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} >= {"adapt.json", "model.safetensors", "tokenizer.json"}
    rounds = [path.name for path in sorted((tmp_path / "rounds" / "1").iterdir())]
    assert rounds == ["nl.json", "nl.parquet", "nl.rejected.parquet", "round.json"]


def test_held_out_sentences_are_not_mined_and_shares_are_kept(folder, tmp_path, caplog):
    both = {"parallel": "parallel.jsonl", "source_mono": "en.txt"}
    flags = ["--tolerance", "100", "--first_threshold", "0.5", "--replay_share", "0.75", "--rejected", "100000"]
    with caplog.at_level("INFO", logger="xling_align"):
        main(words(folder, tmp_path, *flags, **both))
    held, _ = parted(list(read_pairs(folder / "parallel.jsonl")), 20)
    mined = tmp_path / "rounds" / "1"
    rows = [row for name in ("nl", "nl.rejected") for row in pq.read_table(mined / f"{name}.parquet").to_pylist()]
    assert len(held) == 20 and len(rows) > 50
    for side in ("source", "target"):
        assert not {row[side] for row in rows} & {row[side] for row in held}
    first = rows[0]
    assert TEXTS["en"][first["source_line"] - 1] == first["source"]  # line numbers are those of the given file
    assert "training pairs: 8 mined, 48 of replay.jsonl, 8 of parallel.jsonl" in caplog.text


def test_a_language_that_lost_too_much_is_told_by_the_exit_code(folder, tmp_path, capsys):
    model = XLingAlignModel.from_pretrained(folder / "model")
    table = model.get_input_embeddings().weight.data
    english, german = (make_tokenizer().convert_tokens_to_ids(text.split()) for text in SETS.values())
    table[german] = table[english]  # nothing is lost by chance from a model that knows German well
    model.save_pretrained(folder / "aligned", tokenizer=make_tokenizer())
    flags = ["--tolerance", "0", "--learning_rate", "0.3", "--max_steps", "30"]
    with pytest.raises(SystemExit) as stop:
        main(words(folder, tmp_path, *flags, model="aligned", parallel="parallel.jsonl"))
    report = json.loads((tmp_path / "adapt.json").read_text())
    assert report["before"]["de"] > 90
    assert stop.value.code == 1 and report["lost"] == ["de"] and report["after"]["de"] < report["before"]["de"]
    assert "de lost more than 0 points; raise --replay_share" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "training"),
    [
        ({"parallel": "parallel.jsonl"}, "paired.training"),
        ({"source_mono": "en.txt"}, "rounds/rounds/1/training"),
    ],
)
def test_kill_9_and_rerun_give_the_same_weights(folder, tmp_path, given, training):
    flags = ["--tolerance", "100", "--max_steps", "20"]
    flags += ["--first_threshold", "0.5"] if "source_mono" in given else []
    arguments = words(folder, Path("out"), *flags, **given)
    program = "import sys; from xling_align.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command, environment = [sys.executable, "-c", program, *arguments], {**os.environ, "OMP_NUM_THREADS": "1"}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    subprocess.run(command, check=True, env=environment, capture_output=True, cwd=whole)
    running = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, cwd=killed)
    while not (killed / "out" / "work" / training / "checkpoint-2").exists():
        assert running.poll() is None, "the run ended before it could be killed"
        time.sleep(0.001)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not (killed / "out" / "model.safetensors").exists()
    subprocess.run(command, check=True, env=environment, capture_output=True, cwd=killed)
    one, other = (load_file(side / "out" / "model.safetensors") for side in (whole, killed))
    assert all(torch.equal(one[name], other[name]) for name in one)


BAD = {
    "adapters": ({}, ["--lora_rank", "8"], ["--lora_rank is not for xling adapt"]),
    "another wrapping": ({}, ["--pooling", "mean"], ["--pooling is not for xling adapt"]),
    "a language that is there": ({"add_languages": "de"}, (), ["has de already", "en, de, fr"]),
    "no pairs and no text of the source": ({"parallel": None}, (), ["--parallel", "--source_mono"]),
    "pairs of no added language": (
        {"add_languages": "nl sv", "mono": "nl.txt sv.txt", "parallel": "other.jsonl"},
        (),
        ["other.jsonl: no pair is in nl or sv", "leave --parallel out"],
    ),
    "mining without a text to mine in": ({}, ("--k", "3"), ["--k says how pairs are mined", "--source_mono"]),
    "languages of the texts": ({}, ("--mono_languages", "en", "nl"), ["--add_languages", "--mono_languages out"]),
    "nothing to replay": ({"replay": None}, (), ["--replay", "--data_dir"]),
    "replay of other languages": ({"replay": "other.jsonl"}, (), ["none of the model's languages", "en, de, fr"]),
    "a file too few": ({"add_languages": "nl sv"}, (), ["2 languages", "1 files"]),
    "no such text": ({"mono": "none.txt"}, (), ["none.txt", "no file"]),
    "empty text": ({"mono": "empty.txt"}, (), ["empty.txt", "no sentence"]),
    "texts swapped by name": (
        {"mono": "en.txt", "source_mono": "nl.txt"},
        (),
        ["nl.txt is named after 'nl'", "en.txt after 'en'", "swap"],
    ),
    "texts swapped by script": (
        {"add_languages": "ru", "mono": "en.txt", "source_mono": "cyrillic.txt"},
        (),
        ["cyrillic.txt looks like 'ru'", "en.txt like 'en'", "swap the files"],
    ),
    "texts of two added languages swapped by name": (
        {"add_languages": "nl sv", "mono": "sv.txt nl.txt"},
        (),
        ["sv.txt is named after 'sv'", "nl.txt after 'nl'", "swap the files"],
    ),
    "texts of two added languages swapped by script": (
        {"add_languages": "nl ru", "mono": "cyrillic.txt dutch.txt", "source_mono": "en.txt"},
        (),
        ["cyrillic.txt looks like 'ru'", "dutch.txt like 'nl'", "swap the files"],
    ),
    "texts of two added languages swapped": (
        {"add_languages": "nl sv", "mono": "swedish.txt dutch.txt"},
        (),
        ["swedish.txt looks like 'sv'", "dutch.txt like 'nl'", "swap the files"],
    ),
    "pairs swapped by script": (
        {"add_languages": "ru", "mono": "cyrillic.txt", "parallel": "swapped.tsv"},
        (),
        ["source side", "swapped.tsv looks like 'ru'", "its target side like 'en'", "swap"],
    ),
    "pairs of no language that is told": (
        {"add_languages": "nl sv", "mono": "nl.txt sv.txt", "parallel": "plain.tsv"},
        (),
        ["plain.tsv does not say which language", "such as nl.tsv, or give it columns"],
    ),
    "a plain encoder": ({"model": "encoder"}, (), ["plain encoder", "xling align"]),
    "no such model": ({"model": "none"}, (), ["none", "config.json"]),
    "no code": ({"add_languages": "Dutch!"}, (), ["Dutch!", "ISO 639"]),
    "pieces for a tokenizer that takes none": ({}, ("--new_tokens", "5"), ["WordLevel", "--new_tokens"]),
    "unknown flag": ({}, ("--learning_rat", "1"), ["learning_rat", "learning_rate"]),
    "pairs mined of no language": (
        {"source_mono": "en.txt"},
        ("--many_pairs", "100"),
        ["100 pairs or more", "--source_mono", "--many_pairs"],
    ),
    "no steps": ({}, ("--max_steps", "0"), ["--max_steps"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(name, folder, tmp_path, capsys):
    change, flags, expected = BAD[name]
    with pytest.raises(SystemExit) as stop:
        main(words(folder, tmp_path / "out", *flags, **{"parallel": "parallel.jsonl", **change}))
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert stop.value.code == 2 and len(errors) == 1
    for word in expected:
        assert word in errors[0]
    assert not list((tmp_path / "out").rglob("*"))


@pytest.mark.parametrize("changed", ["nl.txt", "parallel.jsonl", "data/parallel/own/fr-en.tsv"])
def test_other_contents_of_the_same_files_are_refused(folder, tmp_path, capsys, changed):
    root, out = tmp_path / "inputs", tmp_path / "out"
    shutil.copytree(folder, root)
    (root / "data" / "parallel" / "own").mkdir(parents=True)
    corpus = "".join(f"{text}\tbonjour {text}\n" for text in TEXTS["en"])
    (root / "data" / "parallel" / "own" / "fr-en.tsv").write_text(corpus)
    command = words(root, out, "--tolerance", "100", parallel="parallel.jsonl", data_dir="data")
    main(command)
    main(command)  # as it was: only tells again
    before = (out / "adapt.json").read_bytes()
    path = root / changed
    path.write_text(path.read_text().replace("nacht", "abend").replace("night", "evening"))
    with pytest.raises(SystemExit) as stop:
        main(command)
    assert stop.value.code == 2 and f"other settings (contents of {path} " in capsys.readouterr().err
    assert (out / "adapt.json").read_bytes() == before


def test_another_text_is_another_setting(folder, tmp_path, capsys):
    main(words(folder, tmp_path, "--tolerance", "100", parallel="parallel.jsonl"))
    with pytest.raises(SystemExit) as stop:
        main(words(folder, tmp_path, "--tolerance", "100", parallel="parallel.jsonl", mono="sv.txt"))
    said = capsys.readouterr().err
    assert stop.value.code == 2 and f"mono ['{folder / 'nl.txt'}'], now ['{folder / 'sv.txt'}']" in said


def test_without_faiss_it_is_told_before_anything_is_done(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(SystemExit) as stop:
        main(words(folder, tmp_path / "out", parallel="parallel.jsonl", source_mono="en.txt"))
    assert stop.value.code == 2 and "FAISS" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_model_itself_is_no_place_for_the_result(folder, capsys):
    with pytest.raises(SystemExit):
        main(words(folder, folder / "model", parallel="parallel.jsonl"))
    assert "is the model itself" in capsys.readouterr().err
