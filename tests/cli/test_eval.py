"""`xling eval`: every task on a made-up data folder, what is reported, and bad input."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from transformers import AutoModel, AutoTokenizer

from tests.cli.eval_root import ENGLISH, GERMAN, LABELS, evaluate, task_of
from tests.conftest import encoder_config, make_tokenizer
from xling_align.cli import eval as command
from xling_align.cli.eval_figures import figures, first_entries, translations_of
from xling_align.cli.main import main
from xling_align.cli.models import load_config, text_encoder
from xling_align.cli.subject import Data, Subject
from xling_align.cli.tasks import TASKS
from xling_align.eval.data_dir import Rated, Translations
from xling_align.model_cards.card import facts_of, write_card
from xling_align.modeling_xling import InputError


@pytest.fixture(scope="module")
def everything(root, tmp_path_factory) -> tuple[Path, dict]:
    """All tasks on two models, two seeds."""
    output = tmp_path_factory.mktemp("everything")
    return output, evaluate(root, output, "--model", str(root / "ours"), "--seeds", "2", "--names", "plain,ours")


def test_every_task_is_measured_in_every_language_that_it_has(everything):
    report = everything[1]
    assert [task["name"] for task in report["tasks"]] == list(TASKS)
    for task in report["tasks"]:
        for name in ("plain", "ours"):
            result = task["results"][name]
            apart = "" if task["name"] == "leakage" else "en"
            others = {code: score for code, score in result["languages"].items() if code != apart}
            assert others and result["score"] == pytest.approx(sum(others.values()) / len(others), abs=1e-5)
            assert [run["seed"] for run in result["runs"]] == list(range(2 if TASKS[task["name"]].training else 1))
            assert set(result["details"]) == set(result["languages"])
    assert set(task_of(report, "sib200")["results"]["ours"]["languages"]) == {"en", "de", "fr"}
    assert set(task_of(report, "tatoeba")["results"]["ours"]["languages"]) == {"de", "fr"}
    assert report["models"][1]["languages"] == ["en", "de"]
    assert report["data"]["rows"]["tatoeba"] == {"de": 7, "fr": 7}


def test_the_oracle_is_never_below_the_choice_on_english_and_both_are_epochs_of_one_training(everything):
    for name in ("sib200_tuned", "panx", "masakhaner", "pawsx", "pawsx_mixed", "xnli", "xnli_mixed"):
        result = task_of(everything[1], name)["results"]["ours"]
        assert len(result["fine_tuning"]) == 2 and "dev_score" in result["fine_tuning"][0][0]
        for code, score in result["languages"].items():
            assert result["oracle"]["languages"][code] >= score - 1e-6
    assert task_of(everything[1], "sib200")["results"]["ours"]["oracle"] is None


def test_the_card_shows_the_results_of_the_model_that_is_pushed(root, everything, tmp_path):
    output, report = everything
    shutil.copytree(root / "ours", tmp_path / "moved")
    facts = facts_of(report, Subject(str(tmp_path / "moved")).digest)  # known by its weights, not by its path
    assert write_card(tmp_path, load_config(str(root / "ours")), "ours", **facts)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    index = yaml.safe_load(text.split("---\n")[1])["model-index"][0]["results"]  # refuses any object of Python's
    values = {
        (result["dataset"]["type"], result["dataset"].get("config"), metric["type"]): metric["value"]
        for result in index
        for metric in result["metrics"]
    }
    scores = task_of(report, "xnli")["results"]["ours"]["languages"]
    assert values["xnli", "de", "accuracy"] == round(100 * scores["de"], 2)
    assert values["xnli", None, "transfer_gap"] == pytest.approx(
        100 * task_of(report, "xnli")["results"]["ours"]["gap"], abs=0.01
    )
    assert not any(dataset in ("leakage", "pair_similarity") for dataset, _, _ in values)
    assert not (tmp_path / ".eval_results").exists()  # data of a folder may be others than the Hub's


def test_scores_of_a_part_of_a_test_are_not_given_out_for_the_whole(root, tmp_path):
    report = evaluate(root, tmp_path, "--tasks", "stsb", "--limit", "5")
    result = facts_of(report, report["models"][0]["digest"])["results"][0]
    assert result["dataset"] is None and result["split"] == "test, first 5 rows"


def test_entity_types_that_were_not_trained_on_are_left_out_and_said_so(everything):
    metadata = task_of(everything[1], "masakhaner")["results"]["ours"]["metadata"]
    assert metadata["types"] == ["PER"] and metadata["left_out_types"] == ["DATE"]


def test_confusion_matrices_count_every_text_of_every_seed(everything):
    for name, texts in (("sib200", 16), ("sib200_tuned", 32), ("label_names", 16), ("xnli", 16)):
        confusion = task_of(everything[1], name)["results"]["plain"]["details"]["de"]["confusion"]
        assert set(confusion["labels"]) <= set(LABELS)
        assert sum(map(sum, confusion["counts"])) == texts


def test_retrieval_agrees_with_an_independent_script(root, everything):
    tokenizer, model = AutoTokenizer.from_pretrained(root / "plain"), AutoModel.from_pretrained(root / "plain").eval()

    def vectors(texts):
        batch = tokenizer(texts, padding=True, return_tensors="pt")
        with torch.no_grad():
            states = model(**batch).last_hidden_state * batch["attention_mask"][:, :, None]
        return torch.nn.functional.normalize(states.sum(1) / batch["attention_mask"].sum(1, keepdim=True), dim=1)

    cosine = vectors(ENGLISH[:7]) @ vectors(GERMAN[:7]).T
    right = [(cosine.argmax(axis) == torch.arange(7)).float().mean().item() for axis in (0, 1)]
    found = task_of(everything[1], "tatoeba")["results"]["plain"]["languages"]["de"]
    assert found == pytest.approx(sum(right) / 2, abs=1e-5)


def test_a_rerun_encodes_and_measures_nothing_again_and_writes_the_same(root, everything, capsys, monkeypatch):
    output, report = everything
    before = (output / "results.json").read_bytes()
    monkeypatch.setattr(command.Evaluation, "measure", lambda *_: pytest.fail("measured again"))
    more = ("--model", str(root / "ours"), "--seeds", "2", "--names", "plain,ours")
    assert evaluate(root, output, *more) == report
    assert (output / "results.json").read_bytes() == before
    assert "..." not in capsys.readouterr().out


def test_an_untrained_encoder_stands_beside_and_is_the_same_in_every_run(root, tmp_path):
    reports = [evaluate(root, tmp_path / run, "--untrained", "--tasks", "tatoeba") for run in ("a", "b")]
    assert [model["name"] for model in reports[0]["models"]] == ["plain", "untrained"]
    assert reports[0]["models"][0]["digest"] != reports[0]["models"][1]["digest"]
    assert reports[0]["tasks"] == reports[1]["tasks"]


def test_development_sets_are_measured_in_the_place_of_tests(root, tmp_path):
    report = evaluate(root, tmp_path, "--dev", "--seeds", "1", "--tasks", "tatoeba,mining,wordalign,panx,xnli")
    assert {task["split"] for task in report["tasks"]} == {"dev"}
    assert task_of(report, "tatoeba")["results"]["plain"]["details"]["de"]["sentences"] == 8  # XNLI's


def test_languages_are_chosen_beside_english(root, tmp_path):
    report = evaluate(root, tmp_path, "--languages", "de", "--tasks", "sib200,sts17,tatoeba")
    assert [list(task["results"]["plain"]["languages"]) for task in report["tasks"]] == [
        ["de", "en"],
        ["de-en"],
        ["de"],
    ]


@pytest.mark.parametrize(
    ("change", "flags", "says"),
    [
        (None, ["--tasks", "tatoba"], "did you mean 'tatoeba'"),
        ("rm tatoeba", ["--tasks", "tatoeba"], "task 'tatoeba' has no data"),
        (None, ["--languages", "xx"], "language 'xx' has no data"),
        (None, ["--languages", "fr", "--tasks", "sts17"], "has no data in"),
        (None, ["--languages", "en"], "besides English"),
        ("sib200/de/test.tsv", ["--tasks", "sib200"], "is empty"),
        ("ner/panx/de/test.conll", ["--tasks", "panx"], "is empty"),
        ("index_id\tcategory\ttext\n1\tnoon\tgut\n sib200/de/test.tsv", ["--tasks", "sib200"], "label 'noon'"),
        ("index_id\tcategory\ttext\n1\tnoon\tgut\n sib200/de/test.tsv", ["--tasks", "sib200_tuned"], "label 'noon'"),
        ("index_id\tcategory\ttext\n1\tnoon\tgut\n sib200/de/test.tsv", ["--tasks", "label_names"], "label 'noon'"),
        ("premise\thypothesis\tlabel\na\tb\tnoon\n xnli/de/test.tsv", ["--tasks", "xnli"], "label 'noon'"),
        ("guten\tB-PER\nmorgen\n ner/panx/de/test.conll", ["--tasks", "panx"], "line 2"),
        (None, ["--model", "no/such"], "neither a model folder"),
        (None, ["--names", "a,b"], "2 names for 1 models"),
        (None, ["--untrained", "--names", "untrained"], "the name of two models"),
        (None, ["--tasks", "tatoeba", "--label_prompts", "x.yaml"], "for the task label_names"),
        (None, ["--tasks", "label_names", "--label_prompts", "x.yaml"], "can't be read as YAML"),
        ("rm xnli/en", ["--tasks", "mining"], "has no English"),
        ("premise\thypothesis\tlabel\na\tb\tday\n xnli/de/test.tsv", ["--tasks", "mining"], "1 rows in 'de'"),
        ("index_id\tcategory\ttext\n1\tday\tgut\n sib200/de/test.tsv", ["--tasks", "leakage"], "1 rows in 'de'"),
        (None, ["--seeds", "0"], "seeds"),
        (None, ["--data_dir", "/nowhere"], "has no task's data"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(root, tmp_path, capsys, change, flags, says):
    data = tmp_path / "data"
    shutil.copytree(root / "data", data)
    if change and change.startswith("rm "):
        shutil.rmtree(data / change[3:])
    elif change:
        text, _, name = change.rpartition(" ")
        (data / name).write_text(text)
    words = ["eval", "--model", str(root / "plain"), "--data_dir", str(data), "--output", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as stopped:
        main([*words, *flags])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
    assert not (tmp_path / "out" / "parts").exists()  # all was checked before any work


def test_tasks_that_nobody_named_are_left_out_where_they_lack_the_languages(root, tmp_path, capsys):
    for task in ("sts17", "tatoeba"):  # STS 2017 is there in German alone
        shutil.copytree(root / "data" / task, tmp_path / "data" / task)
    data = ["--data_dir", str(tmp_path / "data")]
    report = evaluate(root, tmp_path / "out", "--languages", "fr", *data)
    assert [task["name"] for task in report["tasks"]] == ["tatoeba", "pair_similarity"]
    assert "sts17 is left out: it has no data in fr besides English" in capsys.readouterr().out


def test_stored_vectors_are_those_of_the_encoder(root, tmp_path):
    from xling_align.cli.subject import Subject

    bare, stored = Subject(str(root / "ours")), Subject(str(root / "ours"), tmp_path)
    for _ in range(2):
        for code in ("de", "fr", None):  # French is read as the unknown language
            np.testing.assert_array_equal(stored.encode(GERMAN, language=code), bare.encode(GERMAN, language=code))
    assert len(list(tmp_path.iterdir())) == 2


def test_the_page_shows_clouds_classes_and_words_of_all_models(everything):
    page = (everything[0] / "results.html").read_text(encoding="utf-8")
    assert "Languages&#39; clouds: plain, ours" in page
    assert "Classes in en: plain, ours" in page
    assert "Words and their translations (en, " in page


def test_translations_are_drawn_by_language_and_meaning():
    sides = {"de": Translations(["sun", "rain"], ["Sonne", "Regen"]), "fr": Translations(["sun"], ["soleil"])}
    texts = translations_of(sides)
    assert texts["en"] == {"de 1": "sun", "de 2": "rain", "fr 1": "sun"}
    assert texts["de"] == {"de 1": "Sonne", "de 2": "Regen"} and texts["fr"] == {"fr 1": "soleil"}


def test_words_are_drawn_once_and_not_if_spelt_alike():
    words = Translations(["sun", "taxi", "sun", "sol", "rain"], ["Sonne", "taxi", "Sol", "Sonne", "Regen"])
    assert first_entries(words) == [("sun", "Sonne"), ("rain", "Regen")]


def test_without_data_for_them_there_are_no_such_plots(root):
    ours = Subject(str(root / "ours"))
    assert figures({"ours": ours}, {"sts17": Data({"de-en": Rated(["a"], ["b"], [1.0], ("de", "en"))})}, {}) == []


def test_an_encoder_without_pooler_is_known_again(root, tmp_path):
    torch.manual_seed(0)
    AutoModel.from_config(encoder_config("bert"), add_pooling_layer=False).save_pretrained(tmp_path / "bare")
    make_tokenizer().save_pretrained(tmp_path / "bare")
    assert len({Subject(str(tmp_path / "bare")).digest for _ in range(2)}) == 1
    assert Subject(str(tmp_path / "bare")).digest != Subject(str(root / "plain")).digest


@pytest.mark.parametrize(
    "settings", [{"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, {"pooling_mode": "cls"}]
)
def test_a_plain_encoder_is_pooled_as_sentence_transformers_pools_it(root, tmp_path, settings, caplog):
    folder = tmp_path / "model"
    shutil.copytree(root / "plain", folder)
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense")]
    modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds]
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps(settings), encoding="utf-8")
    assert text_encoder(str(folder)).pooling == "cls" and "without its Dense" in caplog.text
    (folder / "1_Pooling/config.json").write_text('{"pooling_mode_max_tokens": true}', encoding="utf-8")
    with pytest.raises(InputError, match="pools by max; cls and mean"):
        text_encoder(str(folder))


def test_english_pairs_stand_apart_from_those_of_two_languages(root, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(root / "data/sts17", data / "sts17")
    shutil.copy(root / "data/sts17/de-en.tsv", data / "sts17/en-en.tsv")
    output = tmp_path / "out"
    assert main(["eval", "--model", str(root / "plain"), "--data_dir", str(data), "--output", str(output)]) == 0
    task = json.loads((output / "results.json").read_text(encoding="utf-8"))["tasks"][0]
    result = task["results"]["plain"]
    assert task["source"] == "en-en" and result["source"] == result["languages"]["en-en"]
    assert result["score"] == result["languages"]["de-en"]
    assert "without en-en" in (output / "results.md").read_text(encoding="utf-8")


def test_the_page_gives_all_measures_and_what_they_rest_on(everything):
    text = (everything[0] / "results.md").read_text(encoding="utf-8")
    assert all(f"| {name} |" in text for name in ("mrr", "aer", "p at 5", "uniformity", "isomorphism"))
    assert "left out types DATE" in text and "mean** of all" in text
    mrr = task_of(everything[1], "tatoeba")["results"]["plain"]["details"]
    means = [
        float(cell) for cell in next(line for line in text.split("\n") if line.startswith("| mrr |")).split("|")[2:4]
    ]
    assert means[0] == pytest.approx(sum(own["mrr"] for own in mrr.values()) / len(mrr), rel=1e-3)


def test_a_random_encoder_stands_beside_the_first_model_of_each_command(root, tmp_path):
    evaluate(root, tmp_path, "--untrained", "--tasks", "tatoeba")
    flags = ["--data_dir", str(root / "data"), "--output", str(tmp_path), "--untrained", "--tasks", "tatoeba"]
    assert main(["eval", "--model", str(root / "ours"), *flags]) == 0
    models = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["models"]
    assert models[0]["parameters"] == models[1]["parameters"] and models[1]["aligned"]
