"""What a model makes of a pair of texts."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from transformers import AutoModel

from tests.conftest import LANGUAGES, encoder_config, make_tokenizer, stir
from xling_align.cli.main import main
from xling_align.eval.encoding import TextEncoder, WordEncoder
from xling_align.eval.explaining import explain, pieces, split_words
from xling_align.modeling_xling import InputError, XLingAlignModel

TEXTS = ("good morning, red moon!", "guten morgen, mond rot!")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    model = XLingAlignModel.from_encoder(encoder_config("bert"), LANGUAGES)
    stir(model)
    folder = tmp_path_factory.mktemp("models") / "model"
    model.save_pretrained(folder, tokenizer=make_tokenizer())
    return folder


@pytest.fixture(scope="module")
def encoder(folder):
    return TextEncoder(XLingAlignModel.from_pretrained(folder), make_tokenizer(), "cls")


def cosine(first, second):
    return first @ second / np.linalg.norm(first) / np.linalg.norm(second)


def test_the_map_holds_the_cosines_of_sentences_and_words(encoder):
    pair = explain(encoder, TEXTS, ("en", "de"))
    words = [["good", "morning", ",", "red", "moon", "!"], ["guten", "morgen", ",", "mond", "rot", "!"]]
    assert [pair.first.words, pair.second.words] == words
    sides = [
        [encoder([text], code)[0], *WordEncoder(encoder)([own], code)[0]]
        for text, own, code in zip(TEXTS, words, ("en", "de"), strict=True)
    ]
    expected = [[cosine(row, column) for column in sides[1]] for row in sides[0]]
    np.testing.assert_allclose(pair.cosines, expected, atol=1e-5)
    assert pair.cosine == pytest.approx(expected[0][0], abs=1e-5)


def test_linked_words_are_each_others_nearest(encoder):
    pair = explain(encoder, TEXTS, ("en", "de"))
    words = pair.cosines[1:, 1:]
    mutual = {
        (row, column): words[row, column]
        for row, column in np.ndindex(words.shape)
        if words[row].argmax() == column and words[:, column].argmax() == row
    }
    assert pair.links == pytest.approx(mutual) and pair.links
    same = explain(encoder, (TEXTS[0],) * 2, ("en", "en"))
    assert {row: column for row, column in same.links} == {place: place for place in range(6)}
    assert same.cosine == pytest.approx(1.0, abs=1e-5)


def test_fusion_weights_are_those_that_make_the_sentence_vector(encoder):
    model = encoder.model
    weights = explain(encoder, TEXTS, ("en", "de")).second.fusion
    inputs = encoder.tokenizer([TEXTS[1]], return_tensors="pt")
    with torch.inference_mode():
        output = model(**{name: inputs[name] for name in ("input_ids", "attention_mask")}, language_ids="de")
        rows = [model.config.language_id(code) for code in ("de", "en")]
        context = torch.cat([output.language_state, model.language.mean[rows]])  # (3, dim)
        before = output.word_states[:, 0]
        mixed = torch.tensor(list(weights.values())) @ context
        fused = before + torch.tanh(model.sentence_fusion.dense(torch.cat([before, mixed[None]], -1)))
    assert sum(weights.values()) == pytest.approx(1.0, abs=1e-5) and len(weights) == 3
    torch.testing.assert_close(fused, output.pooler_output, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("context", "count"), [("pair", 2), ("none", 0)])
def test_fusion_weights_of_the_other_contexts(context, count):
    model = XLingAlignModel.from_encoder(encoder_config("bert"), LANGUAGES, fusion_context=context)
    weights = explain(TextEncoder(model, make_tokenizer()), ("sun", "sonne"), ("en", "de")).first.fusion
    assert list(weights.values()) == pytest.approx([1 / count] * count if count else [])


def test_a_plain_encoder_is_explained_without_fusion():
    encoder = TextEncoder(AutoModel.from_config(encoder_config("distilbert")), make_tokenizer(), "mean")
    pair = explain(encoder, TEXTS, (None, None))
    assert pair.first.fusion == {} and pair.cosines.shape == (7, 7)


def test_scripts_without_spaces_are_split_into_the_tokenizers_pieces():
    class Characters:
        def __call__(self, text, **_):
            """Two characters at a time; the second piece comes twice, as bytes of one character would."""
            spans = [(place, min(place + 2, len(text))) for place in range(0, len(text), 2)]
            return {"offset_mapping": [spans[0], *spans[1:2] * 2, *spans[2:], (0, 0)]}

    assert pieces("今日は晴れ", Characters()) == ["今日", "は晴", "れ"]
    assert pieces("ทรัพย์", Characters()) == ["ทรัพ", "ย์"]  # neither vowel nor tone mark stands alone
    assert split_words("I say: «今日は», don't नमस्ते", Characters()) == [
        *["I", "say", ":", "«", "今日", "は", "»,", "don't", "नमस्ते"]
    ]


def test_a_text_that_is_too_long_for_a_page_is_refused(encoder):
    with pytest.raises(InputError, match="81 words; at most 80"):
        explain(encoder, ("sun " * 81, "sonne"), (None, None))


class Texts(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.open, self.found = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.open.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        if data.strip():
            self.found.append((self.open[-1][0], data.strip()))


def test_the_command_says_what_the_page_shows(folder, tmp_path, capsys, encoder):
    page = tmp_path / "new" / "page.html"
    evil = "good <script>alert(1)</script> sun"
    assert (
        main(["explain", evil, "guten tag", "--model", str(folder), "--languages", "en,de", "--output", str(page)])
        == 0
    )
    said = capsys.readouterr().out
    pair = explain(encoder, (evil, "guten tag"), ("en", "de"))
    assert said.startswith(f"sentence cosine  {pair.cosine:.2f}\n") and said.endswith(f"Page: {page}\n")
    for (row, column), score in pair.links.items():
        assert f"{score:.2f}  {pair.first.words[row]}" in said and pair.second.words[column] in said
    text = page.read_text(encoding="utf-8")
    assert text.count("<script") == 1
    found = Texts(text).found
    shown = re.findall(r'<td style="--heat:\d+%"[^>]*><data value="([^"]+)">', text)
    np.testing.assert_allclose([float(number) for number in shown], pair.cosines.ravel(), atol=1e-5)
    assert all(("th", context) in found for context in pair.first.fusion)
    assert ("code", f"xling explain '{evil}' 'guten tag' --model {folder} --languages en,de") in found
    assert [path.name for path in page.parent.iterdir()] == ["page.html"]


def test_without_languages_the_unknown_row_serves(folder, tmp_path, capsys, encoder):
    assert main(["explain", *TEXTS, "--model", str(folder), "--output", str(tmp_path / "page.html")]) == 0
    expected = explain(encoder, TEXTS, (None, None)).cosine
    assert capsys.readouterr().out.startswith(f"sentence cosine  {expected:.2f}\n")
    assert json.dumps(expected) != json.dumps(explain(encoder, TEXTS, ("en", "de")).cosine)
