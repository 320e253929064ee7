"""Evaluation sets of the Hub, each at one commit, written down in the layout that `data_dir` reads.

The commits are those that the sets had when they were looked at; a set that changes does not change a score.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from xling_align.modeling_xling import InputError

FLORES = {
    **{"am": "amh_Ethi", "ar": "arb_Arab", "bg": "bul_Cyrl", "bn": "ben_Beng", "de": "deu_Latn", "el": "ell_Grek"},
    **{"en": "eng_Latn", "es": "spa_Latn", "fi": "fin_Latn", "fr": "fra_Latn", "hi": "hin_Deva", "id": "ind_Latn"},
    **{"it": "ita_Latn", "ja": "jpn_Jpan", "ko": "kor_Hang", "nl": "nld_Latn", "pl": "pol_Latn", "pt": "por_Latn"},
    **{"ru": "rus_Cyrl", "sw": "swh_Latn", "ta": "tam_Taml", "th": "tha_Thai", "tr": "tur_Latn", "uk": "ukr_Cyrl"},
    **{"ur": "urd_Arab", "vi": "vie_Latn", "yo": "yor_Latn", "zh": "zho_Hans"},
}
THREE_LETTERS = {"zh": "cmn", "ar": "ara", "sw": "swh"}  # where Tatoeba's code is not that of FLORES
TATOEBA = {
    code: f"{THREE_LETTERS.get(code, name[:3])}-eng" for code, name in FLORES.items() if code not in ("en", "yo")
}


def itself(*codes: str) -> dict[str, str]:
    """Configs that are called as the languages are."""
    return {code: code for code in codes}


VALIDATION = {"train": "train", "dev": "validation", "test": "test"}


class HubSet(NamedTuple):
    """A data set of the Hub.

    `configs` gives its config of each language, `splits` its name of each of our splits, and `columns` its column for
    each of ours. `files` gives the lines of our files by their names, of one language and split. Where training rows
    are wanted of one language only, `train` is that, and `train_name` what their file is called.
    """

    dataset: str
    revision: str
    configs: Mapping[str, str]
    splits: Mapping[str, str]
    columns: Mapping[str, str]
    files: Callable[["HubSet", Any, str, str], dict[str, Iterable[str]]]
    train: str | None = None
    train_name: str = "train"


def table(own: HubSet, rows: Any, language: str, split: str) -> dict[str, Iterable[str]]:
    """A TSV file with a header."""
    return {f"{language}/{own.train_name if split == 'train' else split}.tsv": table_lines(own, rows)}


def table_lines(own: HubSet, rows: Any) -> Iterator[str]:
    """Header and rows; a tab or a line break inside a text becomes a space."""
    yield "\t".join(own.columns)
    for row in rows:
        yield "\t".join(plain(row[column], rows.features[column]) for column in own.columns.values())


def plain(value: Any, feature: Any) -> str:
    """A cell as text: of a class its name."""
    return " ".join(str(feature.int2str(value) if hasattr(feature, "int2str") else value).split())


def two_sides(own: HubSet, rows: Any, language: str, split: str) -> dict[str, Iterable[str]]:
    """A file of English sentences and one of their translations."""
    columns = {"en": own.columns["english"], language: own.columns["foreign"]}
    return {
        f"{language}-en.{side}": (" ".join(text.split()) for text in rows[column]) for side, column in columns.items()
    }


SETS = {
    "sib200": HubSet(
        "mteb/sib200",
        "a74d7350ea12af010cfb1c21e34f1f81fd2e615b",
        FLORES,
        VALIDATION,
        {"index_id": "index_id", "category": "category", "text": "text"},
        table,
    ),
    "tatoeba": HubSet(
        "mteb/tatoeba-bitext-mining",
        "69e8f12da6e31d59addadda9a9c8a2e601a0e282",
        TATOEBA,
        {"test": "test"},
        {"english": "sentence2", "foreign": "sentence1"},
        two_sides,
    ),
    "pawsx": HubSet(
        "google-research-datasets/paws-x",
        "4cd8187c404bda33cb1f62b49b001115862acf37",
        itself("de", "en", "es", "fr", "ja", "ko", "zh"),
        VALIDATION,
        {"id": "id", "sentence1": "sentence1", "sentence2": "sentence2", "label": "label"},
        table,
        train="en",
    ),
    "xnli": HubSet(
        "facebook/xnli",
        "b8dd5d7af51114dbda02c0e3f6133f332186418e",
        itself("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh"),
        VALIDATION,
        {"premise": "premise", "hypothesis": "hypothesis", "label": "label"},
        table,
        train="en",
        train_name="train-mnli-subset",
    ),
    "stsb": HubSet(
        "mteb/stsb_multi_mt",
        "29afa2569dcedaaa2fe6a3dcfebab33d28b82e8c",
        itself("de", "en", "es", "fr", "it", "nl", "pl", "pt", "ru", "zh"),
        {"dev": "dev", "test": "test"},
        {"sentence1": "sentence1", "sentence2": "sentence2", "score": "similarity_score"},
        table,
    ),
}


def fetch(own: HubSet, folder: Path, languages: Iterable[str] | None = None) -> None:
    """Write a set's files; those that are there stay.

    Args:
        own: Which, one of `SETS`.
        folder: Where, such as `data/sib200`.
        languages: Codes, besides English; all that it has unless given.

    Raises:
        InputError: It can't be had.
    """
    from datasets import load_dataset

    wanted = None if languages is None else {"en", *languages}
    for language, config in own.configs.items():
        for split, theirs in own.splits.items():
            done = folder / f".{language}-{split}"
            skipped = split == "train" and own.train not in (None, language)
            if done.exists() or skipped or (wanted is not None and language not in wanted):
                continue
            try:
                rows = load_dataset(own.dataset, config, split=theirs, revision=own.revision)
            except (OSError, ValueError) as error:
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise InputError(
                    f"data set {own.dataset!r}, {config}, can't be had from the Hub ({reason}); give --data_dir a "
                    "folder that holds it"
                ) from error
            for name, lines in own.files(own, rows, language, split).items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
            done.touch()
