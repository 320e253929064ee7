"""A report in the form of `write_report`, with made-up numbers."""

import numpy as np

from xling_align.eval.metrics.transfer import transfer_summary

CODES = ["en", "de", "ja", "ar", "hi", "th", "ta"]
BASE = {"en": 0.8012, "de": 0.5123, "ja": 0.3456, "ar": 0.2987, "hi": 0.2111, "th": 0.1234, "ta": 0.3333}
ALIGNED = {"en": 0.7834, "de": 0.4891, "ja": 0.5678, "ar": 0.6543, "hi": 0.4111, "th": 0.3234, "ta": 0.4333}
LABELS = ["sun", "rain", "<snow>"]


def result(languages, **more):
    if "en" not in languages:
        return {"score": float(np.mean(list(languages.values()))), "languages": languages, **more}
    summary = transfer_summary(languages)
    figures = {key: summary[key] for key in ("source", "gap", "worst_five")}
    return {"score": summary["mean_others"], "languages": languages, **figures, **more}


def classified(languages, gain):
    counts = np.eye(3, dtype=int) * 7 + gain
    epochs = [{"epoch": epoch, "loss": 1.0 / epoch, "dev_score": 0.5 + 0.1 * epoch} for epoch in (1, 2, 3)]
    runs = [{"seed": seed, "score": 0.3 + gain / 10 + seed / 100, "languages": languages} for seed in (0, 1)]
    details = {code: {"confusion": {"labels": LABELS, "counts": counts}} for code in languages}
    oracle = result({code: score + 0.01 for code, score in languages.items()})
    return result(languages, runs=runs, details=details, fine_tuning=[epochs, epochs], oracle=oracle)


def tested(difference, p):
    languages = {code: {"difference": difference, "p": 0.04321 if code == "ja" else 1.0} for code in CODES}
    interval = {"low": difference - 0.0123, "high": difference + 0.0123}
    return {"difference": difference, "p": p, "over": "seeds", "languages": languages, **interval}


def make_report(models=("base", "aligned")):
    scores = [BASE, ALIGNED, {code: score / 2 for code, score in ALIGNED.items()}]
    own = {name: dict(found) for name, found in zip(models, scores, strict=False)}
    retrieval = {
        name: result({code: score / 2 for code, score in found.items() if code != "en"}) for name, found in own.items()
    }
    topics = {name: classified(found, place) for place, (name, found) in enumerate(own.items())}
    hubs = {name: result({code: 5 * score for code, score in found.items()}) for name, found in own.items()}
    forms = [
        ("tatoeba", "Sentence retrieval", "accuracy", "%", True, retrieval, {}),
        ("topics", "Topics", "macro-F1", "%", True, topics, {name: tested(0.1234, 0.0004) for name in models[1:]}),
        ("hubs", "Hubs", "skewness", "", False, hubs, {}),
    ]
    keys = ("name", "title", "metric", "unit", "higher_is_better", "results", "tests")
    return {
        "title": "Aligned <b>on</b> a | test",
        "summary": "Seven languages & English.",
        "date": "2026-01-02T03:04:05",
        "command": "xling eval --model a --model b",
        "versions": {"torch": "2.13.0", "numpy": np.__version__},
        "seconds": 312.4371234,
        "stage_seconds": {"read": 4.25, "train": np.float64(308.187)},
        "source": "en",
        "models": [{"name": name, "parameters": 278043648, "tau": 0.05} for name in models],
        "data": {"pairs": {"train": np.int64(21034), "test": 1200}, "sources": ["Django", "Babel"]},
        "tasks": [dict(zip(keys, form, strict=True), split="test", seeds=2) for form in forms],
    }
