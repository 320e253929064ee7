"""The pages in a browser, at a phone's and a desktop's width: nothing sticks out, tables sort, nothing is loaded."""

import numpy as np
import pytest
from transformers import AutoModel

from tests.browser import look, needs_browser
from tests.conftest import encoder_config, make_tokenizer
from tests.eval.reports import make_report
from xling_align.cli.main import main
from xling_align.eval.projections import language_clouds, word_pairs
from xling_align.eval.report import write_report

pytestmark = needs_browser

LAYOUT = """
const room = view.document.documentElement.clientWidth;
const scrolls = (node) => node.closest(".scroll, .numbers, pre, .links");
const out = [...page.body.querySelectorAll("*")].filter((node) => !scrolls(node) &&
    getComputedStyle(node).display !== "none" && node.getBoundingClientRect().right > room + 1);
return {
  width: view.innerWidth, room, content: page.documentElement.scrollWidth, height: page.body.scrollHeight,
  out: out.map((node) => node.outerHTML.slice(0, 120)),
  small: [...page.querySelectorAll("p, td, th, li, summary, a")]
      .filter((node) => parseFloat(view.getComputedStyle(node).fontSize) < 11).length,
  loaded: view.performance.getEntriesByType("resource").map((entry) => entry.name),
};"""

SORT = """
const table = [...page.querySelectorAll("table.sortable")].find((found) => found.tFoot);
const column = (place) => [...table.tBodies[0].rows].map((row) => row.cells[place].innerText.trim());
const heads = [...table.tHead.rows[0].cells];
const state = (place) => ({order: column(0), values: column(place), aria: heads.map((head) => head.ariaSort)});
const press = (place) => { heads[place].querySelector("button").click(); return state(place); };
return {before: state(0), rising: press(1), falling: press(1), names: press(0), foot: table.tFoot.innerText};"""

CONTRAST = """
const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
const paint = (colours) => {
  canvas.fillStyle = "#fff";
  for (const colour of ["#fff", ...colours]) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
  return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
};
const light = (rgb) => rgb.map((part) => part / 255)
    .map((part) => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
const grounds = (node) => node ? [...grounds(node.parentElement), view.getComputedStyle(node).backgroundColor] : [];
let lowest = [99, ""];
for (const node of page.querySelectorAll("h1, h2, p, a, th, td, caption, figcaption, summary, strong, small, li")) {
  const ground = grounds(node), back = light(paint(ground));
  const ink = light(paint([...ground, view.getComputedStyle(node).color]));
  const ratio = (Math.max(ink, back) + 0.05) / (Math.min(ink, back) + 0.05);
  if (ratio < lowest[0]) lowest = [ratio, node.outerHTML.slice(0, 100)];
}
return {lowest, page: paint([view.getComputedStyle(page.body).backgroundColor])};"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A report with all kinds of plots, and an explanation, by name."""
    root = tmp_path_factory.mktemp("pages")
    vectors = np.random.default_rng(0).normal(size=(14, 4))
    words = ["昨日", "الطقس", "सुंदर", "พระจันทร์", "வணக்கம்", "Donaudampfschifffahrt", "sun"]
    figures = [
        language_clouds({"base": vectors, "aligned": vectors[::-1]}, ["en", "de"] * 7),
        word_pairs({"base": vectors}, words, words[::-1], ("xx", "yy")),
    ]
    report = make_report(("base", "outputs/a/very/long/path/of-a-model-that-does-not-fit", "third"))
    report["command"] += " --tasks " + "a" * 200
    report["data"]["x" * 80] = "y" * 200
    model = root / "model"
    AutoModel.from_config(encoder_config("bert")).save_pretrained(model)
    make_tokenizer().save_pretrained(model)
    explained = root / "pages" / "explain.html"
    texts = (
        "good " * 20 + "Donaudampfschifffahrtsgesellschaftskapitänspatentprüfung",
        "昨日 الطقس सुंदर พระจันทร์ வணக்கம் " * 3,
    )
    assert main(["explain", *texts, "--model", str(model), "--output", str(explained)]) == 0
    return {"report": write_report(root / "pages", report, figures), "explain": explained}


@pytest.mark.parametrize("name", ["report", "explain"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_sticks_out_and_nothing_else_is_loaded(pages, name, width, tmp_path):
    found, asked = look(pages[name], width, LAYOUT, tmp_path)
    assert found["width"] == width and found["height"] > 900  # so the page was laid out
    assert found["out"] == [] and found["content"] <= found["room"]
    assert found["small"] == 0
    assert found["loaded"] == [] and asked == [f"/{pages[name].name}"]


def test_a_click_on_a_head_sorts_and_says_so_to_a_screen_reader(pages, tmp_path):
    found, _ = look(pages["report"], 390, SORT, tmp_path)
    rising = sorted(
        found["before"]["order"], key=lambda row: float(found["rising"]["values"][found["rising"]["order"].index(row)])
    )
    assert found["rising"]["order"] == rising != found["before"]["order"]
    assert found["falling"]["order"] == rising[::-1]
    assert found["names"]["order"] == sorted(rising)
    assert [found[step]["aria"][:2] for step in ("before", "rising", "falling", "names")] == [
        [None, None],
        [None, "ascending"],
        [None, "descending"],
        ["ascending", None],
    ]
    assert found["foot"].startswith("mean")


@pytest.mark.parametrize("name", ["report", "explain"])
@pytest.mark.parametrize("dark", [False, True])
def test_text_has_enough_contrast_in_both_schemes(pages, name, dark, tmp_path):
    found, _ = look(pages[name], 390, CONTRAST, tmp_path, dark)
    assert (sum(found["page"]) < 150) == dark
    assert found["lowest"][0] >= 4.5, found["lowest"]
