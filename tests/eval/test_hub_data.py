"""Data sets of the Hub: read by `load_dataset` from a local folder of Parquet files, and written in our layout."""

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from xling_align.eval import data_dir
from xling_align.eval.hub_data import SETS, fetch
from xling_align.modeling_xling import InputError


def hub_folder(root, files: dict[str, Dataset]) -> str:
    """A folder as a data set's repository is: Parquet files `<config>/<split>.parquet`, named in its card."""
    configs: dict[str, list[str]] = {}
    for name, rows in files.items():
        config, split = name.split("/")
        (root / config).mkdir(parents=True, exist_ok=True)
        rows.to_parquet(root / config / f"{split}.parquet")
        configs.setdefault(config, []).append(split)
    lines = ["---", "configs:"]
    for config, splits in configs.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        lines += [f"  - split: {split}\n    path: {config}/{split}.parquet" for split in splits]
    (root / "README.md").write_text("\n".join([*lines, "---", ""]))
    return str(root)


def topics(*rows: tuple[str, str]) -> Dataset:
    return Dataset.from_list(
        [{"index_id": row, "category": label, "text": text} for row, (label, text) in enumerate(rows)]
    )


def test_a_table_is_written_as_our_reader_takes_it(tmp_path):
    splits = ("train", "validation", "test")
    files = {
        f"{config}/{split}": topics(("day", f"{config}\t{split}"))
        for config in ("eng_Latn", "deu_Latn")
        for split in splits
    }
    own = SETS["sib200"]._replace(dataset=hub_folder(tmp_path / "hub", files))
    fetch(own, tmp_path / "sib200", ["de"])
    assert data_dir.sib200(tmp_path, "dev") == {
        "de": (["deu_Latn validation"], ["day"]),
        "en": (["eng_Latn validation"], ["day"]),
    }
    before = (tmp_path / "sib200/de/test.tsv").stat().st_mtime_ns
    fetch(own._replace(dataset="gone"), tmp_path / "sib200", ["de"])  # nothing is read twice
    assert (tmp_path / "sib200/de/test.tsv").stat().st_mtime_ns == before


def test_labels_come_by_name_and_training_rows_in_english_alone(tmp_path):
    names = ["entailment", "neutral", "contradiction"]
    features = Features({"premise": Value("string"), "hypothesis": Value("string"), "label": ClassLabel(names=names)})
    rows = Dataset.from_list([{"premise": "a", "hypothesis": "b", "label": 2}], features=features)
    files = {f"{code}/{split}": rows for code in ("en", "de") for split in ("train", "validation", "test")}
    fetch(SETS["xnli"]._replace(dataset=hub_folder(tmp_path / "hub", files)), tmp_path / "xnli", ["de"])
    assert data_dir.xnli(tmp_path, "test")["de"] == (["a"], ["b"], ["contradiction"])
    assert data_dir.xnli_train(tmp_path) == (["a"], ["b"], ["contradiction"])
    assert not (tmp_path / "xnli/de/train.tsv").exists() and not (tmp_path / "xnli/de/train-mnli-subset.tsv").exists()


def test_translations_are_written_side_by_side(tmp_path):
    rows = Dataset.from_list([{"sentence1": "guten\nTag", "sentence2": "good day"}])
    fetch(
        SETS["tatoeba"]._replace(dataset=hub_folder(tmp_path / "hub", {"deu-eng/test": rows})),
        tmp_path / "tatoeba",
        ["de"],
    )
    assert data_dir.tatoeba(tmp_path) == {"de": (["good day"], ["guten Tag"])}


def test_what_cannot_be_had_is_one_line(tmp_path):
    with pytest.raises(
        InputError, match=r"data set 'no/such', amh_Ethi, can't be had from the Hub \(.+\); give --data_dir"
    ):
        fetch(SETS["sib200"]._replace(dataset="no/such"), tmp_path)


@pytest.mark.parametrize("name", SETS)
def test_every_set_is_pinned_to_a_commit(name):
    assert len(SETS[name].revision) == 40 and int(SETS[name].revision, 16)
