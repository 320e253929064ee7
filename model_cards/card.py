"""The model card: what a model is, what it learnt from, how well it does and where it fails.

Built by huggingface_hub's card tools. The results go into the card's `model-index` and, for data sets that are on the
Hub, into `.eval_results/*.yaml`. A card never stops a run: what cannot be had is left out, with one warning.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from xling_align.eval.report import cell, to_plain
from xling_align.modeling_xling import XLingAlignConfig
from xling_align.modeling_xling.configuration_xling import CLASSIFIERS

from .results import (
    HUB_ID,
    Result,
    attempt,
    eval_results,
    evaluation_results,
    left_out,
    measured_model,
    read_results,
    write_eval_results,
)
from .sources import CORPORA, PAPERS, training, wrapping

TEMPLATE = Path(__file__).parent / "templates" / "card.md.jinja"
MARK = "<!-- Written by xling-align. Take this line out to keep the card as it is when the next one is written. -->"
SMALL = 384  # hidden size up to which the card calls an encoder small
NOT_FREE = re.compile(r"\bNC\b|non-?commercial|not stated", re.IGNORECASE)


def read_training_data(data: Mapping[str, Any] | Iterable[str] | None) -> list[dict[str, Any]]:
    """Rows of the card's table of training data.

    Args:
        data: By corpus name its `licence`, `source`, `pairs` and `hub_id`, or its number of pairs alone, or nothing
            but the names; for corpora of `../shared/data`, what is not given is filled in.

    Returns:
        Rows with `name`, `licence`, `source`, `pairs` and `hub_id`, the last four None where unknown.
    """
    if not isinstance(data, Mapping):
        data = dict.fromkeys(data or ())
    if not data:
        left_out("training data", "none was named")
    rows = []
    for name, given in to_plain(data).items():
        given = given if isinstance(given, dict) else {"pairs": given}
        row = {"name": name, "licence": None, "source": None, "pairs": None, "hub_id": None}
        row |= CORPORA.get(name, {}) | {key: value for key, value in given.items() if key in row and value}
        if not row["licence"]:
            left_out(f"licence of {name}", "not given")
        rows.append(row)
    return rows


def limits(config: Any, results: list[Result], data: list[dict[str, Any]], unknown_language: str | None) -> list[str]:
    """What a reader must know before using the model, in sentences.

    Args:
        config: The model's.
        results: Its results.
        data: Rows of `read_training_data`.
        unknown_language: What was measured without `language_ids`.

    Returns:
        The sentences.
    """
    lines = []
    if getattr(config, "languages", None):
        lines.append(
            f"Languages other than the {len(config.languages)} named above were never seen in alignment. Texts in "
            "them get vectors, and nothing here says how good these are; in a script of none of them, expect nothing."
        )
    encoder = getattr(config, "encoder_config", config)
    if encoder.hidden_size <= SMALL:
        lines.append(
            f"The encoder is small ({encoder.num_hidden_layers} layers x {encoder.hidden_size}), made for machines "
            "without a GPU and for experiments; encoders of hundreds of millions of parameters do better."
        )
    if getattr(config, "max_position_embeddings", None):
        lines.append(f"Texts are cut at {config.max_position_embeddings} tokens.")
    if isinstance(config, XLingAlignConfig) and config.languages:
        serves = "the row of the unknown language serves"
        if config.target_encoder_config is not None:
            serves = f"the {config.default_tower} tower reads all texts"
        measured = unknown_language or "How much that loses was not measured for this card."
        lines.append(f"Without `language_ids` {serves}, and the vectors are others. {measured}")
    for result in results:
        if result.worst:
            named = ", ".join(f"{code} {result.scores[code]:.1f}" for code in result.worst)
            lines.append(f"{cell(result.task)} is weakest in {named} ({cell(result.metric)}, %).")
    return lines + data_limits(data)


def data_limits(data: list[dict[str, Any]]) -> list[str]:
    """What the training data make a reader beware of: one corpus that outweighs the rest, licences that forbid."""
    lines = []
    pairs = {row["name"]: row["pairs"] for row in data if isinstance(row["pairs"], int)}
    largest = max(pairs, key=lambda name: pairs[name], default="")
    if len(pairs) > 1 and 3 * pairs[largest] > sum(pairs.values()):
        share = pairs[largest] / sum(pairs.values())
        lines.append(
            f"{share:.0%} of the training pairs are from {cell(largest)}; other kinds of text will fare worse."
        )
    restricted = [cell(row["name"]) for row in data if NOT_FREE.search(row["licence"] or "not stated")]
    if restricted:
        lines.append(
            f"Training data that forbid commercial use, or state no licence: {', '.join(restricted)}. "
            "Ask before the weights are used for more than research."
        )
    return lines


def method(config: Any, recipe: Mapping[str, Any] | None) -> list[tuple[str, str | None]]:
    """The parts of the method that this model used, each with the paper it is from."""
    if recipe is None:
        left_out("training objectives", "no recipe was given")
    parts = [*wrapping(config), *training(to_plain(recipe or {}))]
    return [(text, PAPERS.get(paper or "")) for text, paper in parts]


def build_card(
    config: Any,
    title: str,
    *,
    repo_id: str | None = None,
    results: Iterable[Mapping[str, Any] | Result] = (),
    training_data: Mapping[str, Any] | Iterable[str] | None = None,
    recipe: Mapping[str, Any] | None = None,
    licence: str | None = None,
    base_model: str | None = None,
    unknown_language: str | None = None,
) -> ModelCard:
    """Build a model's card.

    Args:
        config: The model's config, of ours or of a plain encoder.
        title: Name of the model.
        repo_id: Where it will be on the Hub; the title unless given.
        results: As `read_results` takes them.
        training_data: As `read_training_data` takes them.
        recipe: Arguments of the training by name, as in a recipe file.
        licence: Licence of the weights, by the Hub's identifier such as `apache-2.0`.
        base_model: Hub id of the encoder that was aligned.
        unknown_language: A sentence on what was measured without `language_ids`.

    Returns:
        The card, its metadata in `data`; huggingface_hub raises an ImportError where jinja2 is missing.
    """
    found = attempt("results", lambda: read_results(results), [])
    rows = attempt("training data", lambda: read_training_data(training_data), [])
    parts = attempt("training objectives", lambda: method(config, recipe), method(config, {}))
    languages: list[str] = list(getattr(config, "languages", None) or ())
    architecture = (getattr(config, "architectures", None) or [""])[0]
    tag, auto_class = CLASSIFIERS.get(architecture, ("sentence-similarity", "AutoModel"))
    for what, value in {"languages": languages, "licence of the weights": licence, "results": found}.items():
        if not value:
            left_out(what, "not given")
    entries = eval_results(found)
    data = ModelCardData(
        language=languages or None,
        license=licence,
        library_name="sentence-transformers" if auto_class == "AutoModel" else "transformers",
        pipeline_tag=tag,
        tags=["xling-align", *(["sentence-transformers", "feature-extraction"] if auto_class == "AutoModel" else [])],
        base_model=base_model if HUB_ID.fullmatch(base_model or "") else None,
        datasets=[row["hub_id"] for row in rows if row["hub_id"]] or None,
        metrics=sorted({result.metric for result in found}) or None,
        model_name=title if entries else None,
        eval_results=entries or None,
    )
    return ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        title=title,
        repo_id=repo_id or title,
        config=config,
        encoder=getattr(config, "encoder_config", config),
        ours=isinstance(config, XLingAlignConfig),
        languages=languages,
        language_ids=f', language_ids="{config.source_language}"' if languages else "",
        auto_class=auto_class,
        two_texts=attempt("task", lambda: ((recipe or {}).get("fine_tuning") or {}).get("task"), None) == "pair",
        results=found,
        codes=sorted({code for result in found for code in result.scores}),
        rows=rows,
        parts=[text for text, _ in parts],
        papers=list(dict.fromkeys(paper for _, paper in parts if paper)),
        limits=attempt("limits", lambda: limits(config, found, rows, unknown_language), []),
        licence=licence,
        cell=cell,
        mark=MARK,
    )


def facts_of(report: Mapping[str, Any], digest: str = "") -> dict[str, Any]:
    """What a report tells a card.

    Args:
        report: `results`, `training_data`, `recipe`, `licence`, `base_model` and `unknown_language` as `build_card`
            takes them, whichever are there; besides, the `models` and `tasks` of `xling eval` or of the demo.
        digest: The model's, as `model_digest` gives it, to find it among `models`; an InputError says that it is none
            of them.

    Returns:
        Arguments of `build_card`.
    """
    names = ("results", "training_data", "recipe", "licence", "base_model", "unknown_language")
    facts = {name: report[name] for name in names if report.get(name)}
    if "results" not in facts and "models" in report:
        name = measured_model(report, digest)
        facts["results"] = attempt("results", lambda: evaluation_results(report, name), [])
    return facts


def write_card(folder: Path, config: Any, title: str, **facts: Any) -> bool:
    """Write a model's `README.md` and `.eval_results/*.yaml`.

    Args:
        folder: The model's.
        config: Its config.
        title: Name of the model.
        **facts: As `build_card` takes them.

    Returns:
        Whether they were written; where not, a warning says why.
    """
    facts["results"] = attempt("results", lambda: read_results(facts.get("results") or ()), [])
    try:
        card = build_card(config, title, **facts)
        card.save(folder / "README.md")
        write_eval_results(folder, facts["results"])
    except (ImportError, OSError, TypeError, ValueError, AttributeError) as error:
        left_out("the card", f"{type(error).__name__}: {error}")
        return False
    return True
