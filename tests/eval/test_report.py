"""The report: its page, its twins, and that it shows what it was given."""

import copy
import json
import os
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from tests.eval.reports import ALIGNED, BASE, CODES, make_report
from xling_align.eval.page import digest
from xling_align.eval.projections import language_clouds
from xling_align.eval.report import write_report
from xling_align.eval.scale import Scale
from xling_align.modeling_xling import InputError

VOID = {"meta", "link", "br", "hr", "img", "input"}
FILES = {"report.json", "report.md", "report.html"}


@pytest.fixture
def report():
    return make_report()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Page and Markdown of the report as it is."""
    return written(make_report(), tmp_path_factory.mktemp("report") / "new" / "folder")


class Page(HTMLParser):
    """What a page opens, names, loads, and says row by row."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.values, self.loads, self.rows, self.heads = [], [], set(), [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.values |= {attrs["value"]} if tag == "data" else set()
        self.loads += [attrs[name] for name in ("src", "href", "xlink:href", "data", "srcset") if name in attrs]
        self.heads += [attrs.get("scope")] if tag == "th" else []
        self.open += [] if tag in VOID else [tag]
        self.rows += [""] if tag == "tr" else []

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "tr" in self.open:
            self.rows[-1] += data + " "


def written(report, folder, *figures):
    page = write_report(folder, report, figures)
    return page.read_text(encoding="utf-8"), (page.parent / "report.md").read_text(encoding="utf-8")


def rows_of(text, anchor):
    """Rows of the tables of one task, by their first word; the last one of a name counts."""
    section = text[text.index(f'<section aria-labelledby="{anchor}">') :]
    found = Page(section[: section.index("<figure")] + "</div></section>")
    return {row.split()[0]: row for row in found.rows if row.split()}


def test_the_page_is_well_formed_and_every_head_has_a_scope(pages):
    text, _ = pages
    page = Page(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids)) > 100
    assert set(page.heads) == {"col", "row"}
    assert text.count("<caption") == text.count("<table") - text.count('<table class="heat"')
    assert text.count('class="heat"') == text.count('class="scroll" role="region" aria-label="Confusion')


@pytest.mark.parametrize("models", [("base",), ("base", "aligned"), ("base", "aligned", "other")])
def test_every_score_is_on_the_page_and_in_both_twins(models, tmp_path):
    text, markdown = written(make_report(models), tmp_path)
    values = Page(text).values
    plain = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    count = 0
    for task in plain["tasks"]:
        scale = Scale.of(task)
        for result in task["results"].values():
            kept = [result[key] for key in ("score", "source", "gap", "worst_five") if key in result]
            for score in (*kept, *result["languages"].values()):
                count += 1
                assert str(score) in values
                assert f">{scale.show(score)}<" in text and f" {scale.show(score)} " in markdown
    assert count == len(models) * ((1 + 6) + (4 + 7) * 2)


def test_tests_deviations_and_oracle_are_shown(pages):
    text, markdown = pages
    for shown in ("0.043", "&lt; 0.001", "+11.1", "+13.6"):
        assert f">{shown}</data>" in text
    for shown in ("| 0.043 |", "< 0.001", "+11.1 to +13.6", "2 runs of each model"):
        assert shown in markdown
    assert rows_of(text, "task-topics")["base"].split()[3] == "0.7"  # the deviation of 0.30 and 0.31 in points
    assert "the test pairs seeds" in text
    assert str(round(np.mean([BASE[code] for code in CODES[1:]]) + 0.01, 6)) in Page(text).values


def test_json_is_the_report_with_plain_numbers(report, tmp_path):
    report["models"][0]["loss"] = float("nan")
    report["extra"] = (np.float32(0.1), np.arange(2), True)
    written(report, tmp_path)
    plain = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert plain["seconds"] == 312.437
    assert plain["stage_seconds"] == {"read": 4.25, "train": 308.187}
    assert plain["data"] == {"pairs": {"train": 21034, "test": 1200}, "sources": ["Django", "Babel"]}
    assert plain["tasks"][1]["results"]["base"]["languages"] == BASE
    assert plain["models"][0]["loss"] is None
    assert plain["extra"] == [0.1, [0, 1], True]


def test_nothing_is_loaded_from_elsewhere_and_only_its_own_script_may_run(pages):
    text, _ = pages
    loads = Page(text).loads
    assert loads and all(load.startswith(("#", "data:,")) or load == "report.json" for load in loads)
    assert not re.findall(r"(?<!xmlns=\")(?<!xmlns:xlink=\")https?://", text)
    assert "@import" not in text and "url(" not in re.sub(r"url\(#[\w-]+\)", "", text)
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == text.count("<script") == 1
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src '{digest(scripts[0])}'" in text


