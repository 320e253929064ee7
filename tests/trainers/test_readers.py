import gzip
import json
import struct
import tracemalloc
from collections import Counter
from pathlib import Path

import polib
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xling_align.modeling_xling import InputError
from xling_align.trainers.data import formats, readers
from xling_align.trainers.data.formats import catalog_records, hub_records
from xling_align.trainers.data.pairs import LeftOut, stable_hash
from xling_align.trainers.data.readers import (
    ReadReport,
    named_language,
    pair_id_of,
    pairs_by_name,
    pairs_dataset,
    read_data_dir,
    read_pairs,
)

# In the order of their bytes, as .mo files are; with emoji, combining marks, CJK, right-to-left text and quotes.
TRANSLATIONS = [
    ("A family 👩‍👩‍👧 came.", "הגיעה משפחה 👩‍👩‍👧."),
    ('He said "cafe\u0301" & <left>', "\u200fהוא אמר ״cafe\u0301״ ועזב"),
    ("日本語 means Japanese", "日本語\u3000פירושו יפנית"),
]


def row(source, target, source_language="en", target_language="he", score=None):
    return {
        "source": source,
        "target": target,
        "source_language": source_language,
        "target_language": target_language,
        "pair_id": pair_id_of(source, source_language),
        "score": score,
    }


ROWS = [row(source, target) for source, target in TRANSLATIONS]


def escaped(text):
    return text.replace("&", "&amp;").replace("<", "&lt;")


def tmx(units, srclang="en", doctype=""):
    """A TMX document from units, each a dict or list of (language, inner XML of seg)."""
    body = "".join(
        "<tu>"
        + "".join(f'<tuv xml:lang="{code}"><seg>{text}</seg></tuv>' for code, text in dict(unit).items())
        + "</tu>\n"
        for unit in units
    )
    return f'<?xml version="1.0"?>{doctype}<tmx version="1.4"><header srclang="{srclang}"/><body>{body}</body></tmx>'


def write_tsv(folder):
    text = "".join(f"{source}\t{target}\n" for source, target in TRANSLATIONS)
    return written(folder / "pairs.tsv", text)


def write_txt_with_header(folder):
    lines = ["pair_id\ttarget\tsource\n", *(f"\t{target}\t{source}\n" for source, target in TRANSLATIONS)]
    return written(folder / "pairs.txt", "".join(lines))


def write_jsonl(folder):
    return written(
        folder / "pairs.jsonl",
        "".join(json.dumps({"source": source, "target": target}) + "\n" for source, target in TRANSLATIONS),
    )


def write_nested_jsonl(folder):
    lines = [
        json.dumps({"translation": {"en": source, "he": target}}, ensure_ascii=False)
        for source, target in TRANSLATIONS
    ]
    return written(folder / "nested.jsonl", "\n".join(lines))


def write_parquet(folder):
    path = folder / "pairs.parquet"
    sources, targets = zip(*TRANSLATIONS, strict=True)
    pq.write_table(pa.table({"source": sources, "target": targets, "extra": [1, 2, 3]}), path)
    return path


def write_tmx(folder):
    return written(
        folder / "pairs.tmx", tmx({"en": escaped(source), "he": escaped(target)} for source, target in TRANSLATIONS)
    )


def write_po(folder, suffix=".po"):
    path = folder / "locale" / "he" / "LC_MESSAGES" / f"django{suffix}"
    path.parent.mkdir(parents=True)
    catalog = polib.POFile()
    catalog.metadata = {"Content-Type": "text/plain; charset=utf-8"}
    catalog.extend(polib.POEntry(msgid=source, msgstr=target) for source, target in TRANSLATIONS)
    (catalog.save_as_mofile if suffix == ".mo" else catalog.save)(str(path))
    return folder / "locale"


def write_mo(folder):
    return write_po(folder, ".mo")


