"""The train-mine loop on tiny models: rounds, going on after a kill, bad input."""

import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from tests.conftest import LANGUAGES, encoder_config, make_tokenizer
from tests.trainers.adaptive import made_up
from xling_align.eval.encoding import model_digest
from xling_align.modeling_xling import XLingAlignConfig, XLingAlignModel, load_tokenizer
from xling_align.trainers import mine_rounds, self_train
from xling_align.trainers.adaptive import rounds, words
from xling_align.trainers.data import identification, resources
from xling_align.trainers.data import mixture as mixing
from xling_align.trainers.data.readers import read_pairs
from xling_align.trainers.facts import read_facts
from xling_align.trainers.mine_rounds import lines_of, read_rows

SETS = [texts.split() for texts in ("good morning night day sun moon", "guten morgen nacht tag sonne mond")]
ENGLISH, GERMAN = ([" ".join(words) for words in itertools.permutations(words, 3)] for words in SETS)
FLAGS = {
    "max_steps": "6",
    "save_steps": "2",
    "per_device_train_batch_size": "4",
    "learning_rate": "1e-3",
    "rounds": "2",
    "first_threshold": "1.0",
    "last_threshold": "0.9",
    "disable_tqdm": "true",
    "warmup_steps": "0",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """An aligned model, text of two languages, and the pairs in it."""
    root = tmp_path_factory.mktemp("rounds")
    torch.manual_seed(0)
    AutoModel.from_config(encoder_config("bert")).save_pretrained(root / "encoder")
    make_tokenizer().save_pretrained(root / "encoder")
    model = XLingAlignModel.from_encoder(str(root / "encoder"), LANGUAGES)
    words = model.get_input_embeddings().weight.data
    english, german = (make_tokenizer().convert_tokens_to_ids(side) for side in SETS)
    words[german] = words[english] + 0.1 * torch.randn(len(german), words.shape[1])  # nearly aligned
    model.save_pretrained(root / "model", tokenizer=make_tokenizer())
    (root / "en.txt").write_text("\n".join(ENGLISH) + "\n")
    (root / "de.txt").write_text("\n".join(GERMAN[::-1]) + "\n")
    (root / "fr.txt").write_text("\n".join(f"bonjour {text}" for text in ENGLISH[::-1]) + "\n")
    (root / "empty.txt").write_text("")
    (root / "latin.en.txt").write_text("\n".join(GERMAN[:50]))
    (root / "long.txt").write_text("\n".join([*GERMAN[:60], "ja " * 400_000, *GERMAN[:5]]))
    rows = [f"{english}\t{german}" for english, german in zip(ENGLISH, GERMAN, strict=True)]
    (root / "gold.tsv").write_text("\n".join([*rows, "red\trot"]))
    (root / "fr.tsv").write_text("\n".join(f"{english}\tbonjour {english}" for english in ENGLISH))
    (root / "pl.tsv").write_text("\n".join(f"{english}\tdobry {english}" for english in ENGLISH))
    (root / "de.gold.tsv").write_text("\n".join(rows))
    told = {"source_language": "en", "target_language": "fr"}
    french = [{"source": english, "target": f"bonjour {english}", **told} for english in ENGLISH]
    (root / "known.jsonl").write_text("\n".join(map(json.dumps, french)))
    return root


def flags(folder: Path, out: Path, **changes: str) -> list[str]:
    paths = {"encoder", "gold", "train_file"}
    given = {
        "encoder": "model",
        "mono": "en.txt de.txt",
        "gold": "gold.tsv",
        **FLAGS,
        "output_dir": str(out),
    } | changes
    words = []
    for name, value in given.items():
        values = [str(folder / each) if name in paths or name == "mono" else each for each in value.split()]
        words += [f"--{name}", *values]
    return ["low_resource", *words]


def test_examples_in_docstrings_hold():
    import doctest

    for module in (rounds, mixing, resources, identification, words):
        outcome = doctest.testmod(module)
        assert outcome.attempted and not outcome.failed


def report(out: Path, number: int) -> dict:
    return json.loads((out / "rounds" / str(number) / "round.json").read_text())


def test_each_round_leaves_its_pairs_and_what_they_are_worth(folder, tmp_path):
    self_train.main(flags(folder, tmp_path))
    one, two = report(tmp_path, 1), report(tmp_path, 2)
    assert (one["threshold"], two["threshold"]) == (1.0, 0.9) and one["overlap"] == 0 < two["overlap"]
    facts = read_facts(tmp_path)
    assert facts["training_data"] == {name: {"pairs": "single sentences"} for name in ("en.txt", "de.txt")}
    assert facts["recipe"]["rounds"] == 2
    kept = pq.read_table(tmp_path / "rounds" / "1" / "de.parquet").to_pylist()
    gold = set(zip(ENGLISH, GERMAN, strict=True))
    right = sum((row["source"], row["target"]) in gold for row in kept)
    found = one["languages"]["de"]
    assert found["pairs"] == len(kept) > 0
    assert found["precision"] == pytest.approx(right / len(kept)) and found["recall"] == right / len(gold)
    assert {(row["round"], row["weight"]) for row in kept} == {(1, 0.5)} and all(row["margin"] >= 1 for row in kept)
    second = pq.read_table(tmp_path / "rounds" / "2" / "de.parquet").to_pylist()
    assert {row["weight"] for row in second} <= {0.5, 1.0} and {row["round"] for row in second} == {2}
    rejected = pq.read_table(tmp_path / "rounds" / "1" / "de.rejected.parquet").to_pylist()
    counts = {reason: sum(row["reason"] == reason for row in rejected) for reason in found["rejected"]}
    assert counts == found["rejected"] and counts["not confirmed"] > 0
    assert [pair["target_language"] for pair in read_pairs(tmp_path / "rounds" / "2" / "de.parquet")][0] == "de"
    assert [path.name for path in (tmp_path / "rounds" / "1").glob("*model*")] == []
    settings = [json.loads((tmp_path / "rounds" / number / "de.json").read_text())["settings"] for number in "12"]
    given = XLingAlignModel.from_pretrained(folder / "model")
    assert settings[0]["model_digest"] == model_digest(given, make_tokenizer()) != settings[1]["model_digest"]
    assert settings[0]["batch_size"] == 128 and settings[0]["model"] == str(folder / "model")
    before, after = load_file(folder / "model" / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    assert any((before[name] != after[name]).any() for name in before)


def test_known_pairs_of_another_language_join_in(folder, tmp_path):
    known = {"train_file": "fr.tsv", "target_language": "fr", "languages": "fr"}
    self_train.main(flags(folder, tmp_path, rounds="1", **known))
    assert read_facts(tmp_path)["training_data"]["fr.tsv"] == {"pairs": len(ENGLISH)}
    assert (tmp_path / "model.safetensors").is_file()


def test_a_language_with_many_known_pairs_is_not_mined_for(folder, tmp_path, caplog):
    known = {"train_file": "fr.tsv", "target_language": "fr", "many_pairs": str(len(ENGLISH)), "rounds": "1"}
    with caplog.at_level("INFO", logger="xling_align"):
        self_train.main(flags(folder, tmp_path, mono="en.txt de.txt fr.txt", **known))
    assert sorted(report(tmp_path, 1)["languages"]) == ["de"]
    assert not (tmp_path / "rounds" / "1" / "fr.parquet").exists()
    plan = ["plan: de has 0 known pairs and is trained on mined pairs"]
    plan += [f"plan: fr has {len(ENGLISH)} known pairs and is trained on known pairs"]
    assert all(line in caplog.text for line in plan)
    caplog.clear()
    with caplog.at_level("INFO", logger="xling_align"):
        known |= {"many_pairs": "121", "gold": "de.gold.tsv known.jsonl"}
        self_train.main(flags(folder, tmp_path / "more", mono="en.txt de.txt fr.txt", **known))
    assert f"fr has {len(ENGLISH)} known pairs and is trained on known and mined pairs" in caplog.text
    found = report(tmp_path / "more", 1)["languages"]
    assert sorted(found) == ["de", "fr"] and "precision" in found["fr"] and found["de"]["precision"] > 0


def test_the_plan_names_languages_that_are_not_mined_in_and_that_pairs_are_filtered(folder, tmp_path, caplog):
    known = {"train_file": "fr.tsv", "target_language": "fr", "rounds": "1", "pair_evidence": "true"}
    with caplog.at_level("INFO", logger="xling_align"):
        self_train.main(flags(folder, tmp_path, **known))
    assert "plan: fr has 120 known pairs and is trained on known pairs, those that the evidence keeps" in caplog.text


def test_a_plain_encoder_learns_the_languages_of_known_pairs_as_well(folder, tmp_path):
    known = {"train_file": "pl.tsv", "target_language": "pl", "rounds": "1", "first_threshold": "0.1"}
    self_train.main(flags(folder, tmp_path, encoder="encoder", **known))
    assert XLingAlignModel.from_pretrained(tmp_path).config.languages == ["en", "de", "pl"]


def test_where_a_later_round_finds_too_little_the_model_of_the_one_before_is_kept(folder, tmp_path, caplog):
    self_train.main(flags(folder, tmp_path / "one", rounds="1"))
    given = flags(folder, tmp_path / "two", rounds="2", last_threshold="9")
    self_train.main(given)
    assert "round 2 found 0 pairs" in caplog.text and "the model of round 1 is kept" in caplog.text
    self_train.main(given)
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert read_facts(tmp_path / "two")["recipe"]["rounds"] == 1
    assert not (tmp_path / "two" / "rounds" / "2").exists()


def test_without_room_to_write_there_is_one_line_and_the_same_command_goes_on(folder, tmp_path, capsys, monkeypatch):
    given, write = flags(folder, tmp_path, rounds="1"), mine_rounds.word_states

    def limited(*arguments):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # bytes; words of 120 sentences take 23,040
        try:
            return write(*arguments)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    with monkeypatch.context() as patched, pytest.raises(SystemExit) as stop:
        patched.setattr(mine_rounds, "word_states", limited)
        self_train.main(given)
    told = "can't be written: there is no room left; make some, and the same command goes on from what is done"
    assert stop.value.code == 2 and f"error: {tmp_path} {told}\n" in capsys.readouterr().err
    self_train.main(given)
    assert report(tmp_path, 1)["languages"]["de"]["pairs"] > 0


def round_pairs(out: Path, number: int) -> dict[tuple[int, int], float]:
    rows = pq.read_table(out / "rounds" / str(number) / "de.parquet").to_pylist()
    return {(row["source_line"], row["target_line"]): row["margin"] for row in rows}


def test_rounds_end_when_training_changes_nothing_though_the_threshold_falls(folder, tmp_path):
    settings = {"first_threshold": "1.07", "last_threshold": "0.98", "rounds": "4", "max_steps": "1"}
    settings |= {"learning_rate": "0", "enough_overlap": "0.95", "per_device_train_batch_size": "2"}
    settings |= {"lexicon_start": "false"}  # words would move, whatever the learning rate
    # The first round sets the embeddings of languages, so that the second finds other pairs at any learning rate.
    self_train.main(flags(folder, tmp_path, **settings))
    assert report(tmp_path, 2)["overlap"] < 0.95 <= report(tmp_path, 3)["overlap"]
    assert not (tmp_path / "rounds" / "4").exists()
    before, last = round_pairs(tmp_path, 2).keys(), round_pairs(tmp_path, 3).keys()
    assert rounds.overlap(before, last) < 0.95  # what the lower threshold lets in does not keep the rounds going


def test_the_overlap_is_of_pairs_by_the_threshold_of_the_round_before(folder, tmp_path):
    self_train.main(flags(folder, tmp_path, first_threshold="1.04", last_threshold="1.0"))
    first, second = round_pairs(tmp_path, 1), round_pairs(tmp_path, 2)
    passing = {pair for pair, margin in second.items() if margin >= 1.04}
    assert len(passing & first.keys()) < len(first) and len(passing) < len(second)
    assert report(tmp_path, 2)["overlap"] == len(passing & first.keys()) / len(passing | first.keys()) > 0


def test_a_mixture_holds_its_shares():
    import numpy as np

    from xling_align.trainers.data.tokenized import TokenizedPairs

    def part(first: int, count: int) -> TokenizedPairs:
        tokens = np.repeat(np.arange(first, first + count), 2)
        return TokenizedPairs(tokens, np.arange(1, 2 * count + 1), tokens.copy(), np.arange(first, first + count))

    mixed = mixing.mixture([part(0, 3), part(100, 50)], [0.25, 0.75], 40, seed=0)
    small = mixed.pair_ids[mixed.pair_ids < 100]
    assert len(mixed) == 40 and sorted(np.bincount(small)) == [3, 3, 4]
    assert all((mixed[row]["source"] == mixed[row]["pair_id"]).all() for row in range(40))
    assert len(set(mixed.pair_ids[mixed.pair_ids >= 100])) == 30


def outputs(out: Path) -> dict[str, bytes]:
    names = [*out.glob("rounds/*/*.parquet"), *out.glob("rounds/*/*.json"), out / "model.safetensors"]
    return {str(path.relative_to(out)): path.read_bytes() for path in names}


@pytest.fixture(scope="module")
def made_up_folder(tmp_path_factory) -> Path:
    """An encoder that was never trained, and text of two languages that share nothing but names."""
    root, vocabulary = tmp_path_factory.mktemp("made_up"), made_up.lexicon()
    torch.manual_seed(0)
    config, tokenizer = encoder_config("bert"), make_tokenizer()
    words = {*vocabulary, *vocabulary.values()}
    tokenizer.add_tokens(sorted(words))
    config.vocab_size = len(tokenizer)
    model = XLingAlignModel.from_encoder(config, LANGUAGES)
    model.save_pretrained(root / "model", tokenizer=tokenizer)
    sides = made_up.texts(size=600, hidden=200)
    for code, texts in zip(("en", "de"), sides, strict=True):
        (root / f"{code}.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    rows = [f"{own}\t{other}" for own, other in zip(*(texts[:200] for texts in sides), strict=True)]
    (root / "gold.tsv").write_text("\n".join(rows), encoding="utf-8")
    return root


GOLD = {(line, line) for line in range(1, 201)}  # of the made-up texts
LEXICAL = {"lexical_rounds": "6", "rounds": "1", "first_threshold": "0.5", "max_steps": "2", "lexicon_start": "true"}


def test_words_start_at_translations_that_the_texts_show_by_themselves(made_up_folder, tmp_path, caplog):
    with caplog.at_level("INFO", logger="xling_align"):
        self_train.main(flags(made_up_folder, tmp_path / "out", **LEXICAL, learning_rate="0"))
    found = report(tmp_path / "out", 0)
    assert found["languages"]["de"]["recall"] > 0.6 and "round 0, margin 1.20: de" in caplog.text
    rows = pq.read_table(tmp_path / "out" / "rounds" / "0" / "de.parquet").to_pylist()
    assert len(rows) == found["languages"]["de"]["pairs"] and min(row["margin"] for row in rows) >= 1.2
    assert not (tmp_path / "out" / "rounds" / "0" / "model").exists()  # no longer needed
    self_train.main(flags(made_up_folder, tmp_path / "without", **LEXICAL | {"lexical_rounds": "0"}))
    assert not (tmp_path / "without" / "rounds" / "0").exists()
    shares = [right_words(made_up_folder / "model"), right_words(tmp_path / "out")]
    assert shares[0] < 0.2 and shares[1] > 0.6
    first = report(tmp_path / "out", 1)["languages"]["de"], report(tmp_path / "without", 1)["languages"]["de"]
    assert first[0]["recall"] > first[1]["recall"] + 0.1


def test_all_views_but_one_confirm_a_pair_and_few_pairs_tell_nothing_of_words(made_up_folder, tmp_path, monkeypatch):
    seen, confirm = [], mine_rounds.confirm

    def watched(reasons, pairs, views):
        seen.append([set(view) for view in views])
        return confirm(reasons, pairs, views)

    monkeypatch.setattr(mine_rounds, "confirm", watched)
    self_train.main(flags(made_up_folder, tmp_path, **LEXICAL | {"rounds": "2"}))
    for number, views in enumerate(seen, 1):
        before, now = (read_rows(tmp_path / "rounds" / str(each) / "de.parquet") for each in (number - 1, number))
        told = json.loads((tmp_path / "rounds" / str(number) / "de.json").read_text())
        assert told["views"] == ["round before", "sentence vectors", "letters and words"][: len(views)]
        assert views[0] == lines_of(before) and len(views) == (3 if len(before) >= 100 else 2)
        votes = [sum((row["source_line"], row["target_line"]) in view for view in views) for row in now]
        weights = [1.0 if count == len(views) else 0.5 for count in votes]
        assert [row["weight"] for row in now] == weights and min(votes) == len(views) - 1
    assert [len(views) for views in seen] == [3, 2]
    by_sentences, by_lexicon = (len(view & GOLD) / len(view) for view in seen[0][1:])
    assert by_lexicon > 2 * by_sentences  # the model was never trained


def right_words(model: Path) -> float:
    """Share of the sixty commonest words that are nearest to their translations."""
    table = XLingAlignModel.from_pretrained(model).get_input_embeddings().weight.detach()
    table, tokenizer = torch.nn.functional.normalize(table, dim=-1), load_tokenizer(model)
    words = dict(list(made_up.lexicon().items())[:60])
    own, other = (table[tokenizer.convert_tokens_to_ids(list(side))] for side in (words, words.values()))
    return ((own @ other.T).argmax(0) == torch.arange(len(words))).float().mean().item()


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment",
    [
        "rounds/0/de.work",
        "rounds/0/de.parquet",
        "rounds/0/model",
        "rounds/1/de.work/source.vectors",
        "rounds/1/training/checkpoint-2",
    ],
)
def test_kill_9_and_rerun_give_the_same_pairs_and_weights_by_words(made_up_folder, tmp_path, moment):
    given = {**LEXICAL, "max_steps": "16", "learning_rate": "1e-3"}
    check_kill(flags(made_up_folder, Path("out"), **given), tmp_path, moment)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["rounds/2/de.work/source.vectors", "rounds/2/training/checkpoint-2"])
def test_kill_9_and_rerun_give_the_same_pairs_and_weights(folder, tmp_path, moment):
    check_kill(flags(folder, Path("out"), max_steps="16"), tmp_path, moment)


def check_kill(words: list[str], tmp_path: Path, moment: str) -> None:
    """Kill a run once a file is there, run it again, and hold it against a run that was let go on."""
    program = "import sys; from xling_align.trainers.self_train import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", program, *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    subprocess.run(command, check=True, env=environment, capture_output=True, cwd=whole)
    running = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, cwd=killed)
    while not (killed / "out" / moment).exists():
        assert running.poll() is None, "the run ended before it could be killed"
        time.sleep(0.001)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    assert not (killed / "out" / "model.safetensors").exists()
    subprocess.run(command, check=True, env=environment, capture_output=True, cwd=killed)
    assert outputs(killed / "out") == outputs(whole / "out")


