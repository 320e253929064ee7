"""`xling mine` and `xling score` on tiny models: what they write, going on after a stop, and bad input."""

import gzip
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tests.conftest import LANGUAGES, make_tokenizer, stir
from xling_align.cli.main import main
from xling_align.cli.models import text_encoder
from xling_align.eval import encoding
from xling_align.eval.encoding import TextEncoder
from xling_align.modeling_xling import XLingAlignModel
from xling_align.trainers import mine as mining
from xling_align.trainers.data.readers import ReadReport, read_pairs
from xling_align.trainers.score import nearest_means, scored

ENGLISH = [" ".join(words) for words in itertools.permutations(["good", "morning", "night", "day", "sun", "moon"], 3)]
GERMAN = [" ".join(words) for words in itertools.permutations(["guten", "morgen", "nacht", "tag", "sonne", "mond"], 3)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A model of ours and texts, good and bad."""
    root = tmp_path_factory.mktemp("mine")
    torch.manual_seed(0)
    encoders = root / "encoder"
    from transformers import AutoModel

    from tests.conftest import encoder_config

    AutoModel.from_config(encoder_config("bert")).save_pretrained(encoders)
    make_tokenizer().save_pretrained(encoders)
    model = XLingAlignModel.from_encoder(str(encoders), LANGUAGES)
    stir(model)
    model.save_pretrained(root / "model", tokenizer=make_tokenizer())
    (root / "en.txt").write_text("\n".join(ENGLISH) + "\n")
    with gzip.open(root / "de.txt.gz", "wt", encoding="utf-8") as stream:
        stream.write("\n".join(GERMAN[::-1]) + "\n")
    texts = {
        "nothing": "",
        "blank": "\n \n\n",
        "copy": "\n".join(line.upper() + "!" for line in ENGLISH[:100]),
        "few": "\n".join(GERMAN[:20]),
        "russian": "\n".join(["хорошее утро", "добрая ночь", "солнце и луна"]),
        "russian-english": "хорошее утро\tgood morning\nдобрая ночь\tgood night\nсолнце и луна\tsun and moon",
        "documents": "\n".join(str(row // 12) for row in range(len(ENGLISH))),
        "reversed": "\n".join(str(9 - row // 12) for row in range(len(GERMAN))),
        "others": "\n".join("x" for _ in GERMAN),
        "long": "\n".join([*GERMAN[:3], "ja " * 400_000, GERMAN[0].title() + "!", "", GERMAN[4]]) + "\n",
    }
    for name, text in texts.items():
        (root / f"{name}.txt").write_text(text, encoding="utf-8")
    (root / "latin1.txt").write_bytes("grün\nschön\n".encode("latin-1"))
    rows = [f"{a}\t{b}" for a, b in zip(ENGLISH, GERMAN, strict=True)]
    (root / "pairs.tsv").write_text("\n".join([*rows, "day\t"]) + "\n")
    return root


def command(folder: Path, out: Path, *flags: str, **changes: str) -> list[str]:
    given = {"source": "en.txt", "target": "de.txt.gz", "source_language": "en", "target_language": "de"} | changes
    paths = {"source", "target", "source_documents", "target_documents", "model"}
    given = {"model": "model"} | given
    words = [(f"--{name}", str(folder / value) if name in paths else value) for name, value in given.items()]
    return ["mine", *itertools.chain(*words), "--output", str(out / "pairs.parquet"), *flags]


def outputs(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def test_mined_pairs_are_read_as_training_pairs(folder, tmp_path):
    assert main(command(folder, tmp_path, "--threshold", "0.9")) == 0
    assert [*outputs(tmp_path)] == ["pairs.json", "pairs.parquet", "pairs.rejected.parquet"]
    table = pq.read_table(tmp_path / "pairs.parquet")
    pairs = list(read_pairs(tmp_path / "pairs.parquet"))
    rows = table.to_pylist()
    assert len(pairs) == len(rows) > 5
    margins = [pair["score"] for pair in pairs]
    assert margins == sorted(margins, reverse=True) == [row["margin"] for row in rows] and margins[-1] >= 0.9
    for pair, row in zip(pairs, rows, strict=True):
        assert (pair["source_language"], pair["target_language"]) == ("en", "de")
        assert pair["source"] == ENGLISH[row["source_line"] - 1]
        assert pair["target"] == GERMAN[::-1][row["target_line"] - 1]
    provenance = json.loads((tmp_path / "pairs.json").read_text())
    assert provenance["pairs"] == len(rows) and provenance["source"]["sentences"] == len(ENGLISH)
    assert json.loads(table.schema.metadata[b"xling_mining"]) == provenance
    rejected = pq.read_table(tmp_path / "pairs.rejected.parquet").to_pylist()
    counts = {reason: sum(row["reason"] == reason for row in rejected) for reason in provenance["rejected"]}
    assert counts == provenance["rejected"] and sum(counts.values()) > 10


def test_margins_are_those_of_the_models_vectors(folder, tmp_path):
    main(command(folder, tmp_path, "--threshold", "0.9", "--max_length_ratio", "100"))
    encode = text_encoder(str(folder / "model"))
    english, german = encode(ENGLISH, "en"), encode(GERMAN[::-1], "de")
    cosines = english @ german.T
    forward, backward = (np.sort(each, 1)[:, -4:].mean(1) for each in (cosines, cosines.T))
    for row in pq.read_table(tmp_path / "pairs.parquet").to_pylist():
        source, target = row["source_line"] - 1, row["target_line"] - 1
        assert row["cosine"] == pytest.approx(cosines[source, target], abs=1e-3)
        mean = (forward[source] + backward[target]) / 2
        assert row["margin"] == pytest.approx(cosines[source, target] / mean, abs=1e-3)


def test_a_stop_in_the_middle_of_encoding_leaves_no_trace_in_the_result(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(encoding, "BLOCK", 16)
    monkeypatch.setattr(mining, "BLOCK", 16)
    main(command(folder, tmp_path / "whole"))
    original, calls = TextEncoder.outputs, []

    def stopping(*args, **options):
        calls.append(args)
        if len(calls) == 10:  # in the second side
            raise KeyboardInterrupt
        return original(*args, **options)

    monkeypatch.setattr(TextEncoder, "outputs", stopping)
    assert main(command(folder, tmp_path / "resumed")) == 130
    vectors = tmp_path / "resumed" / "pairs.work" / "target.vectors"
    with vectors.open("ab") as stream:
        stream.write(b"a block cut short")
    assert main(command(folder, tmp_path / "resumed")) == 0
    assert len(calls) == 10 + 16 - 9  # eight blocks a side, nine of which were done
    assert outputs(tmp_path / "whole") == outputs(tmp_path / "resumed")


def test_work_of_another_input_is_not_gone_on_with(folder, tmp_path):
    main(command(folder, tmp_path / "other", target="few.txt"))
    main(command(folder, tmp_path / "same", "--keep_work"))
    assert (tmp_path / "same" / "pairs.work" / "target.vectors").exists()
    main(command(folder, tmp_path / "same", target="few.txt"))
    assert outputs(tmp_path / "same") == outputs(tmp_path / "other")


def test_whatever_was_encoded_from_another_text_is_dropped(tmp_path):
    for name in ("source.vectors", "source.words", "source.ends.npy", "neighbours.npy"):
        (tmp_path / name).touch()
    mining.go_on_or_start_over(tmp_path, "vectors", {"text": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["vectors.json"]
    (tmp_path / "source.words").touch()
    mining.go_on_or_start_over(tmp_path, "neighbours", {"k": 4})
    mining.go_on_or_start_over(tmp_path, "vectors", {"text": 1})
    assert (tmp_path / "source.words").exists()


def test_work_of_a_text_in_another_case_is_not_gone_on_with(folder, tmp_path, monkeypatch):
    changed = tmp_path / "changed.txt"
    arguments = command(folder, tmp_path, "--keep_work")
    arguments[arguments.index("--target") + 1] = str(changed)
    changed.write_text("\n".join(GERMAN))
    main(arguments)
    changed.write_text("\n".join(GERMAN).title())
    original, calls = TextEncoder.outputs, []
    monkeypatch.setattr(TextEncoder, "outputs", lambda *given, **o: calls.append(given) or original(*given, **o))
    main(arguments)
    assert len(calls) == 2


def test_kept_work_serves_another_threshold_without_the_model_running(folder, tmp_path, monkeypatch):
    main(command(folder, tmp_path / "fresh", "--threshold", "1.02"))
    main(command(folder, tmp_path / "kept", "--keep_work"))
    monkeypatch.setattr(TextEncoder, "outputs", None)
    main(command(folder, tmp_path / "kept", "--threshold", "1.02"))
    assert outputs(tmp_path / "fresh") == outputs(tmp_path / "kept")


def test_kill_9_and_rerun_give_the_same_bytes(folder, tmp_path):
    words = ["good", "morning", "night", "day", "sun", "moon", "red", "green", "blue", "bonjour"]
    texts = [" ".join(each) for each in itertools.islice(itertools.permutations(words, 6), 20_000)]
    (tmp_path / "many.txt").write_text("\n".join(texts))
    (tmp_path / "en.txt").write_text("\n".join(ENGLISH))
    arguments = command(folder, tmp_path / "killed", source="en.txt", target_language="fr")
    arguments[arguments.index("--target") + 1] = str(tmp_path / "many.txt")
    program = "import sys; from xling_align.cli.main import main; sys.exit(main(sys.argv[1:]))"
    running = subprocess.Popen([sys.executable, "-c", program, *arguments], stderr=subprocess.DEVNULL)
    vectors = tmp_path / "killed" / "pairs.work" / "target.vectors"
    deadline = time.monotonic() + 60
    while not (vectors.exists() and vectors.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(running.pid, signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    assert 0 < vectors.stat().st_size < len(texts) * 32 * 4
    assert main(arguments) == 0
    arguments[arguments.index("--output") + 1] = str(tmp_path / "whole" / "pairs.parquet")
    assert main(arguments) == 0
    assert outputs(tmp_path / "killed") == outputs(tmp_path / "whole")


def test_pairs_stay_within_documents(folder, tmp_path):
    documents = {"source_documents": "documents.txt", "target_documents": "reversed.txt"}
    main(command(folder, tmp_path, "--threshold", "0", **documents))
    rows = pq.read_table(tmp_path / "pairs.parquet").to_pylist()
    assert len(rows) > 10
    for row in rows:
        assert (row["source_line"] - 1) // 12 == 9 - (row["target_line"] - 1) // 12


def test_a_line_of_a_million_characters_is_left_out_and_named(folder, tmp_path, caplog):
    with caplog.at_level("INFO"):
        main(command(folder, tmp_path, target="long.txt"))
    assert "4 sentences, 1 duplicates dropped, 2 left out (line 4: longer than 1000000 bytes" in caplog.text
    target = json.loads((tmp_path / "pairs.json").read_text())["target"]
    assert (target["lines"], target["sentences"], target["duplicates"], target["left_out"]) == (7, 4, 1, 2)


BAD = {
    "no source": (dict(source="none.txt"), ["none.txt", "no file"]),
    "empty side": (dict(target="nothing.txt"), ["nothing.txt", "no sentence"]),
    "blank side": (dict(source="blank.txt"), ["blank.txt", "no sentence", "empty line"]),
    "no UTF-8": (dict(target="latin1.txt"), ["latin1.txt", "no sentence", "UTF-8"]),
    "one language": (dict(target_language="en"), ["both languages", "'en'"]),
    "one file": (dict(target="en.txt"), ["same file"]),
    "one text twice": (dict(target="copy.txt"), ["100 of 100", "copy.txt"]),
    "languages swapped by name": (dict(source_language="de", target_language="en"), ["looks like", "swap"]),
    "language unknown to the model": (dict(target_language="pl"), ["'pl'", "en, de, fr"]),
    "no code": (dict(target_language="German!"), ["German!", "ISO 639"]),
    "no model": (dict(model="none"), ["none", "config.json"]),
    "no parquet": ((), ["pairs.csv", ".parquet"]),
    "one side's documents": (dict(source_documents="documents.txt"), ["--target_documents"]),
    "documents of another file": (
        dict(source_documents="documents.txt", target_documents="few.txt"),
        ["few.txt", "20 lines", "120"],
    ),
    "no document in common": (dict(source_documents="documents.txt", target_documents="others.txt"), ["in common"]),
    "selection": (("--selection", "best"), ["best", "mutual"]),
    "k": (("--k", "0"), ["--k", "at least 1"]),
    "threshold": (("--threshold", "nan"), ["--threshold"]),
}


def refused(arguments: list[str], expected: list[str], capsys) -> str:
    """The one line that a command prints where it refuses its input; it names what is expected."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert stop.value.code == 2 and len(errors) == 1
    for word in expected:
        assert word in errors[0]
    return errors[0]


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(name, folder, tmp_path, capsys):
    change, expected = BAD[name]
    out = tmp_path / "out"
    arguments = command(folder, out, **change) if isinstance(change, dict) else command(folder, out, *change)
    if name == "no parquet":
        arguments[arguments.index("--output") + 1] = str(out / "pairs.csv")
    refused(arguments, expected, capsys)
    assert not out.exists() or not list(out.iterdir())


def test_languages_swapped_by_script(folder, tmp_path, capsys):
    encoder = {"model": "encoder", "source": "russian.txt", "target": "few.txt"}
    refused(command(folder, tmp_path, **encoder, source_language="de", target_language="ru"), ["looks like"], capsys)
    assert main(command(folder, tmp_path, **encoder, source_language="ru", target_language="de")) == 0


def test_sides_of_scored_pairs_swapped_by_script(folder, tmp_path, capsys):
    output = tmp_path / "out.jsonl"
    words = ["score", str(folder / "russian-english.txt"), "--model", str(folder / "encoder"), "--output", str(output)]
    swapped = [*words, "--source_language", "en", "--target_language", "ru"]
    refused(swapped, ["source side", "looks like 'ru'", "like 'en'", "swap"], capsys)
    assert not list(tmp_path.iterdir())
    assert main([*words, "--source_language", "ru", "--target_language", "en"]) == 0 and output.is_file()


def test_without_faiss_one_line_says_what_to_install(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    error = refused(command(folder, tmp_path), ["FAISS"], capsys)
    assert 'pip install "xling-align[mining]"' in error and not list(tmp_path.iterdir())


def test_output_that_cannot_be_written(folder, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    refused(command(folder, tmp_path / "file"), ["can't be written"], capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_scores_are_read_back(folder, tmp_path, suffix, capsys):
    output = tmp_path / f"scored{suffix}"
    arguments = ["score", str(folder / "pairs.tsv"), "--model", str(folder / "model"), "--output", str(output)]
    languages = ["--source_language", "en", "--target_language", "de"]
    assert main([*arguments, *languages, "--block", "50", "--score", "cosine"]) == 0
    given = list(read_pairs(folder / "pairs.tsv", "en", "de"))
    pairs, report = list(read_pairs(output, report=(report := ReadReport()))), report
    assert [pair["source"] for pair in pairs] == [pair["source"] for pair in given] and not report.bad
    assert [pair["pair_id"] for pair in pairs] == [pair["pair_id"] for pair in given]
    encode, sides = text_encoder(str(folder / "model")), (("source", "en"), ("target", "de"))
    sources, targets = (encode([pair[side] for pair in given], code) for side, code in sides)
    np.testing.assert_allclose([pair["score"] for pair in pairs], (sources * targets).sum(1), atol=1e-2)
    assert "1 left out" in capsys.readouterr().out
    margins = [pair["score"] for pair in read_pairs(output, columns={"score": "margin"})]
    assert len({*margins}) > 100


def test_neighbour_means_by_hand():
    own = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    cosines = own @ own.T  # 1, 0, 0.6 / 0, 1, 0.8 / 0.6, 0.8, 1
    meanings = torch.tensor([1, 2, 3])
    means = nearest_means(own, own, meanings, meanings, 2, 3)
    assert means.tolist() == pytest.approx([0.8, 0.9, 0.9])
    assert cosines[0].topk(2).values.mean() == pytest.approx(means[0].item())


def test_copies_and_other_translations_are_no_neighbours():
    own = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    meanings, k = torch.tensor([1, 2, 3]), 2
    once = nearest_means(own, own, meanings, meanings, k, 3)
    twice = nearest_means(own.repeat(2, 1), own.repeat(2, 1), meanings.repeat(2), meanings.repeat(2), k, 3)
    assert twice.tolist() == pytest.approx(once.tolist())
    other_source = nearest_means(own.repeat(2, 1), own.repeat(2, 1), torch.arange(6), meanings.repeat(2), k, 3)
    assert other_source.tolist() == pytest.approx(once.tolist())


def test_few_pairs_at_the_end_of_a_block_are_held_against_those_beside_it(folder):
    encoder = text_encoder(str(folder / "model"))
    german, french = (
        [{**pair, "target_language": code} for pair in read_pairs(folder / "pairs.tsv", "en", "de")][:60]
        for code in ("de", "fr")
    )

    def margins(pairs: list, block: int) -> list[float]:
        rows = [row for part in scored(pairs, encoder, block=block) for row in part]
        assert [row["source"] for row in rows] == [pair["source"] for pair in pairs]
        return [row["margin"] for row in rows]

    found = margins(german + french, 50)  # 50 German | 10 German, 40 French | 20 French
    assert found[:50] == pytest.approx(margins(german[:50], 50), rel=1e-5)
    assert found[50:60] == pytest.approx(margins(german[50:] + german[:40], 50)[:10], rel=1e-5)
    assert found[60:100] == pytest.approx(margins(french[:40], 40), rel=1e-5)
    assert found[100:] == pytest.approx(margins(french[40:], 20), rel=1e-5)
    few_first = margins(german[:10] + french, 50)  # 10 German, 40 French | 20 French
    assert few_first[:10] == pytest.approx(margins(german[:10], 50), rel=1e-5)
    few_first = margins(german[:40] + french, 50)  # 40 German, 10 French | 50 French
    assert few_first[40:50] == pytest.approx(margins(french[:50], 50)[:10], rel=1e-5)


SCORE_BAD = {
    "no file": ("score {none.tsv} --model {model} --output {out.jsonl}", ["none.tsv"]),
    "format": ("score {pairs.tsv} --model {model} --output {out.csv}", ["out.csv", ".jsonl or .parquet"]),
    "no language": ("score {pairs.tsv} --model {model} --output {out.jsonl}", ["pairs.tsv", "source_language"]),
    "unknown language": (
        "score {pairs.tsv} --model {model} --output {out.jsonl} --source_language en --target_language pl",
        ["'pl'", "en, de, fr"],
    ),
    "which score": ("score {pairs.tsv} --model {model} --output {out.jsonl} --score max", ["max", "margin, cosine"]),
    "column": ("score {pairs.tsv} --model {model} --output {out.jsonl} --columns src=a", ["src"]),
    "block": ("score {pairs.tsv} --model {model} --output {out.jsonl} --block 1", ["--block"]),
}


@pytest.mark.parametrize("name", SCORE_BAD)
def test_bad_input_of_score_is_one_line(name, folder, tmp_path, capsys):
    text, expected = SCORE_BAD[name]
    words = [
        str((tmp_path if word.startswith("{out") else folder) / word.strip("{}")) if word.startswith("{") else word
        for word in text.split()
    ]
    refused(words, expected, capsys)
    assert not list(tmp_path.iterdir())