def written(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


WRITERS = [
    write_tsv,
    write_txt_with_header,
    write_jsonl,
    write_nested_jsonl,
    write_parquet,
    write_tmx,
    write_po,
    write_mo,
]


@pytest.mark.parametrize("write", WRITERS)
def test_every_format_gives_the_same_rows(tmp_path, write):
    assert list(read_pairs(write(tmp_path), "en", ["he"])) == ROWS


@pytest.mark.parametrize("write", [writer for writer in WRITERS if writer not in (write_po, write_mo)])
@pytest.mark.parametrize("named", ["without_gz", "with_gz"])
def test_a_gz_twin_gives_the_same_rows_by_either_name(tmp_path, write, named):
    path = write(tmp_path)
    twin = path.with_name(path.name + ".gz")
    twin.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert list(read_pairs(path if named == "without_gz" else twin, "en", "he")) == ROWS


def test_hub_datasets_give_the_same_rows(tmp_path, monkeypatch):
    """The Hub cannot be reached from a test: `datasets` streams the same Parquet file from a folder instead."""
    import datasets

    write_parquet(tmp_path)
    load, asked = datasets.load_dataset, {}

    def load_from_folder(dataset, config, revision, **options):
        asked.update(dataset=dataset, config=config, revision=revision, **options)
        return load(str(tmp_path), **options)

    monkeypatch.setattr("datasets.load_dataset", load_from_folder)
    pairs = read_pairs("owner/name", "en", "he", config="en-he", revision="abc")
    assert asked == {}, "nothing is loaded before the first row is asked for"
    assert list(pairs) == ROWS
    assert asked == dict(dataset="owner/name", config="en-he", revision="abc", split="train", streaming=True)


def test_hub_records_stream_from_datasets_itself(tmp_path):
    write_parquet(tmp_path)
    records = dict(hub_records(str(tmp_path)))
    assert records[3] == {"source": TRANSLATIONS[2][0], "target": TRANSLATIONS[2][1], "extra": 3}
    with pytest.raises(InputError, match=r"Available splits: \['train'\]"):
        list(hub_records(str(tmp_path), split="dev"))


def test_an_unreachable_hub_is_one_line(monkeypatch):
    def unreachable(*args, **kwargs):
        raise ConnectionError("Couldn't reach\nthe Hub")

    monkeypatch.setattr("datasets.load_dataset", unreachable)
    with pytest.raises(InputError, match="'owner/name' cannot be read from the Hub .Couldn't reach the Hub") as error:
        list(read_pairs("owner/name", "en", "he"))
    assert "\n" not in str(error.value)


# --- ids


def test_pair_id_is_the_same_in_every_process_and_version():
    assert pair_id_of("Good morning!", "en") == -45302932897483339


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Good morning!", "  good\u00a0MORNING … "),
        ("“Café”", "'cafe\u0301'"),
        ("ＦＵＬＬ width", "full width"),
        ("Straße", "STRASSE"),
        ("co\u00adoperate", "cooperate"),
        ("well-known", "well known"),
    ],
)
def test_case_width_punctuation_and_space_do_not_change_the_meaning(one, other):
    assert pair_id_of(one, "en") == pair_id_of(other, "en-GB")


@pytest.mark.parametrize(
    ("one", "other"),
    [("कि", "की"), ("👍", "👎"), ("?", "..."), ("resume", "résumé"), ("ab", "a b")],
)
def test_marks_emoji_and_words_do_change_it(one, other):
    assert pair_id_of(one, "hi") != pair_id_of(other, "hi")


def test_one_english_sentence_in_two_files_has_one_id(tmp_path):
    german = written(tmp_path / "de.tsv", "Good morning!\tGuten Morgen!\n")
    french = written(tmp_path / "fr.jsonl", '{"source": "good morning", "target": "Bonjour"}')
    (one,), (other,) = read_pairs(german, "en", "de"), read_pairs(french, "en", "fr")
    assert one["pair_id"] == other["pair_id"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (7, 7),
        ("7", 7),
        (7.0, 7),
        (-(2**63), -(2**63)),
        ("a-7", "hashed"),
        (str(2**63), "hashed"),
        (None, "from the source"),
        ("", "from the source"),
    ],
)
def test_a_given_id_is_kept_text_is_hashed_and_absent_ones_come_from_the_source(tmp_path, given, expected):
    path = written(tmp_path / "a.jsonl", json.dumps({"source": "a", "target": "b", "pair_id": given}))
    (pair,) = read_pairs(path, "en", "de")
    kinds = {"hashed": stable_hash(str(given)), "from the source": pair_id_of("a", "en")}
    assert pair["pair_id"] == kinds.get(expected, expected)