def test_other_settings_are_not_gone_on_with(folder, tmp_path, capsys):
    self_train.main(flags(folder, tmp_path, rounds="1"))
    with pytest.raises(SystemExit):
        self_train.main(flags(folder, tmp_path, rounds="1", k="3"))
    assert "other settings (k 8, now 3);" in capsys.readouterr().err


@pytest.mark.parametrize("changed", ["de.txt", "fr.tsv", "model/model.safetensors"])
def test_other_contents_of_the_same_files_are_not_gone_on_with(folder, tmp_path, capsys, changed):
    root = tmp_path / "inputs"
    shutil.copytree(folder, root)
    given = flags(root, tmp_path / "out", rounds="1", train_file="fr.tsv", target_language="fr", languages="fr")
    self_train.main(given)
    self_train.main(given)  # as it was: nothing to do
    before, path = outputs(tmp_path / "out"), root / changed
    if path.suffix == ".safetensors":
        save_file({name: value + 0.01 for name, value in load_file(path).items()}, path, {"format": "pt"})
    else:
        path.write_text(path.read_text().replace("moon", "noon").replace("mond", "mund"))
    with pytest.raises(SystemExit) as stop:
        self_train.main(given)
    told = "the model" if path.suffix == ".safetensors" else path
    assert stop.value.code == 2 and f"other settings (contents of {told}" in capsys.readouterr().err
    assert outputs(tmp_path / "out") == before


