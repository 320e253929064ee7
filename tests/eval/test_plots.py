"""Plots: what they draw, that their text stays text, and that they hold the numbers behind them."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.eval.reports import ALIGNED, BASE
from xling_align.eval.plots import convergence, language_bars, language_dots, similarity_against_transfer
from xling_align.eval.projections import class_clusters, language_clouds, vector_figures, word_pairs
from xling_align.eval.scale import Scale
from xling_align.eval.word_maps import Words, confusion_matrix, heat_map, linked_words
from xling_align.modeling_xling import InputError

SVG = "{http://www.w3.org/2000/svg}"
VECTORS = np.random.default_rng(0).normal(size=(24, 4))
WORDS = ["猫", "كلب", "सूरज", "พระจันทร์", "சிவப்பு", "blau"]


def drawn(figure):
    """The SVG elements of a figure."""
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", figure.markup, re.DOTALL)]


def texts(figure):
    return ["".join(text.itertext()).strip() for svg in drawn(figure) for text in svg.iter(f"{SVG}text")]


@pytest.fixture(scope="module")
def figures():
    epochs = [{"epoch": epoch, "loss": 1 / epoch, "dev_score": 0.5} for epoch in (1, 2)]
    return [
        language_bars(BASE, ALIGNED, "macro-F1"),
        language_dots({"one": BASE, "two": ALIGNED, "three": BASE}, "macro-F1"),
        convergence({"one": [epochs], "two": [epochs]}, "macro-F1"),
        similarity_against_transfer({"one": BASE}, {"one": ALIGNED}, "similarity", "macro-F1"),
        language_clouds({"before": VECTORS, "after": VECTORS[::-1]}, ["en", "de", "ja"] * 8, [*range(8)] * 3),
        class_clusters({"before": VECTORS}, ["sun", "rain"] * 12, "de"),
        word_pairs({"before": VECTORS[:12]}, ["cat", "dog", "sun", "moon", "red", "blue"], WORDS, ("en", "xx")),
    ]


def test_text_follows_the_colour_of_the_page(figures):
    for figure in figures:
        assert texts(figure)
        assert figure.markup.count("<text") == figure.markup.count("fill: currentColor")


def test_plots_are_named_and_share_no_id(figures):
    every = [identifier for figure in figures for identifier in re.findall(r'\bid="([^"]+)"', figure.markup)]
    assert len(every) == len(set(every)) > 100
    for figure in figures:
        references = set(re.findall(r'(?:href="#|url\(#)([\w-]+)', figure.markup))
        assert references and references <= set(re.findall(r'\bid="([^"]+)"', figure.markup))
        for svg in drawn(figure):
            assert svg.get("role") == "img" and svg[0].tag == f"{SVG}title"
            assert svg[0].get("id") == svg.get("aria-labelledby")


def test_every_plot_holds_the_numbers_behind_it(figures):
    for figure in figures:
        assert figure.rows and all(len(row) == len(figure.columns) for row in figure.rows)
    bars, dots, curves, scatter, clouds, clusters, pairs = (figure.rows for figure in figures)
    assert {row[0]: row[1:3] for row in bars} == {code: (BASE[code], ALIGNED[code]) for code in BASE}
    assert {row[0]: row[1:] for row in dots} == {code: (BASE[code], ALIGNED[code], BASE[code]) for code in BASE}
    assert list(curves)[:2] == [("one", 1.0, 1.0, 0.5), ("one", 2.0, 0.5, 0.5)]
    assert {row[1]: row[2:] for row in scatter} == {code: (BASE[code], ALIGNED[code]) for code in BASE}
    assert [len(rows) for rows in (clouds, clusters, pairs)] == [24, 24, 12]
    assert [row[1] for row in pairs][6:] == WORDS


def test_bars_are_sorted_by_gain_with_the_losers_red(figures):
    shown = texts(figures[0])
    assert [text for text in shown if text in BASE] == ["ar", "ja", "hi", "th", "ta", "en", "de"]
    assert {"51.2", "48.9 (−2.3 worse)", "65.4 (+35.5)", "macro-F1, %"} <= set(shown)
    assert figures[0].markup.count("fill: #d62728") == 2 + 1  # two losers and the legend
    assert "fill: #d62728" not in language_bars(BASE, BASE, "macro-F1").markup


def test_bars_of_what_should_be_low_are_red_where_they_rise():
    figure = language_bars({"de": 0.5, "fr": -0.2}, {"de": 0.25, "fr": 0.1}, "hubs", scale=Scale(False, False))
    assert {"0.250 (−0.250)", "0.100 (+0.300 worse)"} <= set(texts(figure))
    assert [row[0] for row in figure.rows] == ["de", "fr"]


def test_curves_are_the_mean_over_the_seeds_that_got_so_far():
    runs = [[{"epoch": 1, "loss": 3.0, "dev_score": 0.2}, {"epoch": 2, "loss": 1.0}], [{"epoch": 1, "loss": 1.0}]]
    assert list(convergence({"one": runs}, "F1").rows) == [("one", 1.0, 2.0, 0.2), ("one", 2.0, 1.0, None)]


def test_similarity_against_transfer_says_how_they_rank():
    rising = {"de": 0.1, "fr": 0.2, "ja": 0.3}
    falling = {"de": 0.9, "fr": 0.8, "ja": 0.7, "en": 1.0}
    figure = similarity_against_transfer({"a": rising, "b": rising}, {"a": rising, "b": falling}, "x", "y")
    assert "a 1.00 (3); b −1.00 (3)" in figure.note


def test_a_change_adds_up_with_what_is_shown():
    assert Scale().change(0.41351, 0.37549) == pytest.approx(37.5 - 41.4)
    assert Scale().show_change(0.50003, 0.5) == "0.0"
    assert Scale(percent=False).show_change(0.12345, 0.1) == "−0.023"


def test_a_plot_is_the_same_twice():
    assert language_bars(BASE, ALIGNED, "macro-F1") == language_bars(BASE, ALIGNED, "macro-F1")


@pytest.mark.filterwarnings("error")
def test_other_scripts_and_formulas_stay_text():
    code = "$\\frac{1}{2}$"
    figure = language_bars({"日本語": 0.1, "العربية": 0.2, code: 0}, {"日本語": 0.3, "العربية": 0.2, code: 0}, "x")
    assert {"日本語", "العربية", code} <= set(texts(figure))


def test_words_are_written_at_their_points_and_joined_with_their_translations(figures):
    assert set(WORDS) <= set(texts(figures[-1]))
    dashed = [path for path in drawn(figures[-1])[0].iter(f"{SVG}path") if "stroke-dasharray" in path.get("style", "")]
    assert len(dashed) == 2 * len(WORDS)


def test_fourteen_languages_differ_in_colour_or_shape():
    codes = ["en", "es", "ja", "ko", "pt", "it", "fr", "de", "fa", "id", "zh", "ru", "tr", "ar"]
    figure = language_clouds({"only": np.eye(14)}, codes)
    uses = {
        (use.get("{http://www.w3.org/1999/xlink}href"), use.get("style")) for use in drawn(figure)[0].iter(f"{SVG}use")
    }
    assert len(uses) >= 14
    assert set(codes) <= set(texts(figure))


def test_vectors_that_are_all_one_can_be_drawn():
    rows = language_clouds({"collapsed": np.ones((8, 3))}, ["en", "de"] * 4).rows
    assert np.isfinite([row[2:] for row in rows]).all()


def cells(figure):
    found = re.findall(
        r'<td style="--heat:(\d+)%"( class="marked")?><data value="([^"]+)">([^<]+)</data></td>', figure.markup
    )
    return [(int(heat), bool(marked), float(value), text) for heat, marked, value, text in found]


def test_a_heat_map_is_darkest_at_its_highest_number_and_frames_what_is_marked():
    values = np.array([[1.0, 0.0, 0.5], [-0.001, 0.25, 0.75]])
    figure = heat_map(values, Words(["昨日", "<b>"], "ja"), Words(["a", "b", "c"]), "A map", {(1, 2)})
    found = cells(figure)
    assert [value for _, _, value, _ in found] == values.ravel().tolist()
    assert [heat for heat, *_ in found] == [45, 0, 23, 0, 11, 34]
    assert [marked for _, marked, _, _ in found] == [False] * 5 + [True]
    assert [text for *_, text in found] == ["1.00", "0.00", "0.50", "0.00", "0.25", "0.75"]
    assert 'lang="ja"><span dir="auto">昨日</span>' in figure.markup and "&lt;b&gt;" in figure.markup


def test_a_confusion_matrix_shows_shares_of_each_true_class_and_holds_the_counts():
    figure = confusion_matrix(["sun", "rain", "snow"], np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]]), "Confusion")
    assert [(text, marked) for _, marked, _, text in cells(figure)] == [
        *[("75", True), ("25", False), ("0", False)],
        *[("0", False), ("100", True), ("0", False)],
        *[("0", False), ("0", False), ("0", True)],
    ]
    assert list(figure.rows) == [("sun", 3, 1, 0), ("rain", 0, 2, 0), ("snow", 0, 0, 0)]


def test_lines_join_linked_words_and_the_others_look_soft():
    figure = linked_words(Words(["good", "</ol>"]), Words(["صباح", "الخير"], "ar"), {(0, 1): 0.8}, "Lines")
    lines = [line.attrib for line in ElementTree.fromstring(re.findall(r"<svg.*?</svg>", figure.markup, re.DOTALL)[0])]
    assert [(line["y1"], line["y2"], line["stroke-opacity"]) for line in lines] == [("0.5", "1.5", "1.0")]
    assert re.findall(r'<li class="soft"><bdi>(.*?)</bdi>', figure.markup) == ["&lt;/ol&gt;", "صباح"]
    assert '<ol lang="ar">' in figure.markup
    assert list(figure.rows) == [("good", "الخير", 0.8)]


@pytest.mark.parametrize(
    ("draw", "problem"),
    [
        (lambda: language_bars({"de": 0.1}, {"fr": 0.1}, "x"), "in common"),
        (lambda: language_dots({"a": {}}, "x"), "no score"),
        (lambda: convergence({"a": [[]]}, "x"), "no epoch"),
        (lambda: similarity_against_transfer({"a": {"de": 1.0}}, {"a": {"de": 1.0}}, "x", "y"), "three languages"),
        (lambda: language_clouds({"a": np.eye(3)}, ["a", "b", "c"]), "4 or more"),
        (lambda: class_clusters({"a": np.eye(5)}, ["a"] * 4, "de"), "one for each"),
        (lambda: word_pairs({"a": np.eye(5)}, ["a", "b"], ["c", "d"], ("en", "de")), "one for each"),
        (lambda: heat_map(np.eye(2), Words(["a"]), Words(["b"]), "x"), "1 rows and 1 columns"),
    ],
)
def test_plots_refuse_what_cannot_be_drawn(draw, problem):
    with pytest.raises(InputError, match=problem):
        draw()


def test_vector_figures_encode_each_language_by_its_code_and_each_model():
    asked = []

    def encode(texts, language):
        asked.append((language, list(texts)))
        return np.random.default_rng(len(asked)).normal(size=(len(texts), 3))

    translations = {"en": {1: "sun", 2: "rain"}, "de": {2: "Regen", 1: "Sonne"}}
    labelled = {"de": (["Schnee", "Hagel", "Glut", "Hitze"], ["cold", "cold", "hot", "hot"])}
    clouds, classes = vector_figures({"before": encode, "after": encode}, translations, labelled)
    assert asked == [("en", ["sun", "rain"]), ("de", ["Regen", "Sonne"])] * 2 + [("de", labelled["de"][0])] * 2
    assert [row[:2] for row in clouds.rows] == [("en", 1), ("en", 2), ("de", 2), ("de", 1)]
    assert [row[0] for row in classes.rows] == labelled["de"][1] and len(drawn(classes)) == 2
