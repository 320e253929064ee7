"""MTEB's bitext task on a saved model, by its local path, beside the same sentences measured by `xling_align.eval`.

    pip install "xling-align[mteb]"
    python benchmarks/mteb_bitext.py outputs/demo/model --data_dir FOLDER

The task is mteb's own "Tatoeba", with its scores; the sentences come from `FOLDER/tatoeba`, so that nothing is
downloaded (leave `use_local_sentences` out where mteb may download its own). mteb does not tell a model the languages,
so neither do we here. mteb finds the English sentence of each foreign one: our backward accuracy.
"""

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import Any

LANGUAGES = {"de": "deu", "fr": "fra", "es": "spa", "ru": "rus", "tr": "tur", "ja": "jpn", "zh": "cmn", "hi": "hin"}


def use_local_sentences(task: Any, data: dict[str, Any]) -> None:
    """Give mteb's task the sentences of a data folder.

    Args:
        task: mteb's "Tatoeba".
        data: `tatoeba(...)` of `xling_align.eval.data_dir`.
    """
    from datasets import Dataset

    task.dataset = {
        f"{LANGUAGES[code]}-eng": {"test": Dataset.from_dict({"sentence1": sides.foreign, "sentence2": sides.english})}
        for code, sides in data.items()
    }
    task.data_loaded = True


def mteb_scores(model: str, data: dict[str, Any]) -> dict[str, dict[str, float]]:
    """What mteb makes of a model: its scores by language code."""
    import mteb  # pyright: ignore[reportMissingImports]  # an extra
    from sentence_transformers import SentenceTransformer

    task = mteb.get_task("Tatoeba", hf_subsets=[f"{LANGUAGES[code]}-eng" for code in data])
    use_local_sentences(task, data)
    encoder = SentenceTransformer(model, trust_remote_code=True)
    result = mteb.evaluate(encoder, task, cache=None, co2_tracker=False, show_progress_bar=False)
    scores = {row["hf_subset"]: row for row in result.task_results[0].scores["test"]}
    return {code: scores[f"{LANGUAGES[code]}-eng"] for code in data}


def own_accuracy(model: str, data: dict[str, Any]) -> dict[str, float]:
    """How often our retrieval finds the English sentence of a foreign one, the language untold."""
    from xling_align.cli.models import text_encoder
    from xling_align.eval.tasks import retrieval

    encoder = text_encoder(model)
    encoder.bf16 = False
    result = retrieval.run_tatoeba(lambda texts, language: encoder(texts), data)
    return {code: scores["accuracy_backward"] for code, scores in result.details.items()}


def main(argv: list[str] | None = None) -> None:
    """Run, where there is what it needs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="model_cards/xling-mini-base", help="folder of a saved model")
    parser.add_argument("--data_dir", default="../shared/data", help="folder that holds `tatoeba`")
    parser.add_argument("--languages", nargs="+", choices=list(LANGUAGES), default=list(LANGUAGES))
    given = parser.parse_args(argv)
    if find_spec("mteb") is None:
        print('skipped: mteb is not installed (pip install "xling-align[mteb]")')
    elif not (Path(given.data_dir) / "tatoeba").is_dir():
        print(f"skipped: {given.data_dir} has no folder 'tatoeba'; name another by --data_dir")
    else:
        compare(given)


def compare(given: argparse.Namespace) -> None:
    """Measure by both, and print a table."""
    import mteb  # pyright: ignore[reportMissingImports]  # an extra

    from xling_align.eval.data_dir import tatoeba

    data = tatoeba(given.data_dir, given.languages)
    theirs, ours = mteb_scores(given.model, data), own_accuracy(given.model, data)
    print(f"mteb {mteb.__version__}, Tatoeba, {given.model}, in %\n")
    print("| language | mteb F1 | mteb accuracy | our accuracy |\n| --- | ---: | ---: | ---: |")
    for code, scores in theirs.items():
        print(f"| {code} | {100 * scores['f1']:.1f} | {100 * scores['accuracy']:.1f} | {100 * ours[code]:.1f} |")


if __name__ == "__main__":
    main()
