import copy
import json
import os
import re
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from xling_align.eval.metrics.transfer import transfer_summary
from xling_align.eval.plots import language_bars, language_clouds
from xling_align.eval.report import percent, write_report
from xling_align.modeling_xling import InputError

VOID = {"meta", "link", "br", "hr", "img", "input"}
BEFORE = {"en": 0.8012, "de": 0.5123, "ja": 0.3456, "ar": 0.2987}
AFTER = {"en": 0.7834, "de": 0.4891, "ja": 0.5678, "ar": 0.6543}


def part(scores):
    summary = transfer_summary(scores)
    languages = {"mean": summary["mean_others"], "languages": scores}
    return languages | {key: summary[key] for key in ("source", "gap", "worst_five")}


def retrieval_part(scores, pooling):
    others = {code: score / 2 for code, score in scores.items() if code != "en"}
    return {"mean": np.float32(np.mean(list(others.values()))), "languages": others, "pooling": pooling}


@pytest.fixture
def report():
    return {
        "title": "Aligned <b>on</b> a | test",
        "summary": "Three languages & English.",
        "command": "xling demo --seed 0",
        "versions": {"torch": "2.13.0", "numpy": np.__version__},
        "seconds": 312.4371234,
        "stage_seconds": {"read": 4.25, "train": np.float64(308.187)},
        "retrieval": {"before": retrieval_part(BEFORE, "mean"), "after": retrieval_part(AFTER, "cls")},
        "zero_shot": {"before": part(BEFORE), "after": part(AFTER)},
        "data": {"pairs": {"train": np.int64(21034), "test": 1200}, "sources": ["Django", "Babel"]},
        "model": {"encoder": "tiny", "parameters": 278043648, "tau": 0.05},
    }


