"""The texts of the withheld languages hold what they should, and nothing that they should not."""

import json
import random

import pytest

from benchmarks import withheld_languages
from benchmarks.withheld_languages import SHARE, Texts, table
from xling_align.modeling_xling import InputError
from xling_align.trainers.data.pairs import pair_id_of


def row(meaning: str, language: str) -> dict:
    source, target = f"sentence {meaning}", f"{language} {meaning}"
    pair = {"source": source, "target": target, "source_language": "en", "target_language": language, "score": None}
    return {**pair, "pair_id": pair_id_of(source, "en")}


@pytest.fixture
def texts(tmp_path, monkeypatch) -> Texts:
    monkeypatch.setattr(withheld_languages, "HELD_OUT", 20)
    own = [row(str(number), "nl") for number in range(320)]
    others = [row(str(number), "de") for number in range(200, 1000)]  # 120 English sentences are in both
    texts = Texts(tmp_path / "nl", "nl")
    texts.draw([*own, *own[:9], *others], 200, 300, random.Random(0))
    return texts


def read(texts: Texts, name: str) -> list[dict]:
    return [json.loads(line) for line in texts.path(name).read_text().splitlines()]


def test_30_percent_of_each_side_have_their_translation_on_the_other(texts):
    english = texts.path("en.txt").read_text().splitlines()
    foreign = texts.path("nl.txt").read_text().splitlines()
    hidden = {line.split()[1] for line in english} & {line.split()[1] for line in foreign}
    assert len(english) == len(foreign) == 200 and len(hidden) == SHARE * 200
    assert hidden == {pair["target"].split()[1] for pair in read(texts, "gold.jsonl")}


def test_the_other_english_sentences_are_translations_of_no_sentence_of_the_language(texts):
    gold = {pair["source"] for pair in read(texts, "gold.jsonl")}
    own = {f"sentence {number}" for number in range(320)}
    assert not (set(texts.path("en.txt").read_text().splitlines()) - gold) & own


def test_held_out_pairs_are_nowhere_else(texts):
    held = {pair["target"] for pair in read(texts, "dev.jsonl")}
    assert len(held) == 20
    assert not held & {pair["target"] for pair in read(texts, "true.jsonl")}
    assert not held & set(texts.path("nl.txt").read_text().splitlines())
    assert {pair["target_language"] for pair in read(texts, "others.jsonl")} == {"de"}


def test_a_language_with_too_few_pairs_is_refused(tmp_path):
    with pytest.raises(InputError, match="'nl' has 5 distinct pairs"):
        Texts(tmp_path, "nl").draw([row(str(number), "nl") for number in range(5)], 10, 10, random.Random(0))


def test_the_share_of_the_gain_is_that_of_the_means():
    ends = {"encoder": {"held out": 0.0}, "rounds": {"held out": 50.0}, "true pairs": {"held out": 60.0}}
    runs = [{"language": "nl", "before": {"held out": low}, **ends} for low in (10.0, 30.0)]
    scores, shares = "0.0 ± 0.0 | 20.0 ± 14.1 | 50.0 ± 0.0 | 60.0 ± 0.0", "75 % (67 to 80) | 83 % (83 to 83)"
    assert table(runs).splitlines()[2] == f"| nl | held out | {scores} | {shares} |"
    assert table(runs[:1]).splitlines()[2] == "| nl | held out | 0.0 | 10.0 | 50.0 | 60.0 | 80 % | 83 % |"
    worse = [{**runs[0], "true pairs": {"held out": 10.0}}]
    assert table(worse).splitlines()[2].endswith("| - | 500 % |")
