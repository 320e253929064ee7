"""The alignment program as users start it: by launchers, killed in the middle, with fewer processes than asked for."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from safetensors.torch import load_file

from xling_align.modeling_xling import InputError
from xling_align.trainers import align, programs
from xling_align.trainers.facts import read_facts, write_facts

WORDS = ["morning", "night", "day", "sun", "moon", "red", "green", "blue"]
LAUNCHERS = {
    "accelerate": [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1"],
    "torchrun": [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"],
}
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def flags(tmp_path, encoder_folders) -> list[str]:
    """A recipe with a data file, as the program's arguments."""
    lines = [f"good {word} {other}\tguten {word} {other}\n" for word in WORDS for other in WORDS]
    (tmp_path / "pairs.tsv").write_text("".join(lines), encoding="utf-8")
    recipe = {
        "encoder": encoder_folders["bert"],
        "train_file": tmp_path / "pairs.tsv",
        "target_language": "de",
        "per_device_train_batch_size": 8,
        "learning_rate": "1.0e-3",
        "logging_steps": 5,
        "save_steps": 10,
        "disable_tqdm": "true",
    }
    (tmp_path / "recipe.yaml").write_text("".join(f"{key}: {value}\n" for key, value in recipe.items()))
    return ["-m", "xling_align.trainers.align", str(tmp_path / "recipe.yaml")]


def test_what_a_card_needs_is_left_beside_the_model_and_names_no_folder(flags, tmp_path):
    corpus = tmp_path / "data" / "parallel" / "bible" / "de-en.tsv"
    corpus.parent.mkdir(parents=True)
    corpus.write_text("good day\tguten tag\nred sun\trot sonne\n", encoding="utf-8")
    own = [flags[2], "--data_dir", str(tmp_path / "data"), "--max_pairs", "65", "--save_strategy", "no"]
    align.main([*own, "--max_steps", "1", "--output_dir", str(tmp_path / "out")])
    facts = read_facts(tmp_path / "out")
    assert facts["training_data"] == {"pairs.tsv": {"pairs": 64}, "bible": {"pairs": 1}}  # as many as were read
    assert facts["recipe"]["learning_rate"] == 1e-3 and facts["recipe"]["max_steps"] == 1
    assert facts["recipe"]["inter_loss"] == "infonce" and facts["base_model"] is None
    assert facts["recipe"]["lexicon_start"] is False
    on = ["--encoder", str(tmp_path / "out"), "--lexicon_start", "true", "--output_dir", str(tmp_path / "on")]
    align.main([*own, "--max_steps", "1", *on])
    assert read_facts(tmp_path / "on")["recipe"]["lexicon_start"] is False  # an aligned model's words stay
    assert "/" not in json.dumps(facts)
    write_facts(tmp_path, str(tmp_path / "out"), {"more.tsv": {"pairs": 3}}, {"inter_loss": "rince"})
    further = read_facts(tmp_path)
    assert list(further["training_data"]) == ["pairs.tsv", "bible", "more.tsv"]  # what the base learnt from, too
    assert further["recipe"] == facts["recipe"] | {"inter_loss": "rince"}
    write_facts(tmp_path, "owner/base", {}, {})
    assert read_facts(tmp_path)["base_model"] == "owner/base"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("--losses inter intra", "other settings (losses "),
        ("--learning_rate 1e-4 --warmup_steps 3", "(learning_rate 0.001, now 0.0001; warmup_steps "),
        ("--max_pairs 9", "(max_pairs None, now 9);"),
        ("--max_steps 1", "--max_steps 1; raise it"),
    ],
)
def test_a_rerun_with_other_settings_is_refused_and_leaves_all_as_it_was(flags, tmp_path, capsys, more, says):
    own = [flags[2], "--max_steps", "2", "--save_steps", "2", "--output_dir", str(tmp_path / "out")]
    align.main(own)
    before = {path: path.read_bytes() for path in (tmp_path / "out").glob("*.*")}
    with pytest.raises(SystemExit):
        align.main([*own, *more.split()])
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and says in error and "another --output_dir" in error
    assert before == {path: path.read_bytes() for path in (tmp_path / "out").glob("*.*")}


def test_a_rerun_with_other_pairs_in_the_same_file_is_refused(flags, tmp_path, capsys):
    own = [flags[2], "--max_steps", "1", "--save_steps", "1", "--output_dir", str(tmp_path / "out")]
    align.main(own)
    with (tmp_path / "pairs.tsv").open("a", encoding="utf-8") as stream:
        stream.write("good sun\tguten sonne\n")
    with pytest.raises(SystemExit):
        align.main(own)
    assert f"other settings (contents of {tmp_path / 'pairs.tsv'} " in capsys.readouterr().err


