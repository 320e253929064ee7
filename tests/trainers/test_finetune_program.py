"""The fine-tuning program: what it saves, several seeds, going on after a stop, and bad input."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForSequenceClassification

from tests.conftest import encoder_config
from tests.trainers.test_finetune import tagged, texts, translations
from xling_align.trainers import finetune as module
from xling_align.trainers.facts import read_facts
from xling_align.trainers.finetune import main


@pytest.fixture
def flags(encoder_folders, tmp_path) -> list[str]:
    """A recipe with its files."""
    lines = [f"{row['text']}\t{row['label']}" for row in texts()]
    (tmp_path / "train.tsv").write_text("\n".join(["what\tlabel", *lines, ""]))
    (tmp_path / "pairs.tsv").write_text("".join(f"{row['source']}\t{row['target']}\n" for row in translations()))
    recipe = {"task": "sequence", "columns": ["text=what"], "num_train_epochs": 2, "disable_tqdm": True}
    recipe |= {"learning_rate": 3e-3, "per_device_train_batch_size": 8, "bf16": False}
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    files = [f"--{name}_file={tmp_path}/train.tsv" for name in ("train", "dev")]
    return [str(tmp_path / "recipe.yaml"), "--model", encoder_folders["bert"], *files]


def outputs(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_folder_that_loads_is_saved(flags, tmp_path):
    main([*flags, f"--output_dir={tmp_path}/out"])
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    assert model.config.id2label == {0: "dark", 1: "light"}
    epochs = json.loads((tmp_path / "out" / "history.json").read_text())
    assert len(epochs) == 2 and all(set(epoch) == {"epoch", "loss", "dev_score"} for epoch in epochs)
    facts = read_facts(tmp_path / "out")
    assert facts["training_data"] == {"train.tsv": {"pairs": f"{len(texts())} labelled rows"}}
    assert facts["recipe"]["fine_tuning"]["language"] == "en" and facts["base_model"] is None
    assert "/" not in json.dumps(facts)  # no path of the machine


@pytest.mark.parametrize("kind", ["parallel", "mined", "folder"])
def test_pairs_from_files_are_trained_on(flags, tmp_path, kind):
    pairs = {
        "parallel": ["--alignment_file", str(tmp_path / "pairs.tsv"), "--languages", "de"],
        "mined": ["--alignment_file", str(tmp_path / "mined.parquet")],
        "folder": ["--data_dir", str(tmp_path), "--corpora", "own"],
    }[kind]
    rows = [{**row, "pair_id": number, "score": 1.1, "margin": 1.1} for number, row in enumerate(translations())]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "mined.parquet")  # the columns of `xling mine`
    (tmp_path / "parallel" / "own").mkdir(parents=True)
    lines = [f"{row['source']}\t{row['target']}\n" for row in translations()]
    (tmp_path / "parallel" / "own" / "de-en.tsv").write_text("".join(lines))
    main([*flags, *pairs, "--alignment_weight", "0.1", f"--output_dir={tmp_path}/out"])
    epochs = json.loads((tmp_path / "out" / "history.json").read_text())
    assert all(epoch["alignment_loss"] > 0 for epoch in epochs)
    name = {"parallel": "pairs.tsv", "mined": "mined.parquet", "folder": "own"}[kind]
    assert read_facts(tmp_path / "out")["training_data"][name] == {"pairs": len(translations())}


def test_every_seed_has_a_folder_and_the_mean_is_told(flags, tmp_path, caplog):
    with caplog.at_level("INFO"):
        main([*flags, "--seeds", "3", "--seed", "5", f"--output_dir={tmp_path}/out"])
    folders = [tmp_path / "out" / f"seed-{seed}" for seed in (5, 6, 7)]
    assert sorted((tmp_path / "out").iterdir()) == [*folders, tmp_path / "out" / "settings.json"]
    cards = {folder.name: (folder / "README.md").read_text(encoding="utf-8") for folder in folders}
    assert all(f'"{name}"' in card and ".partial" not in card for name, card in cards.items())
    weights = [load_file(folder / "model.safetensors")["classifier.weight"] for folder in folders]
    assert not weights[0].equal(weights[1]) and not weights[1].equal(weights[2])
    main([*flags, "--seed", "6", f"--output_dir={tmp_path}/alone"])
    assert outputs(tmp_path / "alone")["model.safetensors"] == outputs(folders[1])["model.safetensors"]
    histories = [json.loads((folder / "history.json").read_text()) for folder in folders]
    scores = [100 * max(epoch["dev_score"] for epoch in history) for history in histories]
    told = f"dev score {np.mean(scores):.1f}, deviation {np.std(scores, ddof=1):.1f}, over 3 seeds"
    assert told in caplog.text


def test_a_seed_that_is_complete_is_not_trained_again_and_one_cut_short_is(flags, tmp_path, monkeypatch):
    seeds = [*flags, "--seeds", "2", "--select", "average", f"--output_dir={tmp_path}/out"]
    original, ran = module.finetune, []

    def stopping(*given, args, **options):
        ran.append(args.seed)
        found = original(*given, args=args, **options)
        if len(ran) == 2:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(module, "finetune", stopping)
    with pytest.raises(KeyboardInterrupt):
        main(seeds)
    assert (tmp_path / "out/seed-42").exists() and not (tmp_path / "out/seed-43").exists()
    for _ in range(2):
        main(seeds)
    assert ran == [42, 43, 43]
    main([*seeds[:-1], f"--output_dir={tmp_path}/whole"])
    assert outputs(tmp_path / "out") == outputs(tmp_path / "whole")


@pytest.mark.slow
def test_kill_9_and_rerun_give_the_same_files(flags, tmp_path):
    seeds = [*flags, "--seeds", "3", "--num_train_epochs", "20"]
    command = [sys.executable, "-m", "xling_align.trainers.finetune", *seeds, f"--output_dir={tmp_path}/killed"]
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    first, deadline = tmp_path / "killed" / "seed-42", time.monotonic() + 120
    while not first.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(running.pid, signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL and first.exists()
    made = first.stat().st_mtime_ns
    assert not (tmp_path / "killed" / "seed-44").exists()
    main([*seeds, f"--output_dir={tmp_path}/killed"])
    assert first.stat().st_mtime_ns == made
    main([*seeds, f"--output_dir={tmp_path}/whole"])
    assert outputs(tmp_path / "killed") == outputs(tmp_path / "whole")


def refused(flags: list[str], capsys, program=main) -> str:
    """The one line that the program prints where it refuses its input."""
    with pytest.raises(SystemExit) as exit_:
        program(flags)
    lines = [line for line in capsys.readouterr().err.strip().splitlines() if line.startswith("error: ")]
    assert exit_.value.code == 2 and len(lines) == 1
    return lines[0]


def test_runs_of_other_settings_or_data_are_not_mixed(flags, tmp_path, capsys):
    seeds = [*flags, "--seeds", "2", f"--output_dir={tmp_path}/out"]
    main(seeds)
    assert "other settings (learning_rate 0.003, now 0.004)" in refused([*seeds, "--learning_rate=4e-3"], capsys)
    assert "(label_smoothing_factor 0.0, now 0.2)" in refused([*seeds, "--label_smoothing_factor=0.2"], capsys)
    (tmp_path / "train.tsv").write_text("what\tlabel\nsun\tlight\nmoon\tdark\n")
    assert "other settings (data " in refused(seeds, capsys)


def test_seeds_of_other_weights_at_the_same_place_are_not_mixed(flags, tmp_path, capsys):
    base = shutil.copytree(flags[2], tmp_path / "base")
    seeds = [*flags[:2], str(base), *flags[3:], f"--output_dir={tmp_path}/out", "--num_train_epochs", "1", "--seeds"]
    main([*seeds, "2"])
    main([*seeds, "2"])  # the same weights go on
    torch.manual_seed(9)
    AutoModel.from_config(encoder_config("bert")).save_pretrained(base)
    assert "other settings (weights " in refused([*seeds, "3"], capsys)
    assert not (tmp_path / "out" / "seed-44").exists()


FILES = {
    "train.tsv": "text\tlabel\nsun\tlight\nmoon\tdark\n",
    "one.tsv": "text\tlabel\nsun\tlight\nmoon\tlight\n",
    "other.tsv": "text\tlabel\nsun\tlight\nmoon\tgrey\n",
    "empty.tsv": "text\tlabel\n",
    "nothing.tsv": "",
    "tags.jsonl": json.dumps(tagged()[0]) + '\n{"tokens": ["sun", "moon"], "tags": ["O"]}\n',
    "train.conll": "sun\tB-X\nmoon\tO\n\nday\tO\n",
    "other.conll": "sun\tB-X\nmoon\tO\n\nday\tO\nnight\tB-Y\n",
    "pairs.tsv": "good day\tguten tag\n",
}
TRAIN = ["--train_file", "train.tsv"]
BERT = ["--model", "{bert}"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "needs --model FOLDER and --train_file"),
        (TRAIN, "needs --model"),
        (["--model", "nowhere", *TRAIN], "'nowhere'"),
        ([*BERT, "--train_file", "none.tsv"], "there is no 'none.tsv'"),
        ([*BERT, *TRAIN, "--columns", "label"], "'label' must be part=column"),
        ([*BERT, *TRAIN, "--task", "words"], "--task 'words'"),
        ([*BERT, *TRAIN, "--save_strategy", "epoch"], "--save_strategy can only be"),
        (["--modle", "{bert}"], "did you mean 'model'"),
        (
            [*BERT, *TRAIN, "--dev_file", "other.tsv"],
            "other.tsv, row 3: label 'grey' is not one of the training labels",
        ),
        ([*BERT, *TRAIN, "--dev_file", "empty.tsv"], "empty.tsv is empty"),
        ([*BERT, "--train_file", "nothing.tsv"], "nothing.tsv"),
        ([*BERT, "--train_file", "one.tsv"], "one.tsv has one label, light"),
        ([*BERT, "--task", "token", "--train_file", "tags.jsonl"], "tags.jsonl, row 2: 2 tokens and 1 tags"),
        (
            [*BERT, "--task", "token", "--train_file", "train.conll", "--dev_file", "other.conll"],
            "other.conll, sentence from line 4: label 'B-Y' is not one of the training labels",
        ),
        ([*BERT, *TRAIN, "--select", "mean"], "--select 'mean' is not one of best, average, last"),
        ([*BERT, *TRAIN, "--seeds", "0"], "--seeds is 0"),
        ([*BERT, *TRAIN, "--lora_rank", "-1"], "--lora_rank is -1"),
        ([*BERT, *TRAIN, "--alignment_weight", "0.1"], "--alignment_weight 0.1 needs pairs"),
        ([*BERT, *TRAIN, "--alignment_file", "pairs.tsv", "--languages", "de"], "no weight for them"),
        (
            [*BERT, *TRAIN, "--alignment_weight", "1", "--alignment_file", "pairs.tsv", "--languages", "de"],
            "a batch of 32 pairs needs as many different meanings, and the data has 1",
        ),
        ([*BERT, *TRAIN, "--alignment_weight", "1", "--alignment_file", "none.tsv"], "none.tsv"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(encoder_folders, tmp_path, monkeypatch, capsys, flags, message):
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    assert message in refused([flag.format(**encoder_folders) for flag in flags], capsys)
    assert not list(tmp_path.glob("outputs/finetune/*"))
