"""The `xling` command on tiny models."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModel

from tests.conftest import LANGUAGES, MAX_WORDS, make_tokenizer, stir
from xling_align.cli.main import COMMANDS, PROGRAMS, main
from xling_align.cli.models import text_encoder
from xling_align.modeling_xling import InputError, XLingAlignModel

PHRASES = "en\tgood morning\nde\tguten morgen\nde\tmond\nfr\tbonjour\nfr\tgood night\n"


@pytest.fixture
def folder(tmp_path, encoder_folders):
    torch.manual_seed(0)
    model = XLingAlignModel.from_encoder(encoder_folders["bert"], LANGUAGES)
    stir(model)
    model.save_pretrained(tmp_path / "model", tokenizer=make_tokenizer())
    (tmp_path / "model" / "phrases.tsv").write_text(PHRASES, encoding="utf-8")
    return tmp_path / "model"


def test_help_names_every_command_and_imports_nothing_heavy():
    code = (
        "import sys; from xling_align.cli.main import main; main(['--help']); "
        "assert not {'torch', 'transformers', 'numpy', 'datasets'} & set(sys.modules), 'slow import'"
    )
    times = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        times.append(time.perf_counter() - start)
        assert done.returncode == 0, done.stderr
        assert all(f"  {name} " in done.stdout for name in COMMANDS)
    assert min(times) < 1.5  # 0.1 s where nothing else runs


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in PROGRAMS])
def test_help_of_a_command_needs_no_torch(command):
    code = (
        f"import sys\nfrom xling_align.cli.main import main\ntry: main(['{command}', '--help'])\n"
        "except SystemExit as stop: assert stop.code == 0\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"usage: xling {command}" in done.stdout


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("xling-align 0.")


def test_info_of_an_aligned_model_and_of_a_plain_encoder(folder, encoder_folders, capsys):
    assert main(["info", str(folder)]) == 0
    said = capsys.readouterr().out
    count = sum(parameter.numel() for parameter in XLingAlignModel.from_pretrained(folder).parameters())
    for fact in ("aligned by xling-align", "bert, 2 layers x 32", "3 (en, de, fr)", f"{count:,}", "23 tokens"):
        assert fact in said
    assert "sentence-transformers" in said
    assert main(["info", encoder_folders["distilbert"]]) == 0
    said = capsys.readouterr().out
    assert "plain encoder" in said
    assert "languages" not in said


def test_search_ranks_by_cosine_in_each_other_language(folder, capsys):
    assert main(["search", str(folder), "good morning", "--top", "1"]) == 0
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines] == ["de", "fr"]
    model = SentenceTransformer(str(folder), trust_remote_code=True)
    query = model.encode("good morning", language_ids="en")
    scores = model.encode(["guten morgen", "mond"], language_ids="de") @ query
    assert lines[0][2] == ["guten morgen", "mond"][scores.argmax()]
    assert float(lines[0][1]) == pytest.approx(scores.max(), abs=0.006)


def test_search_in_a_file_from_another_language_and_with_a_plain_encoder(folder, encoder_folders, tmp_path, capsys):
    texts = tmp_path / "texts.tsv"
    texts.write_text("en\tred\nen\tblue\nen\tred\nde\tblau\n", encoding="utf-8")
    assert main(["search", str(folder), "blau", "--language", "de", "--texts", str(texts), "--top", "9"]) == 0
    assert sorted(line.split("  ")[2] for line in capsys.readouterr().out.splitlines()) == ["blue", "red"]
    assert main(["search", encoder_folders["bert"], "blau", "--texts", str(texts)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_search_reads_files_that_start_with_a_byte_order_mark(folder, tmp_path, capsys):
    (tmp_path / "texts.tsv").write_text("de\tmond\r\n", encoding="utf-8-sig", newline="")
    assert main(["search", str(folder), "moon", "--texts", str(tmp_path / "texts.tsv")]) == 0
    assert capsys.readouterr().out.split("  ")[::2] == ["de", "mond\n"]


def test_info_leaves_out_positions_that_no_text_can_use(encoder_folders, capsys):
    assert main(["info", encoder_folders["xlm-roberta"]]) == 0
    assert f"longest text  {MAX_WORDS} tokens" in capsys.readouterr().out


def test_export_loads_without_a_flag_and_says_how_far_it_is(folder, tmp_path, capsys):
    assert main(["export", str(folder), str(tmp_path / "stock")]) == 0
    said = capsys.readouterr().out
    assert "cosine to the full model over 5 texts" in said
    assert SentenceTransformer(str(tmp_path / "stock")).encode("good morning").shape == (32,)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "stock"]
    card = (tmp_path / "stock" / "README.md").read_text(encoding="utf-8")
    assert "# stock\n" in card
    assert 'SentenceTransformer("stock")' in card


def test_export_fills_the_current_folder_and_keeps_it(folder, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert main(["export", str(folder), "."]) == 0
    assert Path("model.safetensors").is_file()


def test_export_that_fails_leaves_nothing(folder, tmp_path, monkeypatch, capsys):
    def full(self, target, *args):
        target.mkdir()
        raise InputError(f"{target} can't be written (No space left on device)")

    monkeypatch.setattr(XLingAlignModel, "export_stock", full)
    with pytest.raises(SystemExit):
        main(["export", str(folder), str(tmp_path / "stock")])
    assert "No space left" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("argv", ["--help", "search --help", "--version"])
def test_a_reader_that_goes_away_is_no_error(argv):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "xling_align.cli.main", *argv.split()]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_interrupting_is_one_line(monkeypatch, capsys):
    def interrupted(argv):
        raise KeyboardInterrupt

    monkeypatch.setattr("xling_align.trainers.align.main", interrupted)
    assert main(["align"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_model_saved_in_half_precision_encodes_under_bf16(encoder_folders, tmp_path):
    AutoModel.from_pretrained(encoder_folders["bert"]).half().save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    encoder = text_encoder(str(tmp_path))
    encoder.bf16 = True
    assert encoder(["good morning"]).shape == (1, 32)