# --- rows that are left out


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"one side only", "1 column, 2 expected"),
        (b"a\tb\tc\td", "4 columns, 2 expected"),
        (b"a\t", "empty target"),
        (b"\tb", "empty source"),
        (b" \t\xe3\x80\x80", "empty source"),
        (b"", "empty line"),
        (b"caf\xe9\tKaffee", "not UTF-8 (byte 4 of the line)"),
        (b"a\0b\tc", "NUL character in source"),
        (b"a\t" + b"b" * 1_000_000, "longer than 1000000 bytes"),
    ],
)
def test_a_bad_tsv_line_is_counted_named_and_passed_over(tmp_path, line, reason):
    path = written(tmp_path / "a.tsv", b"one\teins\n" + line + b"\ntwo\tzwei\n")
    report = ReadReport()
    assert [pair["target"] for pair in read_pairs(path, "en", "de", report=report)] == ["eins", "zwei"]
    assert report.line(str(path)) == f"{path}: 2 pairs, 1 left out (line 2: {reason})"


@pytest.mark.parametrize("score", ["high", "nan", "inf", "-"])
def test_a_score_that_is_no_finite_number_leaves_the_row_out(tmp_path, score):
    path = written(tmp_path / "a.tsv", f"one\teins\t0.5\ntwo\tzwei\t{score}\nthree\tdrei\t\n")
    report = ReadReport()
    assert [pair["score"] for pair in read_pairs(path, "en", "de", report=report)] == [0.5, None]
    assert report.first_bad[str(path)] == [f"line 2: score '{score}' is not a finite number"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"source": "a"', "not JSON (Expecting ',' delimiter, column 15)"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "JSON list, an object expected"),
        ('{"source": "a"}', "empty target"),
        ('{"source": "a", "target": 3}', "target is int, text expected"),
        ('{"source": ["a"], "target": "b"}', "source is list, text expected"),
        ('{"source": "a", "target": "b", "score": NaN}', "score nan is not a finite number"),
        ('{"source": "a", "target": "b", "score": true}', "score True is not a finite number"),
        ('{"source": "a", "target": "\\ud83d"}', "half a surrogate pair in target"),
        ('{"source": "a", "target": "b", "pair_id": true}', "pair_id True is neither text nor a 64-bit integer"),
        ('{"source": "a", "target": "b", "pair_id": 1.5}', "pair_id 1.5 is neither text nor a 64-bit integer"),
    ],
)
def test_a_bad_json_line_is_counted_named_and_passed_over(tmp_path, line, reason):
    good = '{"source": "one", "target": "eins", "score": 1, "pair_id": 1}'
    path = written(tmp_path / "a.jsonl", f"{good}\n{line}\n{good}\n")
    report = ReadReport()
    assert len(list(read_pairs(path, "en", "de", report=report))) == 2
    (bad,) = report.first_bad[str(path)]
    assert bad.startswith(f"line 2: {reason}")


def test_a_parquet_row_with_broken_text_leaves_its_neighbours_alone(tmp_path):
    offsets, text = struct.pack("<4i", 0, 4, 5, 9), b"eins\xffdrei"
    broken = pa.Array.from_buffers(pa.string(), 3, [None, pa.py_buffer(offsets), pa.py_buffer(text)])
    pq.write_table(pa.table({"source": ["one", "two", "three"], "target": broken}), tmp_path / "a.parquet")
    report = ReadReport()
    pairs = read_pairs(tmp_path / "a.parquet", "en", "de", report=report)
    assert [pair["target"] for pair in pairs] == ["eins", "drei"]
    assert report.examples == [f"{tmp_path / 'a.parquet'}: row 2: not UTF-8"]


def test_the_report_counts_every_bad_row_and_names_the_first(tmp_path):
    report = ReadReport()
    bad = written(tmp_path / "bad.tsv", "one\teins\n" + "x\n" * 5)
    list(read_pairs(bad, "en", "de", report=report))
    list(read_pairs(written(tmp_path / "good.tsv", "one\teins\ntwo\tzwei\n"), "en", "de", report=report))
    named = "; ".join(f"{bad}: line {line}: 1 column, 2 expected" for line in (2, 3, 4))
    assert str(report) == f"2 files: 3 pairs, 5 left out ({named}; ...)"


def test_a_file_without_a_good_row_names_the_first_bad_one(tmp_path):
    path = written(tmp_path / "a.tsv", "one\ttwo\tx\nalone\n")
    with pytest.raises(InputError, match="2 rows left out, the first at line 1: score 'x' is not a finite number"):
        list(read_pairs(path, "en", "de"))


# --- TSV


