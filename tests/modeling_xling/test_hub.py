"""Saved folders load in a fresh process: package absent, other working folder, empty module cache, network off."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoTokenizer

from tests.conftest import FAMILIES, LANGUAGES, make_tokenizer, stir
from xling_align.modeling_xling import (
    InputError,
    XLingAlignForPreTraining,
    XLingAlignForSequenceClassification,
    XLingAlignForTokenClassification,
    XLingAlignModel,
)
from xling_align.trainers import XLingAlignTrainer, XLingAlignTrainingArguments


def load_alone(folders: dict[str, str], cwd: Path) -> dict:
    """Run load_alone.py on the folders in a process of its own."""
    (cwd / "folders.json").write_text(json.dumps(folders))
    environment = {
        "PATH": os.environ["PATH"],
        # a site-packages on PYTHONPATH is read without its .pth files, so an editable install is out of sight
        "PYTHONPATH": sysconfig.get_path("purelib"),
        "HF_HOME": str(cwd / "home"),
        "HF_MODULES_CACHE": str(cwd / "modules"),
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    script = Path(__file__).with_name("load_alone.py")
    command = [sys.executable, "-S", str(script), str(cwd / "folders.json"), str(cwd / "report.json")]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads((cwd / "report.json").read_text())


@pytest.fixture(scope="module")
def saved(encoder_folders, tmp_path_factory) -> tuple[XLingAlignModel, dict[str, str]]:
    """One model saved in every kind of folder."""
    torch.manual_seed(3)
    root = tmp_path_factory.mktemp("saved")
    tokenizer = make_tokenizer()
    base = XLingAlignModel.from_encoder(encoder_folders["xlm-roberta"], LANGUAGES, projection_dim=8).eval()
    stir(base)
    base.save_pretrained(root / "base", tokenizer=tokenizer)
    XLingAlignForPreTraining.from_base(base).save_pretrained(root / "pretraining", tokenizer=tokenizer)
    for name, cls in (
        ("classifier", XLingAlignForSequenceClassification),
        ("tagger", XLingAlignForTokenClassification),
    ):
        cls.from_pretrained(root / "base", num_labels=3).save_pretrained(root / name, tokenizer=tokenizer)
    pairs = [
        {"source": s, "target": t, "source_language": "en", "target_language": "de"}
        for s, t in (("good morning", "guten morgen"), ("sun", "sonne"), ("moon", "mond"), ("red", "rot"))
    ]
    arguments = XLingAlignTrainingArguments(
        output_dir=str(root / "run"),
        max_steps=1,
        save_steps=1,
        learning_rate=0.0,
        per_device_train_batch_size=2,
        disable_tqdm=True,
    )
    trained = XLingAlignModel.from_pretrained(root / "base")
    XLingAlignTrainer(trained, arguments, pairs, processing_class=tokenizer).train()
    folders = {name: str(root / name) for name in ("base", "pretraining", "classifier", "tagger")}
    return base, {**folders, "checkpoint": str(root / "run" / "checkpoint-1")}


def test_every_kind_of_folder_loads_alone_with_the_same_vectors(saved, tmp_path):
    base, folders = saved
    report = load_alone(folders, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folders["base"])
    texts = ["good morning", "guten morgen sonne mond rot", "bonjour", "sun " * 60]
    batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    for name in folders:
        for language in ("de", None):
            if name == "checkpoint":  # one step of learning rate 0 has moved the running means
                base = XLingAlignModel.from_pretrained(folders["checkpoint"]).eval()
            pooled = base(batch["input_ids"], batch["attention_mask"], language_ids=language).pooler_output
            expected = torch.nn.functional.normalize(pooled, dim=1).detach().numpy()
            found = report[name][str(language)]
            assert found["class"] == "XLingAlignModel"
            assert found["max_seq_length"] == base.config.max_position_embeddings
            assert found["similarity"] == pytest.approx(1.0, abs=1e-5)
            np.testing.assert_allclose(found["auto"], expected, atol=1e-5)
            np.testing.assert_allclose(found["sentence_transformers"], expected, atol=1e-5)
        difference = np.array(report[name]["de"]["auto"]) - np.array(report[name]["None"]["auto"])
        assert np.abs(difference).max() > 1e-3
    assert report["sequence"] == "XLingAlignForSequenceClassification"
    assert report["token"] == "XLingAlignForTokenClassification"
    assert report["text_pipeline"]["label"].startswith("LABEL_")
    assert len(report["token_pipeline"]) >= 4
    base = XLingAlignModel.from_pretrained(folders["base"]).eval()
    ids = tokenizer(texts[0], return_tensors="pt")["input_ids"]
    np.testing.assert_allclose(report["feature_pipeline"], base(ids).pooler_output[0].detach().numpy(), atol=1e-5)
    assert "trust_remote_code" in report["refusal"]
    assert report["saved_again"] == "XLingAlignForSequenceClassification"


def test_every_encoder_family_loads_alone(encoder_folders, batch, tmp_path):
    folders, expected = {}, {}
    for name in FAMILIES:
        model = XLingAlignModel.from_encoder(encoder_folders[name], LANGUAGES, language_token="pool").eval()
        stir(model)
        model.save_pretrained(tmp_path / name, tokenizer=make_tokenizer())
        folders[name] = str(tmp_path / name)
        output = model(batch["input_ids"], batch["attention_mask"], language_ids="de").pooler_output
        expected[name] = torch.nn.functional.normalize(output, dim=1).detach().numpy()
    report = load_alone(folders, tmp_path)
    for name in FAMILIES:
        np.testing.assert_allclose(np.array(report[name]["de"]["auto"])[:3], expected[name], atol=1e-5)
        np.testing.assert_allclose(
            np.array(report[name]["de"]["sentence_transformers"])[:3], expected[name], atol=1e-5
        )


def test_a_card_that_is_there_is_kept(saved, tmp_path):
    base, _ = saved
    (tmp_path / "README.md").write_text("mine")
    base.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_the_plain_card_names_languages_and_parses(saved):
    from huggingface_hub import ModelCard

    _, folders = saved
    card = ModelCard.load(Path(folders["base"]) / "README.md")
    assert card.data.language == LANGUAGES
    assert card.data.library_name == "sentence-transformers"


def test_stock_export_loads_without_the_flag_and_says_how_far_it_is(saved, tmp_path):
    base, folders = saved
    tokenizer = AutoTokenizer.from_pretrained(folders["base"])
    texts = {"en": ["good morning", "sun"], "de": ["guten morgen", "rot grün blau"]}
    distance = base.export_stock(tmp_path / "stock", tokenizer, texts)
    stock = SentenceTransformer(str(tmp_path / "stock"))
    full = SentenceTransformer(folders["base"], trust_remote_code=True)
    cosines = [
        stock.similarity_pairwise(stock.encode(lines), full.encode(lines, language_ids=code)).numpy()
        for code, lines in texts.items()
    ]
    assert distance["texts"] == 4
    assert distance["mean_cosine"] == pytest.approx(np.concatenate(cosines).mean(), abs=1e-5)
    assert distance["min_cosine"] == pytest.approx(np.concatenate(cosines).min(), abs=1e-5)
    assert f"{distance['mean_cosine']:.4f}" in (tmp_path / "stock" / "README.md").read_text()
    assert not list((tmp_path / "stock").glob("*.py"))


def test_stock_export_of_an_untouched_encoder_is_exact(encoder_folders, tmp_path):
    model = XLingAlignModel.from_encoder(encoder_folders["bert"], LANGUAGES, language_token="none").eval()
    distance = model.export_stock(tmp_path, make_tokenizer(), {"en": ["good morning"], "de": ["rot"]})
    assert distance["min_cosine"] == pytest.approx(1.0, abs=1e-6)


def test_a_folder_that_cannot_be_written_is_one_line(saved, tmp_path):
    base, _ = saved
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can't be written"):
        base.save_pretrained(tmp_path / "file" / "model")