def test_a_kill_between_the_moved_words_and_their_report_does_no_harm(made_up_folder, tmp_path, monkeypatch):
    given, kept = flags(made_up_folder, Path("out"), **LEXICAL), tmp_path / "kept"
    (tmp_path / "whole").mkdir()
    monkeypatch.chdir(tmp_path / "whole")  # the paths in the files are the same
    self_train.main(given)
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    monkeypatch.chdir(tmp_path / "killed")
    out, whole = Path("out"), outputs(tmp_path / "whole" / "out")

    def kill():
        for path in (out / "rounds" / "0" / "round.json", out / "model.safetensors"):
            path.unlink()
        shutil.rmtree(out / "rounds" / "1")

    def keep(_):
        shutil.copytree(out / "rounds" / "0" / "model", kept)
        raise KeyboardInterrupt

    kill()
    shutil.copytree(made_up_folder / "model", out / "rounds" / "0" / "model.partial")  # begun
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(self_train.SelfTraining, "rounds_done", keep)
        self_train.main(given)
    self_train.main(given)
    assert outputs(out) == whole
    kill()
    shutil.copytree(kept, out / "rounds" / "0" / "model")  # complete
    self_train.main(given)
    assert outputs(out) == whole


def test_towers_have_no_words_to_start(made_up_folder, tmp_path, caplog):
    torch.manual_seed(1)
    config = XLingAlignConfig.from_pretrained(made_up_folder / "model").encoder_config
    AutoModel.from_config(config).save_pretrained(tmp_path / "plain")
    load_tokenizer(made_up_folder / "model").save_pretrained(tmp_path / "plain")
    given = flags(made_up_folder, tmp_path / "out", **LEXICAL | {"first_threshold": "0.1"})
    given[given.index("--encoder") + 1] = str(tmp_path / "plain")
    self_train.main([*given, "--target_encoder", str(tmp_path / "plain")])
    assert not (tmp_path / "out" / "rounds" / "0").exists()
    assert len(XLingAlignModel.from_pretrained(tmp_path / "out").towers) == 2


