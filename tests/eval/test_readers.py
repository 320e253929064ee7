"""Readers of the data sets that came after the first four, and pairs in two languages."""

import gzip

import numpy as np
import pytest

from xling_align.eval.data_dir import (
    lexicon,
    mldoc,
    pawsx,
    sts17,
    stsb,
    wordalign,
    xnli,
    xnli_train,
    xnli_translations,
)
from xling_align.eval.tasks import classification
from xling_align.modeling_xling import InputError

STS = "sentence1\tsentence2\tscore\nA dog.\tA cat.\t2.5\nA man.\tA man.\t5\n"
XNLI = "premise\thypothesis\tlabel\nHe ran.\tHe moved.\tentailment\nHe ran.\tHe slept.\tcontradiction\n"
PAWS = "id\tsentence1\tsentence2\tlabel\n"
FILES = {
    "lexicon/de-en.tsv": "big\tgroß\ttrain\nbig\tgroß\ttest\nbig\tdick\ttest\ndog\tHund\ttest\n",
    "lexicon/ta-en.tsv.gz": "inside\tஅகம்\ttest\n",
    "mldoc/en/train.tsv": 'ECAT\tBanks "lend".\nMCAT\tShares fell\tsharply.\n',
    "mldoc/de/test.tsv.gz": "MCAT\tAktien fielen.\n",
    "wordalign/fr-en/test.en": "the dog\nyes\n",
    "wordalign/fr-en/test.fr": "le chien\nbien sûr\n",
    "wordalign/fr-en/test.align": "0-0 1-1 0p1\n0-0 0p1\n",
    "stsb/de/test.tsv": STS,
    "sts17/ar-en.tsv": STS,
    "sts17/es-en.tsv": STS,
    "sts17/es-es.tsv": STS,
    "xnli/en/test.tsv.gz": XNLI,
    "xnli/de/test.tsv": XNLI.replace("He ran.", "Er lief.").replace("He moved", "Er ging"),
    "xnli/en/train-mnli-subset.tsv.gz": XNLI,
    "pawsx/en/test.tsv": PAWS + "1\ta\tb\t1\n2\tc\td\t0\n3\te\tf\t1\n",
    "pawsx/de/test.tsv": PAWS + "3\tE\tF\t1\n2\tC\tD\t0\n4\tG\tH\t0\n",
}


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())


@pytest.fixture
def data(tmp_path):
    for name, content in FILES.items():
        write(tmp_path / name, content)
    return tmp_path


def test_a_lexicon_keeps_every_translation_of_the_split(data):
    words = lexicon(data)
    assert words["de"] == (["big", "big", "dog"], ["groß", "dick", "Hund"])
    assert words["ta"] == (["inside"], ["அகம்"])
    assert lexicon(data, "train", ["de"])["de"] == (["big"], ["groß"])
    assert lexicon(data, limit=2)["de"].foreign == ["groß", "dick"]


def test_mldoc_has_no_header_and_keeps_quotes_and_tabs_of_the_text(data):
    texts = mldoc(data, "train")
    assert texts == {"en": (['Banks "lend".', "Shares fell\tsharply."], ["ECAT", "MCAT"])}
    assert mldoc(data)["de"] == (["Aktien fielen."], ["MCAT"])


def test_mldoc_serves_zero_shot_classification(tmp_path):
    for name, market, rows in (("en/train", "shares", 12), ("de/test", "Aktien", 4)):
        lines = [f"{'MCAT' if row % 2 else 'ECAT'}\t{market if row % 2 else 'jobs'} {row}\n" for row in range(rows)]
        write(tmp_path / f"mldoc/{name}.tsv", "".join(lines))

    def encode(texts, language):
        return np.array([[1.0, 0.1] if "jobs" in text else [0.1, 1.0] for text in texts])

    result = classification.run(encode, mldoc(tmp_path, "train")["en"], mldoc(tmp_path, "test"))
    assert result.scores["de"] == 1.0 and result.details["de"]["texts"] == 4


def test_word_links_are_read_with_the_words_that_they_join(data):
    sentences = wordalign(data)["fr"]
    assert sentences.english == [["the", "dog"], ["yes"]] and sentences.foreign == [["le", "chien"], ["bien", "sûr"]]
    assert sentences.links[0].sure == {(0, 0), (1, 1)} and sentences.links[0].possible == {(0, 0), (1, 1), (0, 1)}
    assert len(wordalign(data, limit=1)["fr"].links) == 1


