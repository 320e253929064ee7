"""Sides and files in each other's place are noticed by their texts, and by their names where texts don't tell."""

import pytest

from xling_align.modeling_xling import InputError
from xling_align.trainers.data.identification import check_sides, check_texts_not_swapped, identify, not_swapped

TEXTS = {
    "en": ["Where is the station?", "It has been raining since the morning.", "She bought two loaves of bread."],
    "de": ["Wo ist der Bahnhof?", "Es regnet seit heute Morgen.", "Sie hat zwei Brote gekauft."],
    "nl": ["Waar is het station?", "Het regent al sinds vanochtend.", "Ze heeft twee broden gekocht."],
    "sw": ["Kituo kiko wapi?", "Mvua imekuwa ikinyesha tangu asubuhi.", "Alinunua mikate miwili."],
    "la": ["Ubi est statio?", "Ex mane pluit sine fine.", "Duos panes emit in foro."],
}


def pairs(source: str, target: str, claimed: tuple[str, str]) -> list:
    languages = dict(zip(("source_language", "target_language"), claimed, strict=True))
    return [{"source": s, "target": t, **languages} for s, t in zip(TEXTS[source], TEXTS[target], strict=True)]


@pytest.mark.parametrize("code", TEXTS)
def test_three_sentences_tell_their_language(code):
    assert identify(TEXTS[code]) == code


def test_fewer_than_three_texts_with_letters_say_nothing():
    assert identify(TEXTS["en"][:2]) == identify([*TEXTS["en"][:2], "3", "..."]) == ""
    check_sides(pairs("de", "en", ("en", "de"))[:2], "few.tsv")


@pytest.mark.parametrize("code", ["de", "nl", "sw"])
def test_swapped_sides_in_one_script_are_refused(code):
    check_sides(pairs("en", code, ("en", code)), "x.tsv")
    with pytest.raises(
        InputError, match=f"the source side of x.tsv looks like '{code}' and its target side like 'en'"
    ):
        check_sides(pairs(code, "en", ("en", code)), "x.tsv")


def test_one_known_language_is_enough():
    check_sides(pairs("en", "sw", ("en", "chr")), "x.tsv")
    with pytest.raises(InputError, match="swap"):
        check_sides(pairs("sw", "en", ("en", "chr")), "x.tsv")


def test_a_region_or_script_is_not_in_the_way():
    check_sides(pairs("en", "de", ("en-GB", "de-AT")), "x.tsv")
    with pytest.raises(InputError, match="looks like 'de'"):
        check_sides(pairs("de", "en", ("en-GB", "de-AT")), "x.tsv")


def test_another_language_than_both_is_not_swapped():
    check_sides(pairs("la", "nl", ("en", "de")), "x.tsv")
    check_sides(pairs("la", "en", ("en", "de")), "x.tsv")  # wrong, but not by being swapped


def test_languages_of_a_mixed_file_are_told_apart():
    rows = [*pairs("en", "nl", ("en", "nl")), *pairs("de", "en", ("en", "de"))]
    with pytest.raises(InputError, match="looks like 'de'"):
        list(not_swapped(rows, "mixed.tsv"))
    assert list(not_swapped(rows[:3], "x.tsv")) == rows[:3]


@pytest.mark.parametrize(
    ("first", "second", "refused"), [("la", "la", True), ("en", "la", False), ("la", "de", False)]
)
def test_names_tell_where_texts_do_not(tmp_path, first, second, refused):
    for name, code in (("x.de.txt", first), ("x.en.txt", second)):
        (tmp_path / name).write_text("\n".join(TEXTS[code]))
    files = {"en": str(tmp_path / "x.de.txt"), "de": str(tmp_path / "x.en.txt")}
    if refused:
        with pytest.raises(InputError, match="x.de.txt is named after 'de' and .*x.en.txt after 'en'; swap them"):
            check_texts_not_swapped(files, "swap them")
    else:
        check_texts_not_swapped(files, "swap them")


@pytest.mark.parametrize(
    ("text", "reason"), [(b"", ""), (b"\n \n\t\n", "line 1: empty"), (b"\xff\xfe\n", "line 1: not UTF-8")]
)
def test_a_text_without_a_sentence_is_refused_with_the_reason(tmp_path, text, reason):
    (tmp_path / "en.txt").write_bytes(text)
    with pytest.raises(InputError, match=f"en.txt holds no sentence.*{reason}.*a sentence a line"):
        check_texts_not_swapped({"en": str(tmp_path / "en.txt")}, "swap them")
