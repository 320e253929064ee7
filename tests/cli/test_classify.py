"""`xling classify`: labels by their names alone."""

import numpy as np
import pytest
import torch

from tests.conftest import LANGUAGES, make_tokenizer, stir
from xling_align.cli.main import main
from xling_align.cli.models import text_encoder
from xling_align.modeling_xling import XLingAlignModel

TEXTS = [("de", "guten morgen"), ("en", "good night"), ("de", "mond"), ("fr", "bonjour")]
PROMPTS = """
en: {templates: ['{}', 'good {}'], names: {day: sun, dark: moon}}
de: {templates: ['{}'], names: {day: sonne, dark: mond}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, encoder_folders):
    root = tmp_path_factory.mktemp("classify")
    torch.manual_seed(0)
    model = XLingAlignModel.from_encoder(encoder_folders["bert"], LANGUAGES)
    stir(model)
    model.save_pretrained(root / "model", tokenizer=make_tokenizer())
    (root / "texts.tsv").write_text("".join(f"{code}\t{text}\n" for code, text in TEXTS), encoding="utf-8")
    (root / "prompts.yaml").write_text(PROMPTS, encoding="utf-8")
    (root / "bad.yaml").write_text("en: {templates: [none], names: {a: b, c: d}}\n", encoding="utf-8")
    return root


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def rows(said: str) -> list[list[str]]:
    return [line.split("\t") for line in said.splitlines()]


def test_each_text_gets_the_label_whose_descriptions_are_nearest(folder, capsys):
    assert main(["classify", str(folder / "model"), str(folder / "texts.tsv"), "--labels", "sun, moon"]) == 0
    found = rows(capsys.readouterr().out)
    assert [(code, text) for code, _, _, text in found] == TEXTS
    encode = text_encoder(str(folder / "model"))
    labels = unit(
        encode(["moon", "sun"], "en") + encode(["This text is about moon.", "This text is about sun."], "en")
    )
    for code, label, score, text in found:
        cosines = encode([text], code)[0] @ labels.T
        assert label == ["moon", "sun"][cosines.argmax()] and float(score) == pytest.approx(cosines.max(), abs=0.006)


def test_every_line_gets_its_answer_in_the_order_of_the_file(folder, tmp_path, capsys):
    texts = [*TEXTS, TEXTS[0], TEXTS[2]]  # labels are pasted beside the file, so a text said twice is answered twice
    (tmp_path / "texts.tsv").write_text("".join(f"{code}\t{text}\n" for code, text in texts), encoding="utf-8")
    assert main(["classify", str(folder / "model"), str(tmp_path / "texts.tsv"), "--labels", "sun,moon"]) == 0
    found = rows(capsys.readouterr().out)
    assert [(code, text) for code, _, _, text in found] == texts
    assert found[4:] == [found[0], found[2]]


def test_prompts_of_several_languages_serve_together(folder, capsys):
    given = ["--label_prompts", str(folder / "prompts.yaml")]
    assert main(["classify", str(folder / "model"), str(folder / "texts.tsv"), *given]) == 0
    found = rows(capsys.readouterr().out)
    encode = text_encoder(str(folder / "model"))
    descriptions = [("en", ["moon", "sun"]), ("en", ["good moon", "good sun"]), ("de", ["mond", "sonne"])]
    labels = unit(sum(encode(texts, code) for code, texts in descriptions))
    assert len(found) == len(TEXTS)
    for code, label, _, text in found:
        assert label == ["dark", "day"][(encode([text], code)[0] @ labels.T).argmax()]


def test_scores_are_calibrated_where_that_is_asked_for(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("xling_align.cli.classify.FEWEST", 2)
    (tmp_path / "texts.tsv").write_text("de\tguten morgen\nde\tmond\n", encoding="utf-8")
    given = ["classify", str(folder / "model"), str(tmp_path / "texts.tsv"), "--labels", "sun,moon"]
    assert main([*given, "--calibrate"]) == 0
    german = rows(capsys.readouterr().out)
    assert {label for _, label, _, _ in german} == {"sun", "moon"}  # of two texts, each is above one label's mean
    main(given)
    plain = rows(capsys.readouterr().out)
    assert [row[2] for row in plain] != [row[2] for row in german]


BAD = {
    "no labels": ([], ["--labels", "--label_prompts"]),
    "both": (["--labels", "a,b", "--label_prompts", "{prompts.yaml}"], ["one of the two"]),
    "one label": (["--labels", "sport"], ["'sport'", "two or more"]),
    "no label at all": (["--labels", ","], ["prompts must name"]),
    "no place for the name": (["--label_prompts", "{bad.yaml}"], ["{}", "'none'"]),
    "few texts to calibrate by": (["--labels", "sun,moon", "--calibrate"], ["20 texts", "'de'"]),
    "no file": (["--label_prompts", "{none.yaml}"], ["none.yaml"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(name, folder, capsys):
    flags, says = BAD[name]
    flags = [str(folder / flag[1:-1]) if flag.startswith("{") else flag for flag in flags]
    with pytest.raises(SystemExit) as stop:
        main(["classify", str(folder / "model"), str(folder / "texts.tsv"), *flags])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1 and all(word in error for word in says)


def test_a_language_that_the_model_lacks_is_read_as_unknown(folder, tmp_path, capsys):
    (tmp_path / "texts.tsv").write_text("pl\tmond\n", encoding="utf-8")
    assert main(["classify", str(folder / "model"), str(tmp_path / "texts.tsv"), "--labels", "sun,moon"]) == 0
    said = capsys.readouterr()
    assert said.err == "read as an unknown language, since the model has none such: pl\n"
    encode = text_encoder(str(folder / "model"))
    names = ["moon", "sun"], ["This text is about moon.", "This text is about sun."]
    labels = unit(sum(encode(each, "en") for each in names))
    cosines = encode(["mond"], None)[0] @ labels.T
    assert float(rows(said.out)[0][2]) == pytest.approx(cosines.max(), abs=0.006)
