"""`xling eval` going on: what is measured again, commands that share the work, settings of fine-tuning from a file."""

import argparse
import io
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from transformers import AutoModel

from tests.cli.eval_root import ENGLISH, GERMAN, evaluate, task_of
from tests.conftest import encoder_config
from xling_align.cli import eval as command
from xling_align.cli.subject import Subject
from xling_align.cli.tuning import read_tuning
from xling_align.eval.encoding import TextEncoder
from xling_align.eval.stored_vectors import StoredVectors
from xling_align.modeling_xling import InputError


def test_tasks_share_vectors(root, tmp_path):
    evaluate(root, tmp_path, "--tasks", "sib200")
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "vectors").iterdir()}
    evaluate(root, tmp_path, "--tasks", "label_names,leakage")
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "vectors").iterdir()}
    assert files.items() <= after.items()
    assert len(after) == len(files) + 2  # the descriptions of the labels, by two templates; no test text


def test_changed_settings_data_and_weights_are_measured_anew(root, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    output = tmp_path / "out"

    def parts():
        return set((output / "parts").iterdir())

    more = ("--tasks", "tatoeba,sib200_tuned", "--seeds", "1")
    first = evaluate(copy, output, *more)
    one = parts()
    assert len(one) == 2
    evaluate(copy, output, *more, "--train_limit", "8")
    two = parts()
    assert len(two - one) == 1  # of the fine-tuned task alone
    (copy / "data/tatoeba/de-en.de").write_text("\n".join(reversed(GERMAN[:7])) + "\n", encoding="utf-8")
    changed = evaluate(copy, output, *more)
    assert len(parts() - two) == 1
    scores = [task_of(report, "tatoeba")["results"]["plain"]["languages"] for report in (first, changed)]
    assert scores[0]["fr"] == scores[1]["fr"]
    torch.manual_seed(1)
    AutoModel.from_config(encoder_config("bert")).save_pretrained(copy / "plain")
    three = parts()
    evaluate(copy, output, *more)
    assert len(parts() - three) == 2


def test_a_task_that_is_added_to_a_training_is_measured_and_the_others_are_not_again(root, tmp_path):
    more = ("--seeds", "1", "--tasks")
    evaluate(root, tmp_path / "grown", *more, "panx")
    (first,) = (tmp_path / "grown" / "parts").iterdir()
    measured = first.stat().st_mtime_ns
    reports = [evaluate(root, tmp_path / output, *more, "panx,masakhaner") for output in ("grown", "whole")]
    assert first.stat().st_mtime_ns == measured
    assert reports[0]["tasks"] == reports[1]["tasks"]


def test_two_commands_share_the_work_between_them(root, tmp_path, monkeypatch):
    parser, measured, both = argparse.ArgumentParser(), [], threading.Barrier(2, timeout=120)
    command.add_arguments(parser)
    flags = ["--model", str(root / "plain"), "--data_dir", str(root / "data"), "--output", str(tmp_path)]
    args = parser.parse_args([*flags, "--tasks", "tatoeba,sib200,label_names,leakage,stsb"])
    original = command.Evaluation.measure

    def measure(self, name, subject, paths, seed):
        measured.extend(paths)
        if len(measured) <= 2:  # goes on only when the other command is at something else
            both.wait()
        original(self, name, subject, paths, seed)

    monkeypatch.setattr(command.Evaluation, "measure", measure)
    with ThreadPoolExecutor(2) as threads:
        reports = list(threads.map(lambda _: command.Evaluation(args).report(), range(2)))
    assert sorted(measured) == sorted(args.tasks)
    assert reports[0] == reports[1]


def test_commands_that_encode_the_same_texts_at_once_do_not_disturb_each_other(root, tmp_path):
    both, encoder = threading.Barrier(2, timeout=120), Subject(str(root / "plain")).encoder

    class Together(TextEncoder):
        def __call__(self, texts, language=None):
            both.wait()
            return super().__call__(texts, language)

    stored = StoredVectors(Together(encoder.model, encoder.tokenizer), tmp_path, "digest")
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(stored, [ENGLISH, ENGLISH]))
    np.testing.assert_array_equal(*found)
    assert [path.suffix for path in tmp_path.iterdir()] == [".npy"]


