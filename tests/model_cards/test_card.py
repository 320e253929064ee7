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
from xling_align.model_cards.sources import PAPERS, training
from xling_align.modeling_xling import InputError, XLingAlignConfig

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
    start = "embeddings start at those of their translations"
    for without, said in ((["mlm"], True), (["lexicon"], False), (["word"], True)):
        parts = [part for part, _ in training({"lexicon_start": True, "without": without})]
        assert any(start in part for part in parts) == said
    parts = [part for part, _ in training({"rounds": 3, "added_languages": ["nl", "sw"]})]
    assert "nl, sw" in parts[0] and parts[1].endswith("single sentences: 3")
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


REPORT = {
    "source": "en",
    "models": [{"name": "before"}, {"name": "after", "digest": "d1"}],
    "tasks": [
        {
            "name": "zero_shot",
            "metric": "macro-F1",
            "unit": "%",
            "higher_is_better": True,
            "results": {name: {"languages": {"en": 0.9, "de": 0.4}} for name in ("before", "after")},
        }
    ],
}


def test_a_report_speaks_for_the_weights_that_it_measured_alone():
    card = build_card(config(), "demo", **facts_of(REPORT, "d1"))
    values = [(entry.dataset_type, entry.metric_type, entry.metric_value) for entry in card.data.eval_results]
    assert ("zero_shot", "macro-F1", 40.0) in values
    assert ("zero_shot", "transfer_gap", 50.0) in values
    assert MARK in card.text
    for digest in ("d2", ""):
        with pytest.raises(InputError, match="other weights.*before, after"):
            facts_of(REPORT, digest)
    alone = {**REPORT, "models": [{"name": "after", "path": "model"}]}  # of a time when weights were not told apart
    with pytest.raises(InputError, match="other weights"):
        facts_of(alone, "d1")
    with pytest.raises(InputError, match="can't be read"):
        facts_of({"models": 1}, "d1")


def test_a_data_set_of_the_hub_is_named_only_for_data_of_a_known_commit():
    task = {**REPORT["tasks"][0], "dataset": "facebook/xnli", "split": "test"}
    for revision, named in ((None, None), ("a" * 40, "facebook/xnli")):
        report = {**REPORT, "tasks": [{**task, "revision": revision}]}
        assert facts_of(report, "d1")["results"][0]["dataset"] == named


def test_the_files_of_an_earlier_card_go_and_those_of_others_stay(folder):
    theirs = folder / ".eval_results" / "other--set.yaml"
    theirs.write_text("- dataset: {id: other/set}\n")
    moved = [{**RESULTS[0], "dataset": "mteb/sib200"}]
    assert write_card(folder, config(), "model", **FACTS | {"results": moved})
    assert sorted(path.name for path in theirs.parent.iterdir()) == ["mteb--sib200.yaml", theirs.name]
    assert write_card(folder, config(), "model")
    assert list(theirs.parent.iterdir()) == [theirs]


def test_what_a_training_left_is_in_the_card(caplog):
    recipe = {"losses": ["inter"], "inter_loss": "infonce", "learning_rate": 2e-5, "num_train_epochs": 3.0}
    recipe["fine_tuning"] = {"task": "pair", "language": "en", "learning_rate": 1e-4, "alignment": True}
    data = {"bible": {"pairs": 2000}, "mine.tsv": {"pairs": "300 labelled rows"}}
    text = build_card(config(), "model", training_data=data, recipe=recipe).text
    assert "- Training: learning rate 2e-05, 3 epochs." in text
    assert "- Fine-tuned on labelled rows in en: learning rate 0.0001." in text
    assert "translation pairs kept near each other" in text
    assert "| bible | 2,000 | public domain" in text and "| mine.tsv | 300 labelled rows | not stated |" in text
    assert "training pairs are from" not in text  # labelled rows are no pairs
    assert "licence of mine.tsv left out" in warnings_of(caplog)