def test_windows_line_ends_bom_and_quotes_are_no_trap(tmp_path):
    path = written(tmp_path / "a.tsv", b'\xef\xbb\xbf"Hi\t"Hallo"\r\nno "end\tkein Ende\r\nlast\tletzte')
    sides = [(pair["source"], pair["target"]) for pair in read_pairs(path, "en", "de")]
    assert sides == [('"Hi', '"Hallo"'), ('no "end', "kein Ende"), ("last", "letzte")]


def test_a_bom_before_a_header_is_no_part_of_its_first_name(tmp_path):
    path = written(tmp_path / "a.tsv", b"\xef\xbb\xbfsource\ttarget\r\none\teins\r\n")
    assert [pair["source"] for pair in read_pairs(path, "en", "de")] == ["one"]


def test_line_separators_inside_a_sentence_do_not_split_it(tmp_path):
    path = written(tmp_path / "a.tsv", "one\u2028two\x0bthree\x85four\teins\rzwei\n")
    (pair,) = read_pairs(path, "en", "de")
    assert (pair["source"], pair["target"]) == ("one two three four", "eins zwei")


def test_header_names_and_columns_give_the_same_rows(tmp_path):
    table = "{}\t{}\t{}\t{}\nen-US\tone\tde_AT\teins\nen\tone\tfr\tun\n"
    ours = written(tmp_path / "a.tsv", table.format("source_language", "source", "target_language", "target"))
    theirs = written(tmp_path / "b.tsv", table.format("l1", "english", "l2", "text"))
    columns = {"source": "english", "target": "text", "source_language": "l1", "target_language": "l2"}
    expected = [row("one", "eins", "en", "de"), row("one", "un", "en", "fr")]
    assert list(read_pairs(ours)) == list(read_pairs(theirs, columns=columns)) == expected


def test_a_header_in_capitals_is_no_row(tmp_path):
    path = written(tmp_path / "a.tsv", "Source\tTarget\tScore\none\teins\t0.5\n")
    assert list(read_pairs(path, "en", "de")) == [row("one", "eins", "en", "de", 0.5)]


def test_only_languages_asked_for_are_given(tmp_path):
    path = written(tmp_path / "a.tsv", "source\ttarget\ttarget_language\none\teins\tde\none\tun\tfr\none\tx\tGerman\n")
    report = ReadReport()
    assert list(read_pairs(path, "en", ["fr"], report=report)) == [row("one", "un", "en", "fr")]
    assert report.first_bad[str(path)] == [
        "line 2: target_language 'de' was not asked for",
        "line 4: target_language 'German' is not an ISO 639 code",
    ]


def test_rows_come_before_the_file_is_read_to_its_end(tmp_path):
    path = tmp_path / "a.tsv.gz"
    lines = "".join(f"number {number}\tNummer {number * 7919 % 10007}\n" for number in range(50_000))
    path.write_bytes(gzip.compress(lines.encode())[:-1000])
    pairs = read_pairs(path, "en", "de")
    assert next(pairs)["target"] == "Nummer 0"
    with pytest.raises(InputError, match="cannot be read as text .Compressed file ended"):
        list(pairs)


# --- TMX


def test_several_targets_of_a_unit_share_one_id(tmp_path):
    path = written(tmp_path / "a.tmx", tmx([{"fr": "un", "en": "one", "de": "eins"}, {"en": "two", "de": "zwei"}]))
    expected = [row("one", "un", "en", "fr"), row("one", "eins", "en", "de"), row("two", "zwei", "en", "de")]
    assert list(read_pairs(path)) == expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (["de"], [("de", "Jänner"), ("de", "Januar")]),
        (["de-AT"], [("de-AT", "Jänner")]),
        (["de", "de-AT"], [("de-AT", "Jänner"), ("de", "Januar")]),
        (None, [("de", "Jänner"), ("de", "Januar")]),
    ],
)
def test_regional_codes_count_as_their_language_unless_asked_for_exactly(tmp_path, asked, expected):
    unit = {"en-US": "Jan", "en": "January", "de-at": "Jänner", "DE-DE": "Januar", "en-GB": "Jan."}
    path = written(tmp_path / "a.tmx", tmx([unit], srclang="en-US"))
    for source_language in ("en", None):
        pairs = list(read_pairs(path, source_language, asked))
        assert [(pair["target_language"], pair["target"]) for pair in pairs] == expected
        assert {(pair["source_language"], pair["source"]) for pair in pairs} == {("en", "January")}


