"""The demo, with few steps: all that it writes, and going on after an interruption."""

import json

import pytest
from transformers import AutoModel

from xling_align.cli import demo
from xling_align.cli.main import main
from xling_align.model_cards.card import facts_of
from xling_align.trainers.data.demo_corpus import LANGUAGES
from xling_align.trainers.facts import read_facts
from xling_align.trainers.trainer import XLingAlignTrainer


@pytest.fixture
def few_steps(monkeypatch):
    monkeypatch.setattr(demo, "VOCABULARY", 8000)
    monkeypatch.setattr(demo, "GRANULARITIES", (1.0, 0.5))
    monkeypatch.setattr(demo, "CLOUD", 5)
    monkeypatch.setattr(demo, "ENCODER", {**demo.ENCODER, "hidden_size": 32, "intermediate_size": 32})
    for name in ("PRETRAINING", "ALIGNMENT"):
        monkeypatch.setattr(demo, name, {**getattr(demo, name), "max_steps": 3})


def test_the_demo_goes_on_after_an_interruption_and_writes_all_it_promises(few_steps, tmp_path, monkeypatch, capsys):
    command = ["demo", "--output_dir", str(tmp_path / "out")]

    def interrupted(self, *args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(XLingAlignTrainer, "level_losses", interrupted)
        assert main(command) == 130
    assert (tmp_path / "out" / "encoder" / "model.safetensors").is_file()
    assert not (tmp_path / "out" / "model").exists()
    capsys.readouterr()
    assert main(command) == 0
    said = capsys.readouterr().out
    assert f"{tmp_path / 'out' / 'encoder'} is there" in said
    for line in ("from sentence_transformers import", "trust_remote_code=True", "model.encode(", "xling search "):
        assert line in said
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    for task in ("retrieval", "zero_shot"):
        for moment in ("before", "after"):
            scores = report[task][moment]
            others = [score for code, score in scores["languages"].items() if code != "en"]
            assert len(others) == len(LANGUAGES)
            assert scores["mean"] == pytest.approx(sum(others) / len(others), abs=1e-4)
    assert report["seconds"] > 0
    assert report["seconds"] == pytest.approx(sum(report["stage_seconds"].values()), rel=1e-3)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 2 + 1 + 2 * 3  # bars, similarity against transfer, and two panels of each other
    assert [[task["name"], list(task["results"])] for task in report["tasks"]] == [
        ["retrieval", ["before", "after"]],
        ["zero_shot", ["before", "after"]],
    ]
    assert (tmp_path / "out" / "report.md").is_file()
    facts = facts_of({**read_facts(tmp_path / "out" / "model"), **report}, report["models"][1]["digest"])
    assert [result["task"] for result in facts["results"]] == ["retrieval", "zero_shot"]
    assert set(facts["training_data"]) == {"emoji", "django"} and facts["recipe"]["share_subwords"]
    model = AutoModel.from_pretrained(tmp_path / "out" / "model", trust_remote_code=True)
    assert model.config.languages == ["en", *LANGUAGES]
    assert main(["search", str(tmp_path / "out" / "model"), "sun", "--top", "1"]) == 0
    assert [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()] == sorted(LANGUAGES)