def test_two_commands_do_not_share_a_folder(folder, tmp_path, capsys):
    with FileLock(tmp_path / "lock"), pytest.raises(SystemExit):
        self_train.main(flags(folder, tmp_path))
    assert "another command is at work" in capsys.readouterr().err and not (tmp_path / "rounds").exists()


def test_a_run_that_found_nothing_can_be_started_with_another_threshold(folder, tmp_path):
    with pytest.raises(SystemExit):
        self_train.main(flags(folder, tmp_path, rounds="1", first_threshold="9"))
    self_train.main(flags(folder, tmp_path, rounds="1"))
    assert report(tmp_path, 1)["languages"]["de"]["pairs"] > 0


def test_a_run_that_found_too_little_for_a_batch_can_be_started_with_another_threshold(folder, tmp_path, capsys):
    with pytest.raises(SystemExit):
        self_train.main(flags(folder, tmp_path, rounds="1", per_device_train_batch_size="500"))
    said = capsys.readouterr().err
    assert "pairs with a margin of 1.00 or more that are confirmed, and a batch takes 500 that differ" in said
    assert "--first_threshold or --per_device_train_batch_size" in said
    self_train.main(flags(folder, tmp_path, rounds="1", first_threshold="0.9"))
    assert report(tmp_path, 1)["languages"]["de"]["pairs"] > 0