def test_markup_codes_are_dropped_and_the_text_around_them_kept(tmp_path):
    english = (
        'Press <bpt i="1">&lt;b&gt;</bpt><hi>the <it>x</it>red</hi> key<ept i="1">&lt;/b&gt;</ept>'
        "<ph>{0}<sub>no</sub></ph>\n   now."
    )
    path = written(tmp_path / "a.tmx", tmx([{"en": english, "de": "Drücke die <ph/>Taste."}]))
    (pair,) = read_pairs(path, "en", "de")
    assert (pair["source"], pair["target"]) == ("Press the red key now.", "Drücke die Taste.")


def test_a_source_is_not_its_own_translation(tmp_path):
    path = written(tmp_path / "a.tmx", tmx([{"en": "one", "de": "eins"}]))
    assert list(read_pairs(path, "en", ["en", "de"])) == [row("one", "eins", "en", "de")]


def test_units_without_an_asked_language_are_counted(tmp_path):
    path = written(tmp_path / "a.tmx", tmx([{"en": "one", "fr": "un"}, {"en": "two", "de": "zwei"}, {"de": "drei"}]))
    report = ReadReport()
    assert [pair["target"] for pair in read_pairs(path, "en", "de", report=report)] == ["zwei"]
    assert report.first_bad[str(path)] == ["unit 1: no text in 'de'", "unit 3: no text in 'en'"]


def test_a_doctype_and_the_old_lang_attribute_are_accepted(tmp_path):
    text = tmx([{"en": "one", "de": "eins"}], doctype='<!DOCTYPE tmx SYSTEM "tmx14.dtd">')
    path = written(tmp_path / "a.tmx", text.replace("xml:lang", "lang").encode("utf-16"))
    assert [pair["target"] for pair in read_pairs(path, "en", "de")] == ["eins"]


LAUGHS = '<!DOCTYPE tmx [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
EXTERNAL = '<!DOCTYPE tmx [<!ENTITY a SYSTEM "file:///etc/hostname">]>'
PARAMETER = '<!DOCTYPE tmx [<!ENTITY % a SYSTEM "file:///etc/hostname"> %a;]>'


@pytest.mark.parametrize("doctype", [LAUGHS, EXTERNAL, PARAMETER])
def test_xml_that_declares_entities_is_refused_in_one_line(tmp_path, doctype):
    inner = "" if doctype == PARAMETER else "&a;"
    path = written(tmp_path / "a.tmx", tmx([{"en": "one", "de": inner or "eins"}], doctype=doctype))
    with pytest.raises(InputError, match="cannot be read as TMX .EntitiesForbidden") as error:
        list(read_pairs(path, "en", "de"))
    assert "\n" not in str(error.value)


def test_deeply_nested_xml_is_no_trap(tmp_path):
    path = written(tmp_path / "a.tmx", tmx([{"en": "one", "de": "<hi>" * 50_000 + "eins" + "</hi>" * 50_000}]))
    assert list(read_pairs(path)) == [row("one", "eins", "en", "de")]


def test_memory_does_not_grow_with_a_tmx_file(tmp_path):
    unit = {"en": "one<ph>{0}</ph> more", "de": "noch <hi>eins</hi>"}
    peaks = []
    for units in (500, 4000):
        path = written(tmp_path / f"{units}.tmx", tmx([unit] * units))
        tracemalloc.start()
        texts = Counter((pair["source"], pair["target"]) for pair in read_pairs(path, "en", "de"))
        assert texts == {("one more", "noch eins"): units}
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


# --- gettext


def catalog(folder, language, text, name="django.po"):
    header = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n{}"\n\n'
    forms, _, body = text.partition("\n")
    return written(folder / language / "LC_MESSAGES" / name, header.format(forms) + body)


PLURAL = 'msgid "%d file"\nmsgid_plural "%d files"\nmsgstr[0] "{}"\nmsgstr[1] "{}"\nmsgstr[2] "{}"\n'
RUSSIAN = "nplurals=3; plural=(n%10==1 && n%100!=11 ? 0 : n%10>=2 && n%10<=4 && (n%100<10 || n%100>=20) ? 1 : 2);"


