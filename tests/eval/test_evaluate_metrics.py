"""The metrics for the library `evaluate` load from their folders, offline, and give what our functions give."""

from pathlib import Path

import numpy as np
import pytest

from xling_align.eval import metrics
from xling_align.eval.metrics.retrieval import retrieval_scores
from xling_align.eval.metrics.transfer import transfer_summary

evaluate = pytest.importorskip("evaluate")

FOLDER = Path(metrics.__file__).parents[1] / "evaluate_metrics"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Modules are copied and results kept below a folder that goes away; one, as Python imports a package once."""
    folder = tmp_path_factory.mktemp("evaluate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evaluate.config.HF_MODULES_CACHE", str(folder / "modules"))
        patch.setattr("evaluate.config.HF_EVALUATE_OFFLINE", True)
        yield str(folder / "results")


def load(name, cache):
    return evaluate.load(str(FOLDER / name), cache_dir=cache)


def test_retrieval_equals_ours(cache):
    rng = np.random.default_rng(0)
    source = rng.normal(size=(30, 4)).astype(np.float32)
    target = (source + rng.normal(size=source.shape)).astype(np.float32)
    found = load("sentence_retrieval", cache).compute(predictions=source, references=target)
    assert found == pytest.approx(retrieval_scores(source, target)) and 0 < found["accuracy"] < found["mrr"] < 1


def test_the_gap_is_taken_from_the_source(cache):
    metric = load("transfer_gap", cache)
    scores = {"en": 0.75, "de": 0.5, "sw": 0.25}
    given = {"predictions": list(scores.values()), "references": list(scores)}
    assert metric.compute(**given) == transfer_summary(scores)
    assert metric.compute(**given, source="sw")["gap"] == 0.25 - 0.625


def test_any_translation_among_the_first_answers_counts(cache):
    metric = load("lexicon_induction", cache)
    given = {"predictions": [["Hund", "Katze"], ["groß", "klein"]], "references": [["Hund"], ["riesig", "klein"]]}
    assert metric.compute(**given) == {"p_at_1": 0.5}
    assert metric.compute(**given, k=2) == {"p_at_2": 1.0}


def test_the_alignment_error_is_exact(cache):
    found = load("word_alignment_error", cache).compute(
        predictions=["0-0 2-2 0-1", ""], references=["0-0 1-1 2p1 2p2", "0-0"]
    )
    assert found == pytest.approx({"aer": 0.5, "precision": 2 / 3, "recall": 1 / 3, "f1": 4 / 9})


def test_every_folder_holds_a_metric_of_its_name():
    names = sorted(path.name for path in FOLDER.iterdir() if not path.name.startswith("__"))
    assert names == ["lexicon_induction", "sentence_retrieval", "transfer_gap", "word_alignment_error"]
    assert all((FOLDER / name / f"{name}.py").is_file() for name in names)
