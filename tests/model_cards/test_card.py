"""Cards: what goes in comes back out of huggingface_hub's own parser, and nothing that is wrong stops the run."""

import ast
import json
import logging
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard, constants, parse_eval_result_entries
from transformers import BertConfig

from tests.hub_server import LoopbackHub
from xling_align.model_cards.card import MARK, build_card, facts_of, write_card
from xling_align.model_cards.results import eval_result_files, eval_results, read_results
from xling_align.model_cards.sources import PAPERS
from xling_align.modeling_xling import XLingAlignConfig

LANGUAGES = ["en", "de", "no"]  # "no" is false to YAML
RESULTS = [
    {
        "task": "sib200",
        "metric": "macro_f1",
        "scores": {"en": np.float32(90.0), "de": np.float64(80.456), "no": 61},
        "dataset": "Davlan/sib200",
        "revision": "a" * 40,
    },
    {"task": "tatoeba", "metric": "accuracy", "scores": {"de": np.array(50.0), "no": 40.0}, "split": "dev"},
    {"task": "panx", "metric": "f1", "scores": {"en": 70.0}, "dataset": "Davlan/sib200", "gap": None},
]
FACTS = {
    "results": RESULTS,
    "training_data": {
        "tatoeba-anki": 3000,
        "multi30k": np.int64(1000),
        "mine": {"licence": "MIT", "hub_id": "me/mine"},
    },
    "recipe": {"losses": ["inter", "mlm"], "inter_loss": "additive_margin", "balance": "loss", "tau": 0.05},
    "licence": "apache-2.0",
    "base_model": "FacebookAI/xlm-roberta-base",
    "repo_id": "me/model",
}


def config(**settings) -> XLingAlignConfig:
    encoder = BertConfig(hidden_size=256, num_hidden_layers=4, num_attention_heads=4)
    return XLingAlignConfig(encoder_config=encoder, languages=LANGUAGES, **settings)


def warnings_of(caplog) -> str:
    return "\n".join(record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)


@pytest.fixture
def folder(tmp_path):
    assert write_card(tmp_path, config(), "model", **FACTS)
    return tmp_path


def test_the_model_index_parses_back_to_the_same_results(folder):
    card = ModelCard.load(folder / "README.md")
    assert card.data.eval_results == eval_results(read_results(RESULTS))
    assert card.data.model_name == "model"
    assert ModelCard(str(card)).data.eval_results == card.data.eval_results


def test_metadata_come_back_and_hold_plain_values_only(folder):
    text = (folder / "README.md").read_text()
    metadata = yaml.safe_load(text.split("---\n")[1])  # refuses any object of Python's
    assert metadata["language"] == LANGUAGES
    assert metadata["license"] == "apache-2.0"
    assert metadata["base_model"] == "FacebookAI/xlm-roberta-base"
    assert metadata["datasets"] == ["me/mine"]
    assert metadata["metrics"] == ["accuracy", "f1", "macro_f1"]
    assert "numpy" not in text
    assert json.loads(json.dumps(metadata)) == metadata


def test_the_hub_takes_the_card(folder, monkeypatch):
    with LoopbackHub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr("huggingface_hub.repocard.constants.HF_HUB_OFFLINE", False)
        ModelCard.load(folder / "README.md").validate()
        assert hub.asked("POST", "/api/validate-yaml") == 1


def test_mean_and_gap_are_those_of_the_other_languages():
    values = {entry.metric_name: entry.metric_value for entry in eval_results(read_results(RESULTS[:1]))}
    assert values["macro_f1 in %, mean of 2 languages besides en"] == 70.73  # (80.46 + 61) / 2
    assert values["macro_f1 in points, en minus the mean of the others"] == 19.27
    assert values["macro_f1 in %, de"] == 80.46


def test_result_files_parse_back_and_leave_out_data_without_a_hub_id(folder, caplog):
    files = {path.name: path.read_text() for path in (folder / ".eval_results").iterdir()}
    assert list(files) == ["Davlan--sib200.yaml"]
    entries = parse_eval_result_entries(yaml.safe_load(files["Davlan--sib200.yaml"]))
    assert [(entry.dataset_id, entry.task_id, entry.value) for entry in entries] == [
        ("Davlan/sib200", "sib200", 70.73),
        ("Davlan/sib200", "panx", 70.0),
    ]
    assert entries[0].dataset_revision == "a" * 40
    assert "+19.27 points" in (entries[0].notes or "")
    eval_result_files(read_results(RESULTS))
    assert ".eval_results of tatoeba left out" in warnings_of(caplog)


def test_every_table_row_has_as_many_cells_as_its_head(folder):
    strange = [replace(read_results(RESULTS)[0], task="a|b", dataset="c|d\ne")]
    card = build_card(config(), "model", **FACTS | {"results": strange, "training_data": {"x|y": {"licence": "a|b"}}})
    for text in (card.text, ModelCard.load(folder / "README.md").text):
        tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
        assert len(tables) == 3
        for table in tables:
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
            assert len(table.splitlines()) > 2


@pytest.mark.parametrize(
    ("architecture", "loads"),
    [
        ("XLingAlignModel", "AutoModel"),
        ("XLingAlignForSequenceClassification", "AutoModelForSequenceClassification"),
        ("XLingAlignForTokenClassification", "AutoModelForTokenClassification"),
    ],
)
def test_the_code_of_a_card_is_code_and_pins_a_revision(architecture, loads):
    text = build_card(config(architectures=[architecture]), "model", repo_id="me/model").text
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == (2 if loads == "AutoModel" else 1)
    calls = [node for block in blocks for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Call)]
    loading = [ast.unparse(call) for call in calls if "me/model" in ast.unparse(call) and call.keywords]
    assert any(call.startswith(f"{loads}.from_pretrained") for call in loading)
    assert all("revision='REVISION'" in call for call in loading if "(**" not in call)
    assert all("trust_remote_code=True" in call for call in loading if call.startswith((loads, "Sentence")))