@pytest.mark.parametrize(
    ("language", "forms", "texts", "expected"),
    [
        ("de", "", ["%d Datei", "%d Dateien", "-"], [("%d file", "%d Datei"), ("%d files", "%d Dateien")]),
        ("ru", RUSSIAN, ["%d файл", "%d файла", "%d файлов"], [("%d file", "%d файл"), ("%d files", "%d файлов")]),
        ("ja", "nplurals=1; plural=0;", ["%d個のファイル", "", ""], [("%d files", "%d個のファイル")]),
        ("ar", "", ["ملف واحد", "%d ملفات", ""], [("%d file", "ملف واحد"), ("%d files", "%d ملفات")]),
        ("xx", "nplurals=2; plural=n/0;", ["%d a", "%d b", ""], [("%d file", "%d a"), ("%d files", "%d b")]),
    ],
)
def test_plural_entries_give_the_form_for_one_and_the_form_for_many(tmp_path, language, forms, texts, expected):
    plural_forms = f"Plural-Forms: {forms}\\n" if forms else ""
    catalog(tmp_path, language, f"{plural_forms}\n{PLURAL.format(*texts)}")
    assert [(pair["source"], pair["target"]) for pair in read_pairs(tmp_path)] == expected


def test_catalog_entries_that_are_no_translations_are_left_out_and_named(tmp_path):
    body = (
        '\nmsgid "one"\nmsgstr "eins"\n\n#, fuzzy\nmsgid "two"\nmsgstr "drei"\n\nmsgid "three"\nmsgstr ""\n\n'
        'msgid "%(a)s of %(b)s"\nmsgstr "%(b)s von %(a)s"\n\nmsgid "by %(name)s"\nmsgstr "von %(nme)s"\n\n'
        'msgid "<b>%(a)s</b>: {}"\nmsgstr "<b>%(a)s</b>: {}"\n\n#, python-format\nmsgid "100%% of %s"\n'
        'msgstr "100%% von %s"\n\n#~ msgid "old"\n#~ msgstr "alt"\n'
    )
    path = catalog(tmp_path, "de", body)
    report = ReadReport(keep=9)
    pairs = list(read_pairs(tmp_path, report=report))
    assert [pair["target"] for pair in pairs] == ["eins", "%(b)s von %(a)s", "100% von %s"]
    assert [bad.partition(": ")[2] for bad in report.first_bad[str(path)]] == [
        "fuzzy",
        "untranslated",
        "its sides name different placeholders",
        "no word beside placeholders",
        "obsolete",
    ]


def test_a_po_file_is_preferred_to_its_mo_file(tmp_path):
    root = write_mo(tmp_path)
    catalog(root, "he", '\nmsgid "from po"\nmsgstr "po"\n')
    assert [pair["source"] for pair in read_pairs(root)] == ["from po"]


def test_catalog_languages_are_found_in_every_layout(tmp_path):
    for folder in ("locale/de", "admin/locale/pt_BR", "gis/locale/ast", "fr/app", "locale/en_GB", "locale/templates"):
        catalog(tmp_path, folder, f'\nmsgid "one"\nmsgstr "{folder}"\n')
    found = {pair["target"]: pair["target_language"] for pair in read_pairs(tmp_path)}
    assert found == {"locale/de": "de", "admin/locale/pt_BR": "pt", "gis/locale/ast": "ast", "fr/app": "fr"}
    assert [pair["target"] for pair in read_pairs(tmp_path, "en", ["pt-BR"])] == ["admin/locale/pt_BR"]


def test_a_broken_catalog_among_good_ones_is_named(tmp_path):
    catalog(tmp_path, "de", '\nmsgid "one"\nmsgstr "eins"\n')
    broken = written(tmp_path / "fr" / "LC_MESSAGES" / "a.mo", b"nothing of the kind")
    report = ReadReport()
    assert [pair["target"] for pair in read_pairs(tmp_path, report=report)] == ["eins"]
    assert report.first_bad[str(broken)][0].startswith("entry 1: broken catalog (")


def test_mo_entries_are_checked_like_po_entries(tmp_path):
    path = catalog(tmp_path, "de", '\nmsgid "by %s"\nmsgstr "von"\n')
    polib.pofile(str(path)).save_as_mofile(str(path.with_suffix(".mo")))
    records = list(catalog_records(path.with_suffix(".mo"), "en", "de"))
    assert records == [(1, LeftOut("its sides name different placeholders"))]


# --- nested translations


def test_a_translation_column_gives_the_languages_asked_for(tmp_path):
    path = tmp_path / "a.parquet"
    texts = [{"de": "eins", "en": "one", "fr": "un"}, {"de": None, "en": "two", "fr": "deux"}]
    pq.write_table(pa.table({"translation": texts, "pair_id": ["0", "1"]}), path)
    pairs = list(read_pairs(path, "en"))
    assert [(pair["target_language"], pair["target"], pair["pair_id"]) for pair in pairs] == [
        ("de", "eins", 0),
        ("fr", "un", 0),
        ("fr", "deux", 1),
    ]
    assert [pair["target"] for pair in read_pairs(path, "fr", ["de"])] == ["eins"]