def test_words_stay_where_that_part_is_taken_out(folder, tmp_path, monkeypatch):
    moved = []
    monkeypatch.setattr(self_train, "start_from_translations", lambda *given: moved.append(given))
    for number, without in enumerate(("intra", "lexicon")):
        given = {"lexicon_start": "true", "without": without, "losses": "inter intra", "rounds": "1"}
        self_train.main(flags(folder, tmp_path / without, **given))
        assert len(moved) == 1, number


BAD = {
    "no text": ({"mono": "de.txt"}, ["'en'", "--mono en.txt xx.txt"]),
    "empty text": ({"mono": "en.txt empty.txt", "mono_languages": "en de"}, ["empty.txt", "no sentence"]),
    "no such text": ({"mono": "en.txt none.txt", "mono_languages": "en de"}, ["none.txt", "no file"]),
    "many pairs of every language": (
        {"train_file": "gold.tsv", "target_language": "de", "many_pairs": "20"},
        ["de: 20 known pairs or more", "--many_pairs", "xling align"],
    ),
    "languages swapped": (
        {"mono": "de.txt en.txt", "mono_languages": "en de"},
        ["de.txt looks like 'de'", "swap the files of --mono"],
    ),
    "two codes for three files": ({"mono_languages": "en"}, ["2 files", "its own code"]),
    "no code": ({"mono_languages": "en German!"}, ["German!", "ISO 639"]),
    "language that the model lacks": ({"mono_languages": "en pl"}, ["'pl'", "en, de, fr"]),
    "known pairs of such a language": (
        {"train_file": "pl.tsv", "target_language": "pl"},
        ["languages en, de, fr and not 'pl'", "--languages"],
    ),
    "gold of no language that is told": (
        {"mono": "en.txt de.txt fr.txt"},
        ["gold.tsv does not say which language", "such as de.tsv"],
    ),
    "nothing above the threshold": ({"first_threshold": "9"}, ["round 1", "9.00", "--first_threshold"]),
    "no steps": ({"max_steps": "0"}, ["--max_steps"]),
    "adapters": ({"lora_rank": "4"}, ["--lora_rank", "not for rounds of mining"]),
    "share of nothing": ({"mined_share": "0"}, ["--mined_share"]),
    "no gold": ({"gold": "none.tsv"}, ["none.tsv"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(name, folder, tmp_path, capsys):
    change, expected = BAD[name]
    with pytest.raises(SystemExit) as stop:
        self_train.main(flags(folder, tmp_path / "out", **change))
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert stop.value.code == 2 and len(errors) == 1
    for word in expected:
        assert word in errors[0]
    assert not list((tmp_path / "out").rglob("*"))


def test_a_model_to_start_from_is_asked_for(folder, tmp_path, capsys):
    with pytest.raises(SystemExit):
        self_train.main(flags(folder, tmp_path / "out")[3:])  # neither a recipe, which names one, nor --encoder
    assert "error: there is no encoder; give --encoder" in capsys.readouterr().err


def test_a_line_of_a_million_characters_is_left_out(folder, tmp_path, caplog):
    with caplog.at_level("INFO"):
        self_train.main(flags(folder, tmp_path, mono="en.txt long.txt", mono_languages="en de", rounds="1"))
    assert "60 sentences, 5 duplicates dropped, 1 left out (line 61: longer than 1000000 bytes" in caplog.text


@pytest.mark.parametrize(
    ("module", "says"),
    [
        ("faiss", "FAISS"),
        ("sparse_dot_topn", 'pip install "xling-align[mining]"; or leave them out by --lexical_rounds 0'),
    ],
)
def test_what_is_not_installed_is_told_in_one_line(folder, tmp_path, capsys, monkeypatch, module, says):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SystemExit) as stop:
        self_train.main(flags(folder, tmp_path / "out"))
    assert stop.value.code == 2 and says in capsys.readouterr().err