@pytest.fixture(scope="module")
def plots():
    vectors = np.random.default_rng(0).normal(size=(24, 4))
    languages, meanings = ["en", "de", "ja"] * 8, [i // 3 for i in range(24)]
    return {
        "Zero-shot by language": language_bars(BEFORE, AFTER, "macro-F1"),
        "Vectors": language_clouds(vectors, vectors[::-1], languages, meanings),
    }


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.values, self.loads, self.rows = [], [], set(), [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.values |= {attrs["value"]} if tag == "data" else set()
        self.loads += [attrs[name] for name in ("src", "href", "xlink:href", "data", "srcset") if name in attrs]
        self.open += [] if tag in VOID else [tag]
        self.rows += [""] if tag == "tr" else []

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open = self.open[:-1]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "tr" in self.open:
            self.rows[-1] += data + " "


def numbers(value):
    if isinstance(value, dict):
        return [number for item in value.values() for number in numbers(item)]
    return [value] if isinstance(value, int | float) else []


def scores(value):
    kept = {key: value[key] for key in value.keys() - {"pooling"}}
    return numbers(kept)


def test_the_page_is_well_formed_and_holds_every_number(report, plots, tmp_path):
    path = write_report(tmp_path / "new" / "folder", report, plots, names={"ja": "日本語"})
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    written = json.loads((path.parent / "report.json").read_text(encoding="utf-8"))
    assert page.open == []
    assert len(page.ids) == len(set(page.ids)) > 100
    assert {str(number) for number in numbers(written)} <= page.values
    shown = [
        number for task in ("retrieval", "zero_shot") for half in written[task].values() for number in scores(half)
    ]
    markdown = (path.parent / "report.md").read_text(encoding="utf-8")
    assert len(shown) == 2 * (3 + 1) + 2 * (4 + 4)
    assert all(f">{percent(number)}<" in text and f" {percent(number)} " in markdown for number in shown)
    assert "日本語" in text and "日本語" in markdown and '<html lang="en">' in text


def test_json_is_the_report_with_plain_numbers(report, plots, tmp_path):
    report["model"]["loss"] = float("nan")
    report["extra"] = (np.float32(0.1), np.arange(2), True)
    write_report(tmp_path, report, plots)
    written = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert written["seconds"] == 312.437
    assert written["stage_seconds"] == {"read": 4.25, "train": 308.187}
    assert written["data"] == {"pairs": {"train": 21034, "test": 1200}, "sources": ["Django", "Babel"]}
    assert written["zero_shot"]["before"]["languages"] == BEFORE
    assert written["model"]["loss"] is None
    assert written["extra"] == [0.1, [0, 1], True]


def test_nothing_is_loaded_from_elsewhere(report, plots, tmp_path):
    text = write_report(tmp_path, report, plots).read_text(encoding="utf-8")
    loads = Page(text).loads
    assert loads and all(load.startswith(("#", "data:,")) or load == "report.json" for load in loads)
    assert not re.findall(r"(?<!xmlns=\")(?<!xmlns:xlink=\")https?://", text)
    assert "<script" not in text and "@import" not in text and "url(" not in re.sub(r"url\(#[\w-]+\)", "", text)


def test_a_language_that_got_worse_is_marked_by_colour_sign_and_word(report, plots, tmp_path):
    text = write_report(tmp_path, report, plots).read_text(encoding="utf-8")
    rows = {row.split()[0]: row for row in Page(text).rows if row.split()}
    assert rows["de"].count("worse") == 2 and "▼" in rows["de"] and "−2.3" in rows["de"]
    assert "worse" not in rows["ja"] and "+22.2" in rows["ja"]
    assert '<strong class="worse">▼&nbsp;−2.3' in text
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "**▼ −2.3 worse**" in next(line for line in markdown.splitlines() if line.startswith("| de "))


def test_a_gap_that_narrows_while_english_falls_says_so(report, plots, tmp_path):
    text = write_report(tmp_path, report, plots).read_text(encoding="utf-8")
    assert "That happened here" in text and "narrower" in text
    report["zero_shot"]["before"], report["zero_shot"]["after"] = part(AFTER), part(BEFORE)
    text = write_report(tmp_path, report, plots).read_text(encoding="utf-8")
    assert "That happened here" not in text and "narrower" not in text and "wider" in text


def test_markup_in_the_report_is_shown_and_not_obeyed(report, plots, tmp_path):
    report["zero_shot"]["after"]["languages"]["<i>"] = 0.5
    text = write_report(tmp_path, report, plots).read_text(encoding="utf-8")
    assert "&lt;b&gt;on&lt;/b&gt;" in text and "<b>" not in text and "<i>" not in text
    assert "# Aligned &lt;b>on&lt;/b> a \\| test" in (tmp_path / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "path",
    [("zero_shot",), ("versions",), ("retrieval", "after", "mean"), ("zero_shot", "before", "gap"), ("command",)],
)
def test_a_missing_part_is_named_and_nothing_is_written(report, plots, tmp_path, path):
    holder = report
    for key in path[:-1]:
        holder = holder[key]
    del holder[path[-1]]
    with pytest.raises(InputError, match=path[-1]):
        write_report(tmp_path / "report", report, plots)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_leaves_nothing(report, plots, tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(InputError, match="cannot write a report to"):
        write_report(tmp_path / "taken", report, plots)
    with pytest.raises(InputError, match="cannot write a report to"):
        write_report(tmp_path / "taken" / "below", report, plots)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_full_disk_keeps_the_old_report_and_leaves_no_temporary_file(report, plots, tmp_path, monkeypatch):
    write_report(tmp_path, report, plots)
    old = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    changed = copy.deepcopy(report) | {"title": "another"}
    with pytest.raises(InputError, match="No space left"):
        write_report(tmp_path, changed, plots)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == old
    assert set(old) == {"report.json", "report.md", "report.html"}


@pytest.mark.parametrize(
    ("package", "call"),
    [
        ("jinja2", lambda folder, report: write_report(folder, report, {})),
        ("matplotlib", lambda *_: language_bars(BEFORE, AFTER, "macro-F1")),
    ],
)
def test_a_missing_package_says_what_to_install(report, tmp_path, monkeypatch, package, call):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=r'pip install "xling-align\[eval\]"'):
        call(tmp_path, report)


def svg_texts(svg):
    return [
        "".join(text.itertext()).strip()
        for text in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    ]


def test_bars_are_sorted_by_gain_with_text_and_the_losers_red():
    svg = language_bars(BEFORE, AFTER | {"zh": 1.0}, "macro-F1")
    texts = svg_texts(svg)
    assert [text for text in texts if text in BEFORE] == ["ar", "ja", "en", "de"]
    assert {"51.2", "48.9 (−2.3 worse)", "65.4 (+35.5)", "macro-F1 (%)"} <= set(texts)
    assert svg.count("fill: #d62728") == 2 + 1  # two losers and the legend
    assert "fill: #d62728" not in language_bars(BEFORE, BEFORE, "macro-F1")


def test_text_follows_the_colour_of_the_page(plots):
    for svg in plots.values():
        assert svg.count("<text") == svg.count("fill: currentColor")


def test_plots_are_named_and_share_no_id(plots):
    bars, clouds = plots.values()
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (bars, clouds)]
    assert ids[0] and ids[1] and not ids[0] & ids[1]
    for svg in (bars, clouds):
        root = ElementTree.fromstring(svg)
        assert svg.startswith("<svg") and root.get("role") == "img"
        assert root[0].tag.endswith("title") and root[0].get("id") == root.get("aria-labelledby")
        references = set(re.findall(r'(?:href="#|url\(#)([\w-]+)', svg))
        assert references and references <= set(re.findall(r'\bid="([^"]+)"', svg))


def test_a_plot_is_the_same_twice():
    assert language_bars(BEFORE, AFTER, "macro-F1") == language_bars(BEFORE, AFTER, "macro-F1")


@pytest.mark.filterwarnings("error")
def test_other_scripts_stay_text():
    assert {"日本語", "العربية"} <= set(
        svg_texts(language_bars({"日本語": 0.1, "العربية": 0.2}, {"日本語": 0.3, "العربية": 0.2}, "x"))
    )


def test_fourteen_languages_differ_in_colour_or_shape():
    codes = ["en", "es", "ja", "ko", "pt", "it", "fr", "de", "fa", "id", "zh", "ru", "tr", "ar"]
    svg = language_clouds(np.eye(14), np.eye(14), codes)
    uses = {
        (use.get("{http://www.w3.org/1999/xlink}href"), use.get("style"))
        for use in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}use")
    }
    assert len(uses) >= 14
    assert [text for text in svg_texts(svg) if text in codes] and set(codes) <= set(svg_texts(svg))


def test_plots_refuse_what_cannot_be_drawn():
    with pytest.raises(InputError, match="in common"):
        language_bars({"de": 0.1}, {"fr": 0.1}, "x")
    with pytest.raises(InputError, match="four or more"):
        language_clouds(np.eye(3), np.eye(3), ["a", "b", "c"])