def test_a_plain_encoder_needs_no_remote_code_and_claims_no_languages():
    card = build_card(BertConfig(), "stock")
    assert "trust_remote_code" not in card.text and "language_ids" not in card.text
    assert card.data.language is None


def papers(settings: dict, recipe: dict | None) -> set[str]:
    text = build_card(config(**settings), "model", recipe=recipe).text
    return {name for name, paper in PAPERS.items() if paper in text}


PLAIN = {"language_token": "none", "fusion_context": "none"}


def test_only_papers_whose_parts_were_used_are_cited():
    assert papers(PLAIN, None) == set()
    assert papers(PLAIN, {"losses": ["inter"], "inter_loss": "infonce", "language_loss": "alternating"}) == {"cpc"}
    assert papers(PLAIN, {"losses": ["inter", "mlm"], "inter_loss": "additive_margin", "balance": "fixed"}) == {
        "labse",
        "mlm",
    }
    assert papers({}, {"losses": ["inter"], "inter_loss": "infonce", "balance": "loss"}) == {"multi_level", "cpc"}
    everything = {"losses": ["inter", "mlm", "momentum"], "inter_loss": "infonce"}
    assert papers(PLAIN, everything | {"without": ["sentence"]}) == {"mlm"}
    assert papers(PLAIN, everything | {"without": ["mlm"], "lora_rank": 8}) == {"cpc", "infoxlm", "lora"}
    assert papers(PLAIN | {"target_encoder_config": config().encoder_config}, None) == {"review"}


def test_limits_name_what_was_never_seen_what_is_weak_and_what_may_not_be_sold(folder):
    limits = ModelCard.load(folder / "README.md").text.split("## Limits")[1]
    assert "other than the 3 named above were never seen" in limits
    assert "small (4 layers x 256)" in limits
    assert "Without `language_ids`" in limits and "was not measured" in limits
    assert "sib200 is weakest in no 61.0, de 80.5" in limits
    assert "forbid commercial use, or state no licence: multi30k." in limits
    assert "75% of the training pairs are from tatoeba-anki" in limits
    measured = build_card(config(), "model", unknown_language="Retrieval falls by 3 points.").text
    assert "Retrieval falls by 3 points." in measured and "was not measured" not in measured


BAD_RESULTS = [
    {"task": "x"},
    {"metric": "f1", "scores": {"de": 1.0}},
    {"task": "x", "metric": "f1", "scores": {"de": "good"}},
    {"task": "x", "metric": "f1", "scores": {"de": float("nan")}},
    {"task": "x", "metric": "f1", "scores": [1.0]},
    "x",
    None,
]


@pytest.mark.parametrize("bad", BAD_RESULTS)
def test_a_result_that_cannot_be_read_is_left_out_with_a_warning(bad, caplog):
    good = read_results([bad, RESULTS[0]])
    assert [result.task for result in good] == ["sib200"]
    assert "result 1" in warnings_of(caplog)


def test_what_is_not_known_is_left_out_with_a_warning(tmp_path, caplog):
    assert write_card(tmp_path, config(), "model")
    for what in ("training data", "licence of the weights", "results", "training objectives"):
        assert f"{what} left out" in warnings_of(caplog)
    metadata = yaml.safe_load((tmp_path / "README.md").read_text().split("---\n")[1])
    assert not {"license", "model-index", "datasets", "base_model", "metrics"} & set(metadata)
    assert "None" not in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize(
    ("name", "value", "lacks"),
    [("results", 3, "## Results"), ("recipe", [1], "margin"), ("training_data", 3, "## Training data")],
)
def test_a_fact_of_the_wrong_kind_is_left_out_and_the_others_stay(name, value, lacks, tmp_path, caplog):
    assert write_card(tmp_path, config(), "model", **FACTS | {name: value})
    assert re.search("(results|training objectives|training data) left out", warnings_of(caplog))
    text = (tmp_path / "README.md").read_text()
    parts = ["## Results", "margin", "## Training data", "## Method", "## Limits"]
    assert [part for part in parts if part not in text] == [lacks]


def test_neither_a_missing_package_nor_a_folder_that_is_none_stops_the_run(tmp_path, monkeypatch, caplog):
    assert not write_card(tmp_path / "none" / "x\0y", config(), "model")
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert not write_card(tmp_path, config(), "model")
    assert warnings_of(caplog).count("the card left out") == 2
    assert not (tmp_path / "README.md").exists()


def test_the_demos_report_is_read():
    after = {task: {"mean": 0.4, "languages": {"en": 0.9, "de": 0.4}} for task in ("retrieval", "zero_shot")}
    facts = facts_of({task: {"before": {}, "after": scores} for task, scores in after.items()})
    card = build_card(config(), "demo", **facts)
    values = [(entry.dataset_type, entry.metric_type, entry.metric_value) for entry in card.data.eval_results]
    assert ("zero_shot", "macro-F1", 40.0) in values
    assert ("zero_shot", "transfer_gap", 50.0) in values
    assert "BSD-3-Clause" in card.text
    assert MARK in card.text
    assert facts_of({"zero_shot": 1}) == {}