def test_a_language_that_got_worse_is_marked_by_colour_sign_and_word(pages):
    text, markdown = pages
    rows = rows_of(text, "task-topics")
    assert "worse" in rows["de"] and "▼" in rows["de"] and "−2.3" in rows["de"]
    assert "worse" not in rows["ja"] and "+22.2" in rows["ja"]
    assert "Worse with aligned:</strong> de, en." in text
    topics = markdown[markdown.index("## Topics") :]
    assert "**▼ −2.3 worse**" in next(line for line in topics.splitlines() if line.startswith("| de "))


def test_where_lower_is_better_a_rise_is_worse(pages):
    text, _ = pages
    rows = rows_of(text, "task-hubs")
    assert (
        "▼\xa0+1.111" in rows["ja"] and "worse" in rows["ja"] and "−0.116" in rows["de"] and "worse" not in rows["de"]
    )


def test_a_gap_that_narrows_while_english_falls_says_so(pages, report, tmp_path):
    text, markdown = pages
    assert "The gap of aligned is narrower, but en got worse (−1.8)" in text
    assert "The gap of aligned is narrower, but en got worse (−1.8)" in markdown
    report["models"].reverse()
    text, markdown = written(report, tmp_path)
    assert "narrower" not in text + markdown


def test_markup_in_the_report_is_shown_and_not_obeyed(tmp_path):
    evil = "<img src=x onerror=alert(1)>$\\frac{1}{2}$"
    report = make_report(("base", evil))
    for scores in (task["results"][evil]["languages"] for task in report["tasks"]):
        scores["<i>"] = 0.5
    report["tasks"][0]["title"] = report["data"]["<s>"] = report["command"] = "</pre><script>alert(1)</script>"
    text, markdown = written(report, tmp_path)
    assert "&lt;b&gt;on&lt;/b&gt;" in text and "<b>" not in text and "<i>" not in text and "<img" not in text
    assert text.count("<script") == 1 and "<snow>" not in text and Page(text).open == []
    assert "\\frac{1}{2}$" in text  # in plots too, where it could be taken for a formula
    assert "# Aligned &lt;b>on&lt;/b> a \\| test" in markdown
    assert not re.search(r"^[^ \n].*<(img|script)", markdown, re.MULTILINE)


@pytest.mark.parametrize(
    "path",
    [
        ("versions",),
        ("command",),
        ("models",),
        ("tasks", 0, "metric"),
        ("tasks", 0, "results", "aligned", "score"),
        ("tasks", 0, "results", "aligned", "languages"),
        ("tasks", 0, "tests", "aligned", "difference"),
    ],
)
def test_a_missing_part_is_named_and_nothing_is_written(report, tmp_path, path):
    report["tasks"] = report["tasks"][1:2]
    holder = report
    for key in path[:-1]:
        holder = holder[key]
    del holder[path[-1]]
    with pytest.raises(InputError, match=path[-1]):
        write_report(tmp_path / "report", report)
    assert not list(tmp_path.iterdir())


def test_a_model_without_a_result_has_dashes(report, tmp_path):
    del report["tasks"][1]["results"]["aligned"], report["tasks"][1]["tests"]["aligned"]
    text, _ = written(report, tmp_path)
    assert rows_of(text, "task-topics")["ja"].count("–") == 2


def test_a_folder_that_cannot_be_written_leaves_nothing(report, tmp_path):
    report["tasks"] = report["tasks"][:1]
    (tmp_path / "taken").write_text("a file")
    for folder in (tmp_path / "taken", tmp_path / "taken" / "below"):
        with pytest.raises(InputError, match=r"cannot write report.json, report.md, report.html to"):
            write_report(folder, report)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_full_disk_keeps_the_old_report_and_leaves_no_temporary_file(report, tmp_path, monkeypatch):
    report["tasks"] = report["tasks"][:1]
    write_report(tmp_path, report)
    old = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    changed = copy.deepcopy(report) | {"title": "another"}
    with pytest.raises(InputError, match="No space left"):
        write_report(tmp_path, changed)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == old
    assert set(old) == FILES


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_a_missing_package_says_what_to_install(report, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=r'pip install "xling-align\[eval\]"'):
        write_report(tmp_path, report)


def test_each_task_has_the_plots_that_its_scores_allow_with_their_numbers(report, tmp_path):
    vectors = np.random.default_rng(0).normal(size=(24, 4))
    clouds = language_clouds({"base": vectors, "aligned": vectors[::-1]}, ["en", "de", "ja"] * 8)
    text, _ = written(report, tmp_path, clouds)
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", text)
    assert [caption.split(":")[0] for caption in captions] == [
        "Languages",
        "Languages",
        "Fine-tuning, epoch by epoch",
        "Confusion in en",
        "Confusion in en",
        "Confusion in the other 6 languages",
        "Confusion in the other 6 languages",
        "Topics (macro-F1, %) against Sentence retrieval (accuracy, %), by language",
        "Languages",
        "Hubs (skewness) against Sentence retrieval (accuracy, %), by language",
        "Languages&#39; clouds",
    ]
    assert text.count("<summary>") == len(captions)
    assert {str(score) for score in ALIGNED.values()} <= Page(text).values
    assert f"({len(vectors)} rows)" in text
