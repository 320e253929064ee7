"""Pools in the files of BUCC 2018."""

import pytest

from xling_align.eval.bucc import bucc
from xling_align.eval.tasks.mining import Pool
from xling_align.modeling_xling import InputError

FILES = {
    "en": "en-1\tgood morning\nen-2\tred sun\nen-3\tblue\tmoon\n",
    "de": "de-1\tblauer Mond\nde-2\tRegen\n",
    "gold": "de-1\ten-3\n",
}


def write(root, split="test", **changed):
    folder = root / "bucc2018" / "de-en"
    folder.mkdir(parents=True, exist_ok=True)
    for ending, text in (FILES | changed).items():
        (folder / f"de-en.{split}.{ending}").write_text(text, encoding="utf-8")


def test_a_pool_is_read_with_its_pairs_by_row(tmp_path):
    write(tmp_path)
    english = ["good morning", "red sun", "blue\tmoon"]
    assert bucc(tmp_path) == {"de": Pool(english, ["blauer Mond", "Regen"], {(2, 0)})}


def test_a_limit_keeps_the_pairs_among_the_first_sentences(tmp_path):
    write(tmp_path, gold="de-1\ten-3\nde-2\ten-1\n")
    pools = bucc(tmp_path, limit=2)
    assert pools["de"] == Pool(["good morning", "red sun"], ["blauer Mond", "Regen"], {(0, 1)}) and pools.limit == 2


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"gold": "de-1\ten-9\n"}, "gold, line 1: 'en-9' is no id of de-en.test.en"),
        ({"gold": "en-3\tde-1\n"}, "'en-3' is no id of de-en.test.de"),
        ({"gold": ""}, "gold is empty"),
        ({"de": "de-1\ta\nde-1\tb\n"}, "line 2: the id 'de-1' is there twice"),
        ({"en": "good morning\n"}, "en, line 1: 1 columns, not id<TAB>sentence"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, changed, message):
    write(tmp_path, **changed)
    with pytest.raises(InputError, match=message):
        bucc(tmp_path)


def test_a_missing_side_is_named(tmp_path):
    write(tmp_path)
    (tmp_path / "bucc2018/de-en/de-en.test.gold").unlink()
    with pytest.raises(InputError, match="has no de-en.test.gold beside it"):
        bucc(tmp_path)