def test_settings_of_an_older_version_are_refused_in_one_line(flags, tmp_path, capsys):
    own = [flags[2], "--max_steps", "1", "--save_steps", "1", "--output_dir", str(tmp_path / "out")]
    align.main(own)
    (tmp_path / "out" / "training_settings.json").write_text("[{}]")
    with pytest.raises(SystemExit):
        align.main(own)
    assert "was made by an older version; give another --output_dir" in capsys.readouterr().err


def test_a_run_goes_on_for_longer_and_may_log_and_save_otherwise(flags, tmp_path):
    own = [flags[2], "--save_steps", "2", "--output_dir", str(tmp_path / "out"), "--max_steps"]
    align.main([*own, "2"])
    align.main([*own, "3", "--logging_steps", "1", "--gradient_steps", "1", "--save_total_limit", "1"])
    state = json.loads((tmp_path / "out" / "checkpoint-3" / "trainer_state.json").read_text())
    assert state["global_step"] == 3


def test_a_run_without_checkpoints_starts_anew_with_other_settings(flags, tmp_path):
    own = [flags[2], "--max_steps", "1", "--save_strategy", "no", "--output_dir", str(tmp_path / "out")]
    for seed in ("1", "2"):
        align.main([*own, "--seed", seed])
        assert read_facts(tmp_path / "out")["recipe"]["seed"] == int(seed)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_launchers_run_the_program_to_the_end(launcher, flags, tmp_path):
    command = [*LAUNCHERS[launcher], *flags, "--output_dir", str(tmp_path / "out"), "--max_steps", "6"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    processes = "2 processes" if launcher == "torchrun" else "1 process"
    assert f"training on {processes}" in done.stderr
    assert "64 pairs" in done.stderr
    assert (tmp_path / "out" / "modules.json").is_file()


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_weights(flags, tmp_path):
    def command(folder: str) -> list[str]:
        return [sys.executable, *flags, "--output_dir", str(tmp_path / folder), "--max_steps", "300"]

    subprocess.run(command("through"), check=True, env=ENVIRONMENT, capture_output=True)
    process = subprocess.Popen(command("killed"), env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    while not list((tmp_path / "killed").glob("checkpoint-[2-9]*/trainer_state.json")):
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    done = subprocess.run(command("killed"), check=True, env=ENVIRONMENT, capture_output=True, text=True)
    assert "going on from" in done.stderr
    through, killed = (load_file(tmp_path / name / "model.safetensors") for name in ("through", "killed"))
    assert through.keys() == killed.keys()
    assert all((through[name] == killed[name]).all() for name in through)


class Launcher:
    """Stands for the process that started this one."""

    def __init__(self, *words: str):
        self.words = words

    def parent(self):
        return self

    def cmdline(self) -> list[str]:
        return list(self.words)


def test_processes_that_check_one_folder_do_not_disturb_each_other(tmp_path):
    folder = tmp_path / "out"
    with ThreadPoolExecutor(8) as threads:
        for check in [threads.submit(programs.check_writable, str(folder)) for _ in range(2000)]:
            check.result()
    assert not list(folder.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="can't be written"):
        programs.check_writable(str(tmp_path / "file" / "out"))


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (("accelerate", "launch", "--num_processes", "2", "-m", "x"), 2),
        (("torchrun", "--nproc_per_node", "4", "-m", "x"), 4),
        (("torchrun", "--nproc-per-node=3", "x"), 3),
        (("torchrun", "--nproc_per_node", "gpu", "x"), None),
        (("bash",), None),
    ],
)
def test_processes_asked_for_are_read_off_the_launcher(monkeypatch, words, asked):
    monkeypatch.setattr(programs.psutil, "Process", lambda: Launcher(*words))
    assert programs.asked_processes() == asked


def test_fewer_processes_than_asked_for_are_told(monkeypatch, caplog):
    monkeypatch.setattr(programs, "asked_processes", lambda: 2)
    with caplog.at_level("INFO", logger="xling_align"):
        programs.tell_processes()
    assert "2 processes were asked for and 1 runs" in caplog.text
    assert "torchrun --nproc_per_node 2" in caplog.text
    caplog.clear()
    monkeypatch.setattr(programs, "asked_processes", lambda: 1)
    programs.tell_processes()
    assert "asked for" not in caplog.text