def test_settings_of_fine_tuning_come_from_a_file(root, tmp_path):
    file, more = tmp_path / "tuning.yaml", ("--tasks", "sib200_tuned", "--seeds", "1")
    reports = [evaluate(root, tmp_path / "out", *more)]
    for changes in ("learning_rate: 1e-3, num_train_epochs: 2", "select: average, lora_rank: 2, num_train_epochs: 2"):
        file.write_text(f"sib200: {{{changes}}}\npanx: {{learning_rate: 1}}\n")
        reports.append(evaluate(root, tmp_path / "out", *more, "--tuning", str(file)))
    histories = [task_of(report, "sib200_tuned")["results"]["plain"]["fine_tuning"][0] for report in reports]
    assert [len(history) for history in histories] == [8, 2, 2]
    assert "average_dev_score" in histories[2][-1]
    used = [report["data"]["fine_tuning"]["sib200"] for report in reports]
    assert used[0]["learning_rate"] == 2e-4 and used[1]["learning_rate"] == 1e-3 and used[2]["lora_rank"] == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "there is no file"),
        ("xnly: {learning_rate: 1e-4}", "--tuning 'xnly' is not one of sib200, panx, pawsx, xnli"),
        ("xnli: 3", "xnli: must hold"),
        ("- xnli", "must hold"),
        ("xnli: {learning_rat: 1e-4}", "did you mean 'learning_rate'"),
        ("xnli: {learning_rate: fast}", "invalid float value: 'fast'"),
        ("xnli: {select: mean}", "--select 'mean' is not one of best, average, last"),
        ("xnli: {num_train_epochs: 0}", "--num_train_epochs is 0"),
        ("xnli: {alignment_weight: 0.1}", "'alignment_weight' is no argument that can be set here"),
        ("xnli: {seed: 3}", "'seed' is no argument that can be set here"),
    ],
)
def test_bad_settings_of_fine_tuning_are_refused_in_one_line(tmp_path, text, says):
    path = tmp_path / "tuning.yaml"
    if text:
        path.write_text(text)
    with pytest.raises(InputError, match=says) as refused:
        read_tuning(str(path))
    assert "\n" not in str(refused.value)


def test_settings_that_no_task_is_fine_tuned_by_are_refused(root, tmp_path, capsys):
    (tmp_path / "tuning.yaml").write_text("panx: {learning_rate: 1e-4}\n")
    with pytest.raises(SystemExit):
        evaluate(root, tmp_path, "--tasks", "tatoeba,sib200_tuned", "--tuning", str(tmp_path / "tuning.yaml"))
    error = capsys.readouterr().err
    assert "--tuning changes panx, and none of --tasks is fine-tuned so" in error and error.count("\n") == 1
    assert not (tmp_path / "parts").exists()


@pytest.mark.parametrize("terminal", [True, False])
def test_fine_tuning_and_encoding_show_progress_on_a_terminal(root, tmp_path, monkeypatch, terminal):
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr("xling_align.eval.encoding.PATIENCE", 0)
    monkeypatch.setattr(sys, "stderr", screen)
    evaluate(root, tmp_path, "--tasks", "tatoeba,sib200_tuned", "--seeds", "1")
    said = screen.getvalue()
    assert ("texts:" in said) == terminal  # of retrieval
    assert ("8/8" in said) == terminal  # steps of fine-tuning


def test_killed_and_started_again_it_ends_with_the_same_results(root, tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    more = ("--tasks", "tatoeba,sib200_tuned,pawsx", "--seeds", "2")
    program = "from xling_align.cli.main import main; raise SystemExit(main())"
    flags = ["--model", str(root / "plain"), "--data_dir", str(root / "data"), "--output", str(killed), *more]
    process = subprocess.Popen([sys.executable, "-c", program, "eval", *flags], stdout=subprocess.DEVNULL)
    while len(list((killed / "parts").glob("*.json"))) < 2:  # one seed of a fine-tuning is done
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "results.json").exists()
    done = {path.name: path.read_bytes() for path in (killed / "parts").glob("*.json")}
    assert len(done) < 5
    reports = [evaluate(root, output, *more) for output in (killed, whole)]
    assert all((killed / "parts" / name).read_bytes() == content for name, content in done.items())
    assert reports[0]["tasks"] == reports[1]["tasks"]
