import gzip

import pytest

from xling_align.eval.data_dir import limit_of, panx, pawsx, sib200, tatoeba, xnli, xnli_translations
from xling_align.modeling_xling import InputError

SIB = "index_id\tcategory\ttext\n1\tsports\tA goal.\n2\ttravel\tA train.\n3\tsports\tA race.\n"
PAWS = "id\tsentence1\tsentence2\tlabel\n1\tHe ran.\tHe did run.\t1\n4\tHe ran.\tShe ran.\t0\n"
CONLL = "Anna\tB-PER\nB.\tI-PER\nruns\tO\n\n\nRome\tB-LOC\n"


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    content = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture
def data(tmp_path):
    for name, content in {
        "sib200/en/train.tsv": SIB,
        "sib200/en/test.tsv": SIB,
        "sib200/de/test.tsv.gz": SIB.replace("A goal.", "Ein Tor."),
        "pawsx/en/train.tsv.gz": PAWS,
        "pawsx/en/test.tsv": PAWS,
        "pawsx/de/test.tsv": PAWS,
        "ner/panx/en/test.conll": CONLL,
        "ner/panx/de/test.conll.gz": CONLL + "\n",
        "ner/masakhaner/sw/test.conll": "leo\tB-DATE\n",
        "tatoeba/de-en.en": "One.\nTwo.\n",
        "tatoeba/de-en.de": "Eins.\nZwei.\n",
        "tatoeba/fr-en.en": "Three.\n",
        "tatoeba/fr-en.fr.gz": "Trois.\n",
    }.items():
        write(tmp_path / name, content)
    return tmp_path


def test_each_task_is_read_with_or_without_gz(data):
    texts = sib200(data)
    assert list(texts) == ["de", "en"]
    assert texts["de"] == (["Ein Tor.", "A train.", "A race."], ["sports", "travel", "sports"])
    assert pawsx(data)["en"] == (["He ran.", "He ran."], ["He did run.", "She ran."], ["1", "0"])
    assert list(pawsx(data, "train")) == ["en"]
    sentences = ([["Anna", "B.", "runs"], ["Rome"]], [["B-PER", "I-PER", "O"], ["B-LOC"]])
    assert panx(data) == {"en": sentences, "de": sentences}
    assert panx(data, corpus="masakhaner")["sw"].tags == [["B-DATE"]]
    assert tatoeba(data) == {"de": (["One.", "Two."], ["Eins.", "Zwei."]), "fr": (["Three."], ["Trois."])}


def test_languages_come_in_the_order_asked_for(data):
    assert list(sib200(data, languages=["en", "de"])) == ["en", "de"]
    assert list(sib200(data, languages="en")) == ["en"]
    assert list(tatoeba(data, ["fr", "en", "de"])) == ["fr", "de"]  # English is a side of each


def test_quotes_and_other_line_breaks_are_text(data):
    odd = 'He said "go.\tand\n"x" \u2028\x85 y\t"z\n'
    write(data / "sib200/en/dev.tsv", "text\tcategory\n" + odd)
    assert sib200(data, "dev")["en"] == (['He said "go.', '"x" \u2028\x85 y'], ["and", '"z'])


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(data):
    write(data / "sib200/en/test.tsv", b"\xef\xbb\xbf" + SIB.replace("\n", "\r\n").encode())
    write(data / "ner/panx/en/test.conll", CONLL.replace("\n", "\r\n"))
    assert sib200(data)["en"].labels == ["sports", "travel", "sports"]
    assert panx(data)["en"] == panx(data)["de"]


def test_a_limit_keeps_the_first_rows_of_each_language_and_says_so(data):
    texts, sentences, sides = sib200(data, limit=2), panx(data, limit=1), tatoeba(data, limit=1)
    assert all(rows.labels == ["sports", "travel"] for rows in texts.values())
    assert all(rows.tokens == [["Anna", "B.", "runs"]] for rows in sentences.values())
    assert sides["de"] == (["One."], ["Eins."])
    assert limit_of(texts) == {"limit": 2} and limit_of(sib200(data)) == limit_of({}) == {}


@pytest.mark.parametrize(
    ("name", "content", "call", "message"),
    [
        (None, None, lambda folder: sib200(folder / "none"), "holds no <xx>/test.tsv, with .gz or without"),
        (None, None, lambda folder: sib200(folder, "text"), "holds no <xx>/text.tsv"),
        (None, None, lambda folder: sib200(folder, languages=["en", "den"]), r"'den' \(did you mean 'en'\?\)"),
        (None, None, lambda folder: pawsx(folder, "train", ["de"]), "'de'; there are en"),
        (None, None, lambda folder: tatoeba(folder, ["yo"]), "'yo'; there are de, fr"),
        (None, None, lambda folder: panx(folder, limit=0), "limit is 0"),
        ("sib200/en/test.tsv", "", sib200, "test.tsv is empty"),
        ("sib200/en/test.tsv", "text\tcategory\n", sib200, "test.tsv is empty"),
        ("sib200/en/test.tsv", "text\tcategory\na\tb\nc\n", sib200, "test.tsv, line 3: 1 columns, the header has 2"),
        ("sib200/en/test.tsv", "text\tcategory\na\t\n", sib200, "line 2: 'category' is empty"),
        ("sib200/en/test.tsv", b"text\tcategory\na\tb\n\xff\tb\n", sib200, "line 3: not UTF-8"),
        ("sib200/de/test.tsv.gz", gzip.compress(b"text", mtime=0)[:9], sib200, "test.tsv.gz can't be read"),
        ("ner/panx/en/test.conll", "a\tO\nb\n", panx, "test.conll, line 2: 'b' is not a word and its tag"),
        ("ner/panx/en/test.conll", "a\tPER\n", panx, "line 1: .* O, B-type or I-type"),
        ("ner/panx/en/test.conll", "\n\n", panx, "test.conll is empty"),
        ("tatoeba/de-en.de", "Eins.\n", tatoeba, "de-en.en has 2 lines and de-en.de 1"),
        ("tatoeba/de-en.de", "Eins.\n\n", tatoeba, "de-en.de, line 2: empty"),
        ("tatoeba/it-en.en", "One.\n", tatoeba, "no it-en.it beside it"),
    ],
)
def test_unusable_data_are_refused_in_one_line(data, name, content, call, message):
    if name and name.endswith(".gz"):
        (data / name).write_bytes(content)
    elif name:
        write(data / name, content)
    with pytest.raises(InputError, match=message) as error:
        call(data)
    assert "\n" not in str(error.value)


def test_xnli_translations_are_the_distinct_hypotheses_line_by_line(tmp_path):
    rows = {"en": ["It rains.", "It snows.", "It rains.", "It is hot."], "de": ["a", "b", "c", "d"]}
    for code, texts in rows.items():
        lines = [f"premise\t{text}\tneutral\n" for text in texts]
        write(tmp_path / "xnli" / code / "dev.tsv", "premise\thypothesis\tlabel\n" + "".join(lines))
    assert xnli(tmp_path, "dev")["de"].second == rows["de"]
    found = xnli_translations(tmp_path)
    assert found.keys() == {"de"}
    assert found["de"] == (["It rains.", "It snows.", "It is hot."], ["a", "b", "d"])
    assert xnli_translations(tmp_path, limit=2)["de"].foreign == ["a", "b"]
