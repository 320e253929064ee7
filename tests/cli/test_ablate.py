"""`xling ablate`: every variant trained and measured, the table's numbers right, nothing done twice."""

import csv
import json
import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForMaskedLM

from tests.conftest import encoder_config, make_tokenizer
from xling_align.cli import ablate
from xling_align.cli.main import main
from xling_align.eval.significance import paired_t_test

ENGLISH = ["good morning", "red sun", "blue moon", "green day", "good night", "red moon", "blue sun", "green night"]
GERMAN = ["guten morgen", "rot sonne", "blau mond", "grün tag", "guten nacht", "rot mond", "blau sonne", "grün nacht"]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A data folder with pairs and two tasks in one language, and an encoder that can restore words."""
    root = tmp_path_factory.mktemp("data")
    torch.manual_seed(0)
    AutoModelForMaskedLM.from_config(encoder_config("bert")).save_pretrained(root / "encoder")
    make_tokenizer().save_pretrained(root / "encoder")
    files = {
        "parallel/made-up/de-en.tsv": "".join(f"{a}\t{b}\n" for a, b in zip(ENGLISH, GERMAN, strict=True)),
        "tatoeba/de-en.en": "\n".join(ENGLISH) + "\n",
        "tatoeba/de-en.de": "\n".join(GERMAN) + "\n",
    }
    for code, texts in (("en", ENGLISH), ("de", GERMAN)):
        rows = [f"{row}\t{'day' if row % 2 else 'night'}\t{text}\n" for row, text in enumerate(texts * 3)]
        for split in ("train", "test"):
            files[f"sib200/{code}/{split}.tsv"] = "index_id\tcategory\ttext\n" + "".join(rows)
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def command(data: Path, folder: Path, *more: str) -> list[str]:
    flags = ["--encoder", str(data / "encoder"), "--data_dir", str(data), "--per_device_train_batch_size", "4"]
    flags += ["--max_steps", "3", "--logging_steps", "1", "--seeds", "2", "--output_dir", str(folder)]
    return ["ablate", "default", *flags, "--without", "afm,word", "--tasks", "tatoeba,sib200", *more]


def table_of(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "table.csv").open(encoding="utf-8") as stream:
        return {row["variant"]: row for row in csv.DictReader(stream)}


def test_an_ablation_trains_measures_and_compares_each_variant_and_does_nothing_twice(data, tmp_path, capsys):
    again = command(data, tmp_path, "--against", "single_level", "--seeds_without", "1")
    again += ["--equal_time", "single_level"]
    assert main(again) == 0
    table = table_of(tmp_path)
    equal = "single_level, equal time"
    assert list(table) == ["unaligned", "all", "single_level", equal, "without afm", "without word"]
    assert [row["runs"] for row in table.values()] == ["2", "2", "2", "1", "1", "1"]
    pace = json.loads((tmp_path / "single_level" / "pace.json").read_text())
    assert all(seconds > 0 for seconds in pace.values())
    assert float(table[equal]["steps"]) == round(3 * pace["all"] / pace["single_level"])
    scores = {
        variant: [
            [
                json.loads((tmp_path / variant.replace(" ", "_") / f"seed-{seed}" / f"{task}.json").read_text())[
                    "score"
                ]
                for task in ("tatoeba", "sib200")
            ]
            for seed in (0, 1)
        ]
        for variant in list(table)[:3]
    }
    means = {variant: [sum(run) / 2 for run in runs] for variant, runs in scores.items()}
    for variant in scores:
        row = table[variant]
        assert float(row["mean"]) == pytest.approx(sum(means[variant]) / 2)
        assert float(row["tatoeba"]) == pytest.approx(sum(run[0] for run in scores[variant]) / 2)
        expected = paired_t_test(means[variant], means["all"])
        assert float(row["p"]) == pytest.approx(expected, nan_ok=True)
    log = json.loads((tmp_path / "without_word" / "seed-0" / "training.json").read_text())["log"]
    assert "loss_inter" in log[0] and "loss_mlm" not in log[0]
    assert (tmp_path / "plot.svg").stat().st_size > 1000
    assert "| without afm |" in (tmp_path / "table.md").read_text()
    capsys.readouterr()
    (tmp_path / "all" / "seed-1" / "tatoeba.json").unlink()  # as if it had been killed there
    assert main(again) == 0
    said = capsys.readouterr().out
    assert "all, seed 1, tatoeba" in said
    assert "==" not in said  # nothing was trained again
    assert table_of(tmp_path) == table
    for flag, value in (("limit", "7"), ("max_steps", "4"), ("learning_rate", "0.5"), ("inter_loss", "infonce")):
        with pytest.raises(SystemExit):
            main([*again, f"--{flag}", value])
        error = capsys.readouterr().err
        assert f"other settings ({flag} " in error and error.count("\n") == 1
    for path in tmp_path.glob("*/seed-*/settings.json"):
        path.unlink()  # a study of before there were such files
    assert main([*again, "--beside", "leakage"]) == 0  # another task
    assert "==" not in capsys.readouterr().out
    assert len(list(tmp_path.glob("*/seed-*/settings.json"))) == 2 * 3 + 3
    assert {name: row["mean"] for name, row in table_of(tmp_path).items()} == {
        name: row["mean"] for name, row in table.items()
    }


def test_parts_that_a_recipe_leaves_out_stay_out_of_its_variants(data, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("losses: [inter, intra, mlm]\nwithout: [intra]\n", encoding="utf-8")
    flags = command(data, tmp_path / "out", "--seeds", "1", "--without", "mlm", "--tasks", "tatoeba")
    assert main(["ablate", str(recipe), *flags[2:]]) == 0
    log = json.loads((tmp_path / "out" / "without_mlm" / "seed-0" / "training.json").read_text())["log"]
    assert "loss" in log[0] and "loss_inter" not in log[0]  # one loss is left, whose parts are not listed
    assert "loss_mlm" in json.loads((tmp_path / "out" / "all" / "seed-0" / "training.json").read_text())["log"][0]


def test_runs_of_one_seed_have_no_deviation_and_no_test():
    runs = {"all": [{"tatoeba": {"score": 50.0}}], "unaligned": [{"tatoeba": {"score": 40.0}}]}
    table = list(ablate.rows(runs, ["tatoeba"]))
    assert table[1]["difference"] == -10
    assert math.isnan(table[1]["p"])
    assert "| unaligned | 1 | 40.0 |" in ablate.markdown(table, ["tatoeba"])
    assert "nan" not in ablate.markdown(table, ["tatoeba"])


def test_variants_of_fewer_runs_are_held_against_the_same_seeds():
    def run(score, beside):
        return {"tatoeba": {"score": score}, "leakage": {"score": beside}}

    runs = {"all": [run(50.0, 1.0), run(52.0, 2.0), run(90.0, 3.0)], "without word": [run(49.0, 7.0), run(50.0, 9.0)]}
    table = list(ablate.rows(runs, ["tatoeba"], ["leakage"]))
    assert table[1]["difference"] == -1.5  # the third run of `all` has no counterpart
    assert (table[1]["mean"], table[1]["leakage"]) == (49.5, 8.0)  # what stands beside is not in the mean
    assert "| without word | 2 | 49.5 ± 0.7 | 49.5 ± 0.7 | -1.5 |" in ablate.markdown(table, ["tatoeba"], ["leakage"])


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--without", "afn"], "did you mean 'afm'"),
        (["--tasks", "tatoba"], "did you mean 'tatoeba'"),
        (["--seeds", "0"], "--seeds"),
        (["--without", "tlm"], "--without tlm: the recipe default has no such part"),
        (["--fusion_context", "none"], "--without afm: the recipe default has no such part"),
        (["--equal_time", "single_level"], "--equal_time"),
        (["--equal_time", "single_level", "--against", "single_level", "--max_steps", "-1"], "give --max_steps"),
        (["--against", "no_such"], "recipe 'no_such'"),
        (["--learning_rat", "1"], "did you mean 'learning_rate'"),
    ],
)
def test_bad_flags_are_one_line_before_any_work(data, tmp_path, capsys, flags, says):
    with pytest.raises(SystemExit) as stopped:
        main(command(data, tmp_path / "out", *flags))
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
    assert not list((tmp_path / "out").glob("*/seed-*")) if (tmp_path / "out").exists() else True
