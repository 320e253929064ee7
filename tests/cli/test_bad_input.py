"""Bad input to any command: one line that says what is wrong, exit code 2, and nothing half-written."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from tests.conftest import LANGUAGES, encoder_config, make_tokenizer
from xling_align.cli.main import main
from xling_align.modeling_xling import XLingAlignModel

WORDS = ["morning", "night", "day", "sun", "moon", "red", "green", "blue"]
GOOD = "".join(f"{word} {word}\tguten {word}\n" for word in WORDS)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    """Files and folders, most of them bad."""
    root = tmp_path_factory.mktemp("inputs")
    torch.manual_seed(0)
    encoder = AutoModel.from_config(encoder_config("bert"))
    encoder.save_pretrained(root / "encoder")
    make_tokenizer().save_pretrained(root / "encoder")
    encoder.save_pretrained(root / "no-tokenizer")
    XLingAlignModel(XLingAlignModel.from_encoder(encoder.config, LANGUAGES).config).save_pretrained(
        root / "model", tokenizer=make_tokenizer()
    )
    for name in ("encoder", "model"):
        weights = load_file(root / name / "model.safetensors")
        half = {key: weights[key] for key in sorted(weights)[: len(weights) // 2]}
        for damage in ("half", "cut", "none", "misfit"):
            shutil.copytree(root / name, root / f"{name}-{damage}")
        save_file(half, root / f"{name}-half" / "model.safetensors", {"format": "pt"})
        (root / f"{name}-cut" / "model.safetensors").write_bytes(
            (root / name / "model.safetensors").read_bytes()[:5000]
        )
        (root / f"{name}-none" / "model.safetensors").unlink()
        config = (root / name / "config.json").read_text()
        (root / f"{name}-misfit" / "config.json").write_text(
            config.replace('"intermediate_size": 48', '"intermediate_size": 40')
        )
    (root / "picture").mkdir()
    (root / "picture" / "config.json").write_text('{"model_type": "vit"}')
    (root / "not-an-encoder").mkdir()
    (root / "good.tsv").write_text(GOOD, encoding="utf-8")
    (root / "empty.tsv").write_text("")
    (root / "one-column.tsv").write_text("good morning\ngood night\n")
    (root / "latin1.tsv").write_bytes("good\tgrün\nday\tschön\n".encode("latin-1"))
    (root / "one-side.tsv").write_text("good\t\n\tgut\n")
    (root / "swapped.tsv").write_text("доброе утро\tgood morning\nсолнце\tsun\nдень\tday\n", encoding="utf-8")
    (root / "same.tsv").write_text("good\tgut\nGood\tgute\n")
    (root / "typo.yaml").write_text("learning_rat: 1.0e-3\n")
    (root / "list.yaml").write_text("- a\n- b\n")
    (root / "broken.yaml").write_text("tau: [0.1\n")
    (root / "phrases.tsv").write_text("de guten morgen\n")
    (root / "english.tsv").write_text("en\tsun\nen\tmoon\n")
    (root / "sun.tsv").write_text("en\tsun\nde\tsonne\n")
    (root / "polish.tsv").write_text("pl\tdzień dobry\n", encoding="utf-8")
    other = root / "other-run" / "checkpoint-5"
    config = encoder_config("bert")
    config.num_hidden_layers = 1
    XLingAlignModel.from_encoder(config, ["en", "de"]).save_pretrained(other)
    (other / "trainer_state.json").write_text("{}")
    return root


ALIGN = "align --encoder {encoder} --target_language de --disable_tqdm true --max_steps 1"
PAIRS = f"{ALIGN} --train_file {{good.tsv}} --per_device_train_batch_size 4 --output_dir {{out}}"
CASES = {
    "no such command": ("aling", ["aling", "align"]),
    "no such flag of search": ("search {model} sun --topp 3", ["--topp"]),
    "wrong type": ("search {model} sun --top three", ["--top", "three"]),
    "unknown flag": (f"{PAIRS} --learning_rat 1", ["learning_rat", "learning_rate", "command line"]),
    "unknown recipe key": (f"{PAIRS.replace('align', 'align {typo.yaml}', 1)}", ["learning_rat'", "learning_rate"]),
    "recipe without keys": (PAIRS.replace("align", "align {list.yaml}", 1), ["list.yaml", "key: value"]),
    "recipe that is no YAML": (PAIRS.replace("align", "align {broken.yaml}", 1), ["broken.yaml", "YAML"]),
    "no such recipe": (PAIRS.replace("align", "align paperr", 1), ["paperr", "default"]),
    "wrong value": (f"{PAIRS} --learning_rate fast", ["learning_rate", "fast"]),
    "wrong choice": (f"{PAIRS} --pooling max", ["pooling", "max", "cls", "mean"]),
    "missing file": (f"{ALIGN} --train_file {{none.tsv}} --output_dir {{out}}", ["none.tsv"]),
    "empty file": (f"{ALIGN} --train_file {{empty.tsv}} --output_dir {{out}}", ["empty.tsv is empty"]),
    "column count": (f"{ALIGN} --train_file {{one-column.tsv}} --output_dir {{out}}", ["one-column.tsv", "column"]),
    "encoding": (f"{ALIGN} --train_file {{latin1.tsv}} --output_dir {{out}}", ["latin1.tsv", "UTF-8"]),
    "sides swapped": (
        f"{ALIGN} --target_language ru --train_file {{swapped.tsv}} --output_dir {{out}}",
        ["source side of", "swapped.tsv looks like 'ru'", "its target side like 'en'", "swap"],
    ),
    "empty side": (f"{ALIGN} --train_file {{one-side.tsv}} --output_dir {{out}}", ["one-side.tsv", "empty"]),
    "no pairs named": (f"{ALIGN} --output_dir {{out}}", ["--train_file", "--data_dir"]),
    "no language named": (PAIRS.replace("--target_language de ", ""), ["good.tsv", "target_language"]),
    "data folder without data": (f"{ALIGN} --data_dir {{encoder}} --output_dir {{out}}", ["parallel"]),
    "no negative": (f"{PAIRS} --per_device_train_batch_size 1", ["no negative", "--per_device_train_batch_size"]),
    "one meaning": (
        f"{ALIGN} --train_file {{same.tsv}} --per_device_train_batch_size 2 --output_dir {{out}}",
        ["different meanings", "--per_device_train_batch_size"],
    ),
    "no encoder": ("align --train_file {good.tsv} --target_language de --output_dir {out}", ["--encoder"]),
    "no such encoder": (PAIRS.replace("{encoder}", "{none}"), ["none", "encoder"]),
    "not an encoder": (PAIRS.replace("{encoder}", "{not-an-encoder}"), ["not-an-encoder"]),
    "encoder without tokenizer": (PAIRS.replace("{encoder}", "{no-tokenizer}"), ["no-tokenizer", "tokenizer"]),
    "encoder with cut weights": (PAIRS.replace("{encoder}", "{encoder-cut}"), ["encoder-cut", "can't be loaded"]),
    "encoder without weights": (PAIRS.replace("{encoder}", "{encoder-none}"), ["encoder-none", "model.safetensors"]),
    "encoder of another size": (PAIRS.replace("{encoder}", "{encoder-misfit}"), ["encoder-misfit"]),
    "model with cut weights": (PAIRS.replace("{encoder}", "{model-cut}"), ["model-cut", "can't be loaded"]),
    "model without weights": (PAIRS.replace("{encoder}", "{model-none}"), ["model-none", "model.safetensors"]),
    "model that lacks weights": (PAIRS.replace("{encoder}", "{model-half}"), ["model-half", "lacks", "encoder."]),
    "temperature of nothing": (f"{PAIRS} --tau 0", ["--tau", "0.0001"]),
    "no room for words": (f"{PAIRS} --max_length 2", ["--max_length", "3"]),
    "learning rate below nothing": (f"{PAIRS} --learning_rate -1", ["--learning_rate", "-1"]),
    "flags that exclude each other": (f"{PAIRS} --fp16 true --bf16 true", ["fp16", "bf16"]),
    "evaluation without data": (f"{PAIRS} --eval_strategy steps", ["eval_strategy", "eval_dataset"]),
    "two recipes": (
        PAIRS.replace("align", "align {typo.yaml}", 1).replace("{typo.yaml}", "default extra"),
        ["'extra'"],
    ),
    "loss that is not finite": (f"{PAIRS} --tau 1e-4 --learning_rate 1e38 --max_steps 9", ["loss", "--learning_rate"]),
    "unknown language of a model": (
        PAIRS.replace("{encoder}", "{model}").replace("_language de", "_language pl"),
        ["'pl'", "en, de, fr"],
    ),
    "folder that can't be written": (PAIRS.replace("{out}", "{good.tsv}/out"), ["good.tsv/out", "can't be written"]),
    "another model's checkpoint": (PAIRS.replace("{out}", "{other-run}"), ["checkpoint-5", "another model"]),
    "no checkpoint there": (f"{PAIRS} --resume_from_checkpoint {{none}}", ["none", "no checkpoint"]),
    "info on nothing": ("info {none}", ["none", "config.json"]),
    "info on no text encoder": ("info {picture}", ["picture", "vit", "text encoder"]),
    "explain without a model": ("explain sun sonne", ["--model"]),
    "explain an empty text": ("explain sun '' --model {model} --output {out}", ["empty"]),
    "explain in one language": ("explain sun sonne --model {model} --languages de --output {out}", ["'de'", "en,de"]),
    "explain in an unknown language": (
        "explain sun sonne --model {model} --languages en,pl --output {out}",
        ["'pl'", "en, de, fr"],
    ),
    "explain by no model": ("explain sun sonne --model {none} --output {out}", ["none", "config.json"]),
    "explain by half a model": ("explain sun sonne --model {model-half} --output {out}", ["model-half", "incomplete"]),
    "explain below a file": ("explain sun sonne --model {model} --output {good.tsv}/page.html", ["good.tsv"]),
    "explain into a folder": ("explain sun sonne --model {model} --output {model}", ["--output", "folder"]),
    "search with cut weights": ("search {model-cut} sun --texts {sun.tsv}", ["model-cut", "can't be loaded"]),
    "search without weights": ("search {encoder-none} sun --texts {sun.tsv}", ["encoder-none", "model.safetensors"]),
    "search in another size": ("search {model-misfit} sun --texts {sun.tsv}", ["model-misfit", "fit", "config.json"]),
    "search with half a model": ("search {model-half} sun --texts {sun.tsv}", ["model-half", "incomplete"]),
    "search with half an encoder": ("search {encoder-half} sun --texts {sun.tsv}", ["encoder-half", "incomplete"]),
    "search without another language": ("search {model} sun --texts {english.tsv}", ["'en'", "--texts"]),
    "search without text": ("search {model} ''", ["no text"]),
    "search without phrases": ("search {model} sun", ["phrases.tsv", "language<TAB>text"]),
    "search in a bad file": ("search {model} sun --texts {phrases.tsv}", ["phrases.tsv, line 1"]),
    "search in an unknown language": ("search {model} sun --language pl --texts {polish.tsv}", ["'pl'", "en, de, fr"]),
    "search among unknown languages": ("search {model} sun --texts {polish.tsv}", ["'pl'", "en, de, fr"]),
    "search for nothing": ("search {model} sun --top 0 --texts {polish.tsv}", ["--top"]),
    "export of a plain encoder": ("export {encoder} {out}", ["plain encoder"]),
    "export of half a model": ("export {model-half} {out}", ["model-half", "incomplete"]),
    "export over something": ("export {model} {encoder}", ["encoder", "new one"]),
    "export below a file": ("export {model} {good.tsv}/stock", ["good.tsv", "can't be written"]),
    "demo below a file": ("demo --output_dir {good.tsv}/demo", ["good.tsv/demo", "can't be written"]),
}


def words(command: str, inputs: Path, out: Path) -> list[str]:
    """The command line with `{name}` replaced by paths."""
    filled = command.replace("{out}", str(out))
    for name in {part.split("}")[0] for part in filled.split("{")[1:]}:
        filled = filled.replace(f"{{{name}}}", str(inputs / name))
    return ["" if word == "''" else word for word in filled.split(" ")]


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_line_and_exit_code_2(name, inputs, tmp_path, capsys):
    command, expected = CASES[name]
    before, out = contents(inputs), tmp_path / "out"
    with pytest.raises(SystemExit) as stop:
        code = main(words(command, inputs, out))
        raise SystemExit(code)
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert stop.value.code == 2
    assert len(errors) == 1
    for word in expected:
        assert word in errors[0]
    assert "Traceback" not in errors[0]
    assert contents(inputs) == before
    assert not out.exists() or not list(out.iterdir())


def test_a_good_command_is_not_refused(inputs, tmp_path):
    command = words(PAIRS, inputs, tmp_path / "out")
    assert main(command) == 0
    assert (tmp_path / "out" / "model.safetensors").is_file()
