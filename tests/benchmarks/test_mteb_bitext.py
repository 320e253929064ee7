"""The MTEB example: mteb's own accuracy is ours, on a saved model and a made-up folder."""

import pytest

from benchmarks import mteb_bitext
from tests.conftest import LANGUAGES, make_tokenizer
from xling_align.modeling_xling import XLingAlignModel

ENGLISH = ["good morning", "red sun", "blue moon", "green day"]
FOREIGN = {"de": ["guten morgen", "rot sonne", "blau mond", "grün tag"], "fr": ["bonjour", "red", "blue", "tag"]}


def test_mtebs_accuracy_is_ours(encoder_folders, tmp_path, capsys):
    pytest.importorskip("mteb", reason="mteb is not installed")
    model = XLingAlignModel.from_encoder(encoder_folders["bert"], LANGUAGES)
    model.save_pretrained(tmp_path / "model", tokenizer=make_tokenizer())
    (tmp_path / "tatoeba").mkdir()
    for code, texts in FOREIGN.items():
        for side, lines in (("en", ENGLISH), (code, texts)):
            (tmp_path / "tatoeba" / f"{code}-en.{side}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    mteb_bitext.main([str(tmp_path / "model"), "--data_dir", str(tmp_path), "--languages", "de", "fr"])
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith(("| de", "| fr"))]
    assert len(rows) == 2 and all(row[2] == row[3].removesuffix(" |") for row in rows)


def test_without_sentences_it_says_so_and_goes_on(tmp_path, capsys):
    mteb_bitext.main(["model", "--data_dir", str(tmp_path)])
    assert capsys.readouterr().out.startswith("skipped: ")