def test_translation_lists_are_understood(tmp_path):
    record = {"translation": {"language": ["en", "fr", "fr"], "translation": ["one", "un", "une"]}}
    path = written(tmp_path / "a.jsonl", json.dumps(record))
    assert [pair["target"] for pair in read_pairs(path, "en", "fr")] == ["un", "une"]


# --- what cannot be done


def refused(tmp_path, name, content, *arguments, **options):
    path = written(tmp_path / name, content) if content is not None else tmp_path / name
    with pytest.raises(InputError) as error:
        list(read_pairs(path, *arguments, **options))
    message = str(error.value)
    assert "\n" not in message
    return message


TWO_LANGUAGES = "source\ttarget\ttarget_language\none\teins\tde\none\tun\tfr\n"


@pytest.mark.parametrize(
    ("name", "content", "options", "parts"),
    [
        ("b.tsv", None, {}, ["there is no", "did you mean", "near.tsv", "owner/name"]),
        ("a.csv", "a,b", {}, ["unknown suffix '.csv'", ".jsonl"]),
        ("a.tsv", "", {}, ["is empty"]),
        ("a.tsv", "source\ttarget\n", {}, ["is empty"]),
        ("a.tsv", "a\tb\n", {"target_languages": "de"}, ["--source_language"]),
        ("a.tsv", "a\tb\n", {"source_language": "en"}, ["add --target_language with"]),
        ("a.tsv", "a\tb\n", {"source_language": "en", "target_languages": ["de", "fr"]}, ["names 2", "with one code"]),
        ("a.tsv", "a\tb\n", {"source_language": "English"}, ["--source_language 'English'", "ISO 639"]),
        ("a.tsv", "eng\tger\na\tb\n", {"columns": {"source": "engl", "target": "ger"}}, ["mean 'eng'?", "'ger'"]),
        ("a.tsv", "a\ta\nx\ty\n", {"columns": {"source": "a", "target": "a"}}, ["names a column twice ('a', 'a')"]),
        ("a.tsv", b"\xff\n", {"columns": {"source": "a"}}, ["the header (line 1) is unusable: not UTF-8"]),
        ("a.tsv", "a\tb\n", {"columns": {"text": "a"}}, ["--columns 'text'", "source_language"]),
        ("a.tsv", TWO_LANGUAGES, {"source_language": "en", "target_languages": ["de", "sw"]}, ["no 'sw'", "de, fr"]),
        ("a.jsonl", '{"Source": "a", "tgt": "b"}', {}, ["no column 'source' (did you mean 'Source'?)", "'tgt'"]),
        ("a.jsonl", "{", {}, ["no pair: 1 row left out", "line 1: not JSON"]),
        ("a.jsonl", '{"translation": {"en": "a", "de": "b"}}', {}, ["(en, de) is the source", "--source_language"]),
        ("a.parquet", b"PAR1 and no more", {}, ["cannot be read as Parquet"]),
        ("a.tmx", "<tmx><body><tu>", {}, ["cannot be read as TMX"]),
        ("a.tmx", "<html><body/></html>", {}, ["its root is <html>"]),
        ("a.tmx", tmx([{"en": "a", "de": "b"}]), {"target_languages": "fr"}, ["no 'fr'", "can be: de, en"]),
        ("a.tmx", tmx([{"en": "a", "de": "b"}], "*all*"), {}, ["(en, de) is the source", "--source_language"]),
        ("a.tsv.gz", b"no gzip", {}, ["cannot be read as text", "gzip"]),
        ("a.tsv", "a\tb\n", {"split": "train"}, ["not a Hub dataset", "--split"]),
        ("de/LC_MESSAGES/a.txt", "", {}, ["is empty"]),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said_in_one_line(tmp_path, name, content, options, parts):
    written(tmp_path / "near.tsv", "one\teins\n")
    message = refused(tmp_path, name, content, **options)
    assert [part for part in parts if part not in message] == [], message


def test_a_folder_without_catalogs_or_without_a_language_asked_for_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no <lang>/LC_MESSAGES"):
        read_pairs(tmp_path)
    root = write_po(tmp_path)
    with pytest.raises(InputError, match="holds no 'de'; --target_language can be: he$"):
        read_pairs(root, "en", ["he", "de"])


@pytest.mark.parametrize("missing", ["data/corpus.tsv", "data/corpus.tmx.gz", "corpus", "a/b/c"])
def test_a_mistyped_path_is_not_looked_for_on_the_hub(missing, monkeypatch):
    monkeypatch.setattr("datasets.load_dataset", lambda *args, **kwargs: pytest.fail("asked the Hub"))
    with pytest.raises(InputError, match="there is no"):
        read_pairs(missing, "en", "de")


# --- data folders


@pytest.fixture
def data_dir(tmp_path):
    files = {"a/de-en.tsv": "one\teins\n", "a/fr-en.tsv": "one\tun\n", "b/de-en.tsv": "source\ttarget\n"}
    for name, text in files.items():
        written(tmp_path / "parallel" / name, text)
    packed = tmp_path / "parallel" / "b" / "sw-en.tsv.gz"
    packed.write_bytes(gzip.compress(b"one\tmoja\n"))
    return tmp_path


def test_a_data_folder_is_read_corpus_by_corpus_in_the_order_of_the_languages(data_dir):
    pairs = list(read_data_dir(data_dir, ["sw", "fr", "en", "de"]))
    assert [pair["target"] for pair in pairs] == ["un", "eins", "moja", "target"]
    assert [pair["target_language"] for pair in pairs] == ["fr", "de", "sw", "de"]
    assert {pair["source_language"] for pair in pairs} == {"en"}
    assert [pair["target"] for pair in read_data_dir(data_dir, "de", corpora=["b", "a"])] == ["target", "eins"]


@pytest.mark.parametrize(
    ("languages", "corpora", "message"),
    [
        (["de", "ru"], None, "no <xx>-en.tsv for 'ru' in .*can be: de, fr, sw$"),
        (["en"], None, "for a foreign language"),
        (["de"], ["c"], "no corpus 'c'; --corpora can be: a, b$"),
    ],
)
def test_what_a_data_folder_lacks_is_refused_at_once(data_dir, languages, corpora, message):
    with pytest.raises(InputError, match=message):
        read_data_dir(data_dir, languages, corpora)
    with pytest.raises(InputError, match="holds no corpus; --data_dir must hold parallel/"):
        read_data_dir(data_dir / "parallel", languages)


# --- datasets


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("pt-BR.tsv", "pt-BR"),
        ("pt.tsv", "pt"),
        ("pt-en.tsv.gz", "pt"),
        ("pt-BR-en.jsonl", "pt-BR"),
        ("ptolemy.tsv", None),
        ("de.tsv", None),
    ],
)
def test_a_file_is_named_after_a_language_also_of_a_region(name, code):
    assert named_language(f"folder/{name}", ["nl", "pt", "pt-BR"]) == code


