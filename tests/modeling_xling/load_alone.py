"""Loads saved folders as a stranger would, in a process that has never heard of this package; run by test_hub.py."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np

assert importlib.util.find_spec("xling_align") is None, "the package must be absent here"

from sentence_transformers import SentenceTransformer  # noqa: E402
from transformers import (  # noqa: E402
    AutoModel,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    pipeline,
)

TEXTS = ["good morning", "guten morgen sonne mond rot", "bonjour", "sun " * 60]


def vectors(folder: str, language: str | None) -> dict:
    """The same texts by AutoModel and by sentence-transformers."""
    model = AutoModel.from_pretrained(folder, trust_remote_code=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
    pooled = model(batch["input_ids"], batch["attention_mask"], language_ids=language).pooler_output.detach().numpy()
    encoder = SentenceTransformer(folder, trust_remote_code=True)
    encoded = encoder.encode(TEXTS, language_ids=language)
    return {
        "class": type(model).__name__,
        "auto": (pooled / np.linalg.norm(pooled, axis=1, keepdims=True)).tolist(),
        "sentence_transformers": encoded.tolist(),
        "max_seq_length": encoder.max_seq_length,
        "similarity": float(encoder.similarity(encoded[:1], encoded[:1])),
    }


def refusal(folder: str) -> str:
    """What the load says without the flag."""
    try:
        AutoModel.from_pretrained(folder)
    except Exception as error:
        return str(error)
    return ""


folders = json.loads(Path(sys.argv[1]).read_text())
report = {}
for name, folder in folders.items():
    report[name] = {language: vectors(folder, language) for language in ("en", "de", None)}
    report[name] = {str(language): value for language, value in report[name].items()}
if "classifier" in folders:
    trust = {"trust_remote_code": True}
    sequence = AutoModelForSequenceClassification.from_pretrained(folders["classifier"], **trust)
    report["sequence"] = type(sequence).__name__
    report["text_pipeline"] = pipeline("text-classification", model=folders["classifier"], **trust)(
        {"text": TEXTS[0], "text_pair": TEXTS[1]}
    )
    words = AutoModelForTokenClassification.from_pretrained(folders["tagger"], **trust)
    report["token"] = type(words).__name__
    report["token_pipeline"] = [
        item["entity"] for item in pipeline("token-classification", model=folders["tagger"], **trust)(TEXTS[1])
    ]
    features = pipeline("feature-extraction", model=folders["base"], **trust)(TEXTS[0])
    report["feature_pipeline"] = np.array(features)[0, 0].tolist()
    report["refusal"] = refusal(folders["base"])
    loaded = AutoModel.from_pretrained(folders["base"], **trust)
    assert type(loaded).__module__.startswith("transformers_modules.")
    loaded.save_pretrained("saved_again")
    again = AutoModelForSequenceClassification.from_pretrained("saved_again", **trust)
    report["saved_again"] = type(again).__name__
Path(sys.argv[2]).write_text(json.dumps(report, default=float))
