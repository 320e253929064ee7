"""`xling push` to a real HTTP hub on loopback: what arrives, what stays behind, and each way that it can fail."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard, close_session, constants
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from tests.conftest import LANGUAGES, make_tokenizer, stir
from tests.hub_server import TOKEN, LoopbackHub
from xling_align.cli.main import main
from xling_align.cli.subject import Subject
from xling_align.model_cards.card import MARK
from xling_align.modeling_xling import XLingAlignModel
from xling_align.trainers.classifiers import build_classifier, load_base

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's own call

REPO = "tester/tiny"
SECRETS = {
    "optimizer.pt",
    "scheduler.pt",
    "rng_state.pth",
    "training_args.bin",
    "trainer_state.json",
    "pytorch_model.bin",
    ".env",
    "token",
    "token.json",
    "secret.py",
    "phrases.tsv",
    "checkpoint-3/model.safetensors",
    "checkpoint-3/config.json",
    "checkpoint-3/optimizer.pt",
    "1_Pooling/optimizer.pt",
    "1_Pooling/.env",
    "1_Pooling/deep/config.json",
    ".eval_results/.env",
    ".cache/huggingface/token",
    ".git/config",
    "LICENSES/token",
    "runs/events.out.tfevents.1",
}
CODE = {"configuration_xling.py", "fusion.py", "heads.py", "modeling_xling.py"}
MODEL = {"README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "modules.json"}
SENTENCE_TRANSFORMERS = {"config_sentence_transformers.json", "sentence_bert_config.json"}
MODULES = {"1_Pooling/config.json", "2_Normalize/config.json"}
WHOLE = CODE | MODEL | SENTENCE_TRANSFORMERS | MODULES
REPORT = {
    "results": [
        {
            "task": "sib200",
            "metric": "macro_f1",
            "scores": {"en": 90.5, "de": 80.0, "fr": 70.0},
            "dataset": "Davlan/sib200",
        }
    ],
    "training_data": {"tico19": 1000},
    "recipe": {"losses": ["inter"], "inter_loss": "additive_margin"},
    "licence": "apache-2.0",
}


@pytest.fixture(scope="module")
def trained(encoder_folders, tmp_path_factory) -> Path:
    """A tiny model as `save_pretrained` leaves it."""
    torch.manual_seed(3)
    model = XLingAlignModel.from_encoder(encoder_folders["xlm-roberta"], LANGUAGES).eval()
    stir(model)
    folder = tmp_path_factory.mktemp("saved") / "tiny-aligned"
    model.save_pretrained(folder, tokenizer=make_tokenizer())
    return folder


@pytest.fixture
def saved(trained, tmp_path) -> Path:
    """A copy of the model, whose card a push may write."""
    return Path(shutil.copytree(trained, tmp_path / "tiny-aligned"))


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    """The model with all that a training and its owner may leave beside it."""
    folder = tmp_path / "my-model"
    shutil.copytree(saved, folder)
    for name in SECRETS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"secret {name}")
    return folder


@pytest.fixture
def hub(monkeypatch):
    """A hub, and this process set to it as by HF_ENDPOINT, HF_TOKEN and HF_HUB_DISABLE_XET."""
    with LoopbackHub() as hub:
        settings = {"ENDPOINT": hub.url, "HF_HUB_OFFLINE": False, "HF_HUB_DISABLE_XET": True}
        settings["HUGGINGFACE_CO_URL_TEMPLATE"] = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        for name, value in settings.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub
        close_session()


@pytest.fixture
def pauses(monkeypatch) -> list[float]:
    """The waits between attempts, which are noted and not slept."""
    waits: list[float] = []
    clock = SimpleNamespace(sleep=waits.append)
    monkeypatch.setattr("huggingface_hub.utils._http.time", clock)
    monkeypatch.setattr("xling_align.cli.hub.time", clock)
    return waits


def push(folder: Path, *flags: str) -> int:
    return main(["push", str(folder), REPO, *flags])


def error_of(capsys, folder: Path, *flags: str) -> str:
    """The one line that a push fails with."""
    with pytest.raises(SystemExit) as stop:
        push(folder, *flags)
    assert stop.value.code == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "Traceback" not in errors[0] and TOKEN not in errors[0]
    return errors[0]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# ---------------------------------------------------------------------- what arrives


def environment(hub: LoopbackHub, home: Path) -> dict[str, str]:
    """The environment of a stranger who has nothing but the hub's address and a token."""
    return {
        "PATH": os.environ["PATH"],
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": TOKEN,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }


def test_a_pushed_model_loads_by_its_id_in_a_fresh_process_with_the_same_vectors(saved, hub, tmp_path):
    assert push(saved, "--private") == 0
    (tmp_path / "folders.json").write_text(json.dumps({"pushed": REPO}))
    script = Path(__file__).parents[1] / "modeling_xling" / "load_alone.py"
    # a site-packages on PYTHONPATH is read without its .pth files, so an editable install is out of sight
    alone = environment(hub, tmp_path / "home") | {"PYTHONPATH": sysconfig.get_path("purelib")}
    command = [sys.executable, "-S", str(script), str(tmp_path / "folders.json"), str(tmp_path / "report.json")]
    done = subprocess.run(command, cwd=tmp_path, env=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report.json").read_text())["pushed"]
    model, tokenizer = AutoModel.from_pretrained(saved).eval(), AutoTokenizer.from_pretrained(saved)
    texts = ["good morning", "guten morgen sonne mond rot", "bonjour", "sun " * 60]
    batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    for language in ("en", "de", None):
        pooled = model(batch["input_ids"], batch["attention_mask"], language_ids=language).pooler_output
        expected = torch.nn.functional.normalize(pooled, dim=1).detach().numpy()
        for reader in ("auto", "sentence_transformers"):
            np.testing.assert_allclose(report[str(language)][reader], expected, atol=1e-5)
    assert hub.asked("GET", "/objects/") == 1  # the weights, once for all six loads
    assert hub.asked("GET", "/resolve/.*/modeling_xling.py") == 1


def test_only_the_model_arrives(folder, hub, capsys):
    assert push(folder) == 0
    arrived = hub.files(REPO)
    assert set(arrived) == WHOLE | {".gitattributes"}
    for name in WHOLE:
        assert arrived[name] == (folder / name).read_bytes()
    assert not any(b"secret" in content for content in arrived.values())
    assert hub.uploads == [sha256(folder / "model.safetensors")]
    out = capsys.readouterr().out
    assert f"{hub.url}/{REPO}/commit/" in out
    assert "left behind: .cache/huggingface/token" in out


def test_private_branch_and_message_arrive(saved, hub):
    assert push(saved, "--private", "--revision", "try/one", "--message", "Five epochs") == 0
    repository = hub.repositories[REPO]
    assert repository.private
    assert repository.branches["try/one"][-1].message == "Five epochs"
    assert set(repository.branches["main"][-1].files) == {".gitattributes"}
    assert push(saved, "--revision", "try/one", "--message", "Again") == 0  # nothing new: no commit
    assert len(repository.branches["try/one"]) == 2


def test_a_repository_is_public_unless_asked(saved, hub):
    assert push(saved) == 0
    assert not hub.repositories[REPO].private


def test_a_name_alone_goes_to_the_namespace_of_the_token(saved, hub):
    assert main(["push", str(saved), "tiny"]) == 0
    assert set(hub.files("tester/tiny")) == WHOLE | {".gitattributes"}


def test_a_second_push_uploads_what_changed_and_no_more(folder, hub):
    assert push(folder) == 0
    assert push(folder) == 0
    assert len(hub.uploads) == 1
    assert len(hub.repositories[REPO].branches["main"]) == 2
    (folder / "2_Normalize" / "config.json").write_text("{}")
    assert push(folder) == 0
    assert len(hub.uploads) == 1
    assert hub.files(REPO)["2_Normalize/config.json"] == b"{}"


def test_the_endpoint_comes_from_the_environment(saved, hub, tmp_path):
    command = [sys.executable, "-m", "xling_align.cli.main", "push", str(saved), REPO]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(hub, tmp_path / "home"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert set(hub.files(REPO)) == WHOLE | {".gitattributes"}


# ---------------------------------------------------------------------- the card


@pytest.fixture
def report(tmp_path) -> str:
    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    return str(tmp_path / "report.json")


def test_the_results_of_a_report_arrive_in_place_of_the_plain_card(folder, hub, report):
    assert push(folder, "--report", report) == 0
    arrived = hub.files(REPO)
    card = ModelCard(arrived["README.md"].decode())
    values = {(result.dataset_config, result.metric_type): result.metric_value for result in card.data.eval_results}
    assert values[("de", "macro_f1")] == 80.0
    assert values[(None, "transfer_gap")] == 15.5
    assert f'SentenceTransformer("{REPO}"' in card.text
    assert b"value: 75.0" in arrived[".eval_results/Davlan--sib200.yaml"]


def test_a_newer_report_replaces_the_older_ones_card(folder, hub, report):
    push(folder, "--report", report)
    changed = json.loads(json.dumps(REPORT).replace("70.0", "72.0"))
    Path(report).write_text(json.dumps(changed))
    push(folder, "--report", report)
    assert b"72.0" in hub.files(REPO)["README.md"]


@pytest.mark.parametrize(
    "edit",
    [
        lambda plain, written: plain + "\nMy own words.\n",
        lambda plain, written: written.replace(MARK, ""),
        lambda plain, written: "---\nlicense: mit\n---\n\n# Mine\n",
    ],
    ids=["plain card with words", "written card without its mark", "own card"],
)
def test_a_card_that_somebody_edited_stays(edit, folder, hub, report, capsys):
    card = folder / "README.md"
    plain = card.read_text()
    push(folder, "--report", report)
    edited = edit(plain, card.read_text())
    card.write_text(edited)
    assert push(folder, "--report", report) == 0
    assert hub.files(REPO)["README.md"].decode() == edited
    assert "stays" in capsys.readouterr().out


def test_a_card_is_made_where_there_is_none(folder, hub):
    (folder / "README.md").unlink()
    assert push(folder) == 0
    card = ModelCard(hub.files(REPO)["README.md"].decode())
    assert card.data.language == LANGUAGES
    assert MARK in card.text


def evaluation(folder: Path, path: Path, tasks: tuple[str, ...] = ("sib200", "xnli")) -> list[str]:
    """Flags with a report, as `xling eval` writes it, of the weights that lie in a folder."""
    results = {"other": {"languages": {"en": 0.5, "de": 0.4}}, "mine": {"languages": {"en": 0.91, "de": 0.82}}}
    shared = {"metric": "accuracy", "unit": "%", "higher_is_better": True, "results": results, "revision": "a" * 40}
    report = {
        "source": "en",
        "models": [{"name": "other", "digest": "0" * 32}, {"name": "mine", "digest": Subject(str(folder)).digest}],
        "tasks": [{"name": name, "dataset": f"mteb/{name}", **shared} for name in tasks],
    }
    path.write_text(json.dumps(report))
    return ["--report", str(path)]


def test_a_report_of_other_weights_is_refused_and_nothing_is_sent(folder, hub, tmp_path, capsys):
    flags = evaluation(folder, tmp_path / "results.json")
    assert push(folder, *flags) == 0
    assert b"82.0" in hub.files(REPO)["README.md"] and b"40.0" not in hub.files(REPO)["README.md"]
    before, sent = (folder / "README.md").read_bytes(), len(hub.requests)
    weights = load_file(folder / "model.safetensors")
    weights["encoder.embeddings.word_embeddings.weight"] += 1  # as if trained again at the same path
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert "other weights than the folder's (it measured other, mine)" in error_of(capsys, folder, *flags)
    assert (folder / "README.md").read_bytes() == before and len(hub.requests) == sent
    assert push(folder) == 0  # the card of the weights that were there before does not stay
    assert not any(b"82.0" in content for content in hub.files(REPO).values())


def test_results_of_an_earlier_push_go_here_and_on_the_hub_and_those_of_others_stay(folder, hub, tmp_path):
    (folder / ".eval_results").mkdir(exist_ok=True)
    theirs = folder / ".eval_results" / "their--set.yaml"
    theirs.write_text("- dataset: {id: their/set}\n")
    assert push(folder, *evaluation(folder, tmp_path / "results.json")) == 0
    theirs.unlink()  # only the Hub has it
    assert push(folder, *evaluation(folder, tmp_path / "results.json", ("xnli",))) == 0
    names = {name for name in hub.files(REPO) if name.startswith(".eval_results/")}
    assert names == {".eval_results/mteb--xnli.yaml", ".eval_results/their--set.yaml"}
    assert {path.name for path in theirs.parent.glob("*.yaml")} == {"mteb--xnli.yaml"}


def test_what_the_training_left_and_the_licence_are_in_the_card_and_the_file_stays_behind(folder, hub, capsys):
    facts = {"base_model": "me/base", "training_data": {"tico19": {"pairs": 3000}}, "recipe": REPORT["recipe"]}
    (folder / "training_facts.json").write_text(json.dumps(facts))
    assert push(folder, "--licence", "mit") == 0
    card = ModelCard(hub.files(REPO)["README.md"].decode())
    assert card.data.license == "mit" and card.data.base_model == "me/base"
    assert "| tico19 | 3,000 | CC0 1.0 |" in card.text and "additive margin softmax" in card.text
    assert "training_facts.json" not in hub.files(REPO)
    (folder / "training_facts.json").write_text("[1]")
    assert "training_facts.json can't be read" in error_of(capsys, folder)


def tuned(base: str, words: bool, folder: Path) -> Path:
    """A classifier as `xling finetune` saves it, on an aligned model or on a plain encoder."""
    model = build_classifier(load_base(base), ["dark", "light"], words)
    model.save_pretrained(folder, tokenizer=make_tokenizer())
    return folder


@pytest.mark.parametrize("words", [False, True], ids=["texts", "words"])
@pytest.mark.parametrize("aligned", [False, True], ids=["plain", "aligned"])
def test_the_cards_of_a_classifier_are_true_and_their_code_runs(aligned, words, saved, encoder_folders, hub, tmp_path):
    folder = tuned(str(saved) if aligned else encoder_folders["bert"], words, tmp_path / "tuned")
    plain = (folder / "README.md").read_text()
    assert push(folder) == 0
    written = hub.files(REPO)["README.md"].decode()
    kind = "token-classification" if words else "text-classification"
    for card in (plain, written):
        assert ModelCard(card).data.pipeline_tag == kind and ModelCard(card).data.library_name == "transformers"
        assert "dark, light" in card and "SentenceTransformer" not in card
        assert ("language_ids" in card) == (" languages: en, de, fr" in card) == aligned
        code = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
        for name in (f'"{REPO}"', f'"{folder.name}"'):
            code = [block.replace(name, repr(str(folder))) for block in code]
        assert len(code) == 1
        exec(code[0], {})
    assert "0 languages" not in plain + written and "vectors close to each other" not in written


def test_the_card_of_a_wrapped_encoder_tells_of_no_languages_and_its_code_runs(encoder_folders, hub, tmp_path):
    folder = tmp_path / "wrapped"
    model = XLingAlignModel.from_encoder(encoder_folders["bert"], [], language_token="none", fusion_context="none")
    model.save_pretrained(folder, tokenizer=make_tokenizer())
    plain = (folder / "README.md").read_text()
    assert push(folder) == 0
    for card in (plain, hub.files(REPO)["README.md"].decode()):
        assert "language_ids" not in card and "languages" not in card
        for block in re.findall(r"```python\n(.*?)```", card, re.DOTALL):
            exec(block.replace(f'"{REPO}"', repr(str(folder))).replace('"wrapped"', repr(str(folder))), {})


# ---------------------------------------------------------------------- what goes wrong


def test_without_a_token_nothing_is_sent(saved, hub, capsys, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    assert "hf auth login" in error_of(capsys, saved)
    assert hub.requests == []


def test_a_wrong_token_is_one_line(saved, hub, capsys, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    message = error_of(capsys, saved)
    assert "401" in message and "token" in message and "hf_wrong" not in message


def test_somebody_elses_namespace_is_one_line(saved, hub, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["push", str(saved), "google/tiny"])
    assert stop.value.code == 2
    assert "403" in (message := capsys.readouterr().err) and "write access" in message


@pytest.mark.parametrize("repo_id", ["a/b/c", "-tiny", "user/ti ny", "user/tiny.git", "../tiny", ""])
def test_a_bad_repository_id_is_one_line(saved, hub, repo_id, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["push", str(saved), "--", repo_id])
    assert stop.value.code == 2
    assert "is not valid" in capsys.readouterr().err
    assert hub.requests == []


def test_a_public_repository_does_not_take_what_should_be_private(saved, hub, capsys):
    push(saved)
    before = len(hub.requests)
    assert "public" in error_of(capsys, saved, "--private")
    assert not any("commit" in path or "preupload" in path for _, path in hub.requests[before:])


def test_a_conflict_is_one_line(saved, hub, capsys):
    hub.fail("POST", "/commit/", 409, "a commit has been made meanwhile")
    message = error_of(capsys, saved)
    assert "409" in message and "meanwhile" in message and "run the same command again" in message
    assert push(saved) == 0
    assert len(hub.uploads) == 1


@pytest.mark.parametrize("path", ["/api/repos/create", "/branch/", "/preupload/", "/objects/batch", "/commit/"])
def test_a_busy_hub_is_waited_for_as_long_as_it_says(saved, hub, path, pauses):
    hub.fail("POST", path, 429, "slow down", times=2, Retry_After="7")
    assert push(saved, "--revision", "branch") == 0
    assert set(hub.files(REPO, "branch")) == WHOLE | {".gitattributes"}
    assert len(pauses) == 2 and all(7 <= wait <= 8 for wait in pauses)


def test_patience_has_an_end(saved, hub, pauses, capsys):
    hub.fail("POST", "/api/repos/create", 429, "slow down", times=1000, Retry_After="70")
    assert "429" in error_of(capsys, saved)
    assert sum(pauses) <= 300
    hub.failures.clear()
    hub.fail("POST", "/api/repos/create", 429, "slow down", times=1000, Retry_After="100000")
    pauses.clear()
    assert "later" in error_of(capsys, saved)
    assert pauses == []


def test_a_connection_that_is_cut_once_is_no_matter(saved, hub, pauses):
    hub.cut("PUT", "/objects/", after_bytes=1000)
    assert push(saved) == 0
    assert hub.files(REPO)["model.safetensors"] == (saved / "model.safetensors").read_bytes()


def test_a_rerun_after_a_cut_uploads_only_what_is_missing(folder, hub, pauses, capsys):
    second = folder / "3_Dense" / "model.safetensors"
    second.parent.mkdir()
    save_file({"weight": torch.ones(3)}, second)
    hub.cut("PUT", f"/objects/{sha256(second)}", after_bytes=5, times=1000)
    message = error_of(capsys, folder)
    assert hub.url in message and "run the same command again" in message
    assert hub.uploads == [sha256(folder / "model.safetensors")]
    assert set(hub.files(REPO)) == {".gitattributes"}
    hub.failures.clear()
    assert push(folder) == 0
    assert hub.uploads == [sha256(folder / "model.safetensors"), sha256(second)]
    assert hub.files(REPO)["3_Dense/model.safetensors"] == second.read_bytes()


def test_a_cut_before_the_commit_is_one_line(saved, hub, pauses, capsys):
    hub.cut("POST", "/commit/")
    assert "run the same command again" in error_of(capsys, saved)
    assert push(saved) == 0
    assert len(hub.uploads) == 1


def test_no_hub_there_is_one_line(saved, capsys, hub, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "http://127.0.0.1:9" in error_of(capsys, saved)


def test_offline_mode_is_one_line(saved, hub, capsys, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in error_of(capsys, saved)


def test_metadata_that_the_hub_refuses_are_one_line(folder, hub, capsys):
    (folder / "README.md").write_text("---\n- a\n- b\n---\n# Mine\n")
    message = error_of(capsys, folder)
    assert "README.md" in message and "should be a dict" in message and "again" not in message


DAMAGES = {
    "no folder": (shutil.rmtree, "config.json"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "config.json"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "no weights"),
    "cut weights": (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:5000]),
        "model.safetensors is missing or cut",
    ),
    "missing shard": (
        lambda folder: (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "b.safetensors"}}'),
        "b.safetensors is missing",
    ),
    "broken index": (
        lambda folder: (folder / "model.safetensors.index.json").write_text("[1]"),
        "model.safetensors.index.json can't be read",
    ),
    "broken config": (lambda folder: (folder / "config.json").write_text("{"), "config"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_folder_that_is_no_model_is_one_line_and_sends_nothing(name, folder, hub, capsys):
    damage, expected = DAMAGES[name]
    damage(folder)
    assert expected in error_of(capsys, folder)
    assert hub.requests == []


@pytest.mark.parametrize(("content", "expected"), [(None, "can't be read"), ("{", "not JSON"), ("[]", "report.json")])
def test_a_bad_report_is_one_line_and_sends_nothing(content, expected, saved, hub, tmp_path, capsys):
    path = tmp_path / "bad.json"
    if content is not None:
        path.write_text(content)
    assert expected in error_of(capsys, saved, "--report", str(path))
    assert hub.requests == []