def test_of_a_file_that_names_several_languages_those_asked_for_are_taken(tmp_path):
    rows = [row("one", "eins", target_language="de"), row("one", "un", target_language="fr")]
    (tmp_path / "all.jsonl").write_text("\n".join(json.dumps(each) for each in rows))
    assert [pair["target"] for pair in pairs_by_name(tmp_path / "all.jsonl", "en", ["nl", "fr"])] == ["un"]


def test_pairs_become_a_dataset_in_their_order(monkeypatch):
    monkeypatch.setattr(readers, "ROWS_PER_CHUNK", 2)
    pairs = [*ROWS, row("one", "eins", score=0.5), {**ROWS[0], "pair_id": -(2**63)}]
    dataset = pairs_dataset(iter(pairs))
    assert dataset.to_list() == pairs
    assert dataset.cache_files == []
    assert {name: feature.dtype for name, feature in dataset.features.items()} == {
        **dict.fromkeys(("source", "target", "source_language", "target_language"), "string"),
        "pair_id": "int64",
        "score": "float64",
    }


def test_no_pairs_become_an_empty_dataset_with_the_same_columns():
    assert pairs_dataset([]).features == pairs_dataset(ROWS).features


def test_reading_a_long_line_does_not_hold_it_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "LINE_LIMIT", 1000)
    path = written(tmp_path / "a.tsv", "x" * 5_000_000 + "\none\teins\n")
    tracemalloc.start()
    assert [pair["target"] for pair in read_pairs(Path(path), "en", "de")] == ["eins"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000