def test_rated_pairs_know_the_languages_of_their_columns(data):
    assert stsb(data)["de"] == (["A dog.", "A man."], ["A cat.", "A man."], [2.5, 5.0], ("de", "de"))
    assert {name: rated.languages for name, rated in sts17(data).items()} == {
        "ar-en": ("en", "ar"),  # as the file has it
        "es-en": ("es", "en"),
        "es-es": ("es", "es"),
    }
    assert list(sts17(data, ["es-es"], limit=1)["es-es"].scores) == [2.5]


def test_pairs_in_two_languages_take_the_first_text_from_one(data):
    mixed = xnli(data, first="en")
    assert mixed["de"] == (["He ran.", "He ran."], ["Er ging.", "He slept."], ["entailment", "contradiction"])
    assert mixed["en"] == xnli(data)["en"]
    assert xnli(data, languages=["en"], first="de")["en"].first == ["Er lief.", "Er lief."]


def test_pairs_in_two_languages_are_joined_by_id_where_there_is_one(data):
    assert pawsx(data, first="en")["de"] == (["e", "c"], ["F", "D"], ["1", "0"])
    assert pawsx(data, first="en", limit=1)["de"] == (["e"], ["F"], ["1"])


def test_training_pairs_of_xnli_are_english(data):
    assert xnli_train(data).labels == ["entailment", "contradiction"]
    assert len(xnli_train(data, limit=1).first) == 1


def test_translations_can_be_those_of_the_test_split(data):
    assert xnli_translations(data, split="test") == {"de": (["He moved.", "He slept."], ["Er ging.", "He slept."])}


@pytest.mark.parametrize(
    ("name", "content", "call", "message"),
    [
        (None, None, lambda folder: lexicon(folder, "dev"), "de-en.tsv has no entry of the split 'dev'"),
        (None, None, lambda folder: lexicon(folder, languages="fr"), "no <xx>-en.tsv for language 'fr'; there are de"),
        (None, None, lambda folder: wordalign(folder, "dev"), "holds no <xx>-en/dev.en"),
        (None, None, lambda folder: stsb(folder, limit=0), "limit is 0"),
        (None, None, lambda folder: xnli(folder, first="fr"), "no <xx>/test.tsv for language 'fr'"),
        ("lexicon/de-en.tsv", "a\tb\ttest\nc\td\n", lexicon, "de-en.tsv, line 2: 2 columns, not english<TAB>foreign"),
        ("lexicon/de-en.tsv", "a\t \ttest\n", lexicon, "de-en.tsv, line 1: 'foreign' is empty"),
        ("lexicon/de-en.tsv", "", lexicon, "de-en.tsv is empty"),
        ("mldoc/en/test.tsv", "A text without label\n", mldoc, "test.tsv, line 1: 1 columns, not label<TAB>text"),
        (
            "wordalign/fr-en/test.align",
            "0-0\n0-2\n",
            wordalign,
            "test.align, line 2: the link 0-2 leaves sentences of 1",
        ),
        ("wordalign/fr-en/test.align", "0-0\n0:0\n", wordalign, "test.align, line 2: '0:0' is no link"),
        ("wordalign/fr-en/test.fr", "le\n", wordalign, "test.en has 2 lines and test.fr 1"),
        ("wordalign/it-en/test.en", "yes\n", wordalign, "test.en has no test.it beside it"),
        ("stsb/de/test.tsv", STS.replace("\t5", "\tfive"), stsb, "test.tsv, line 3: the score 'five' is not a number"),
        (
            "xnli/de/test.tsv",
            XNLI.replace("contradiction", "neutral"),
            lambda folder: xnli(folder, first="en"),
            "de/test.tsv, row 2: label 'neutral', and 'contradiction' in",
        ),
        (
            "xnli/de/test.tsv",
            XNLI[: XNLI.rindex("He ran")],
            lambda folder: xnli(folder, first="en"),
            "de/test.tsv has 1 rows and",
        ),
        ("pawsx/de/test.tsv", PAWS + "9\ta\tb\t1\n", lambda folder: pawsx(folder, first="en"), "no 'id' in common"),
    ],
)
def test_unusable_data_are_refused_in_one_line(data, name, content, call, message):
    if name:
        write(data / name, content)
    with pytest.raises(InputError, match=message) as error:
        call(data)
    assert "\n" not in str(error.value)
