"""Classification by the names of the labels: a text gets the label whose description it is nearest to."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from xling_align.eval.data_dir import limit_of
from xling_align.eval.metrics.neighbours import unit
from xling_align.eval.tasks.classification import Labelled, label_scores
from xling_align.eval.tasks.result import TaskResult
from xling_align.modeling_xling import InputError


class Prompts(NamedTuple):
    """Templates in one language, each with `{}` where a label's name goes, and those names by label."""

    templates: Sequence[str]
    names: Mapping[str, str]
    language: str = "en"


def run(
    encode: Callable[..., np.ndarray],
    tests: Mapping[str, Labelled],
    prompts: Sequence[Prompts],
    calibrate: bool = True,
    source: str = "en",
) -> TaskResult:
    """Classify texts without a classifier, by cosine to the labels' descriptions.

    A label's vector is the mean of the unit vectors of all its prompts, in whatever languages.

    Args:
        encode: Called as `encode(texts, language=code)`, returns vectors (N, dim); a `TextEncoder` for one.
        tests: Texts and labels per language, such as `sib200(...)`.
        prompts: Templates and names, of one or more languages; all name the same labels.
        calibrate: Whether scores are calibrated, over each language's texts.
        source: The language that the others are compared with.

    Returns:
        Macro-F1 per language as the main score; `macro_f1`, `accuracy`, `texts` and `confusion` as details.

    Raises:
        InputError: A template lacks `{}`, labels have no name, or texts and labels do not match.
    """
    if not tests or not prompts:
        raise InputError("label_names needs texts in one or more languages, and prompts; got none")
    check_labels(tests, prompts)
    labels, vectors = label_vectors(encode, prompts)
    details = {}
    for language, (texts, gold) in tests.items():
        best = similarities(encode, texts, language, vectors, calibrate).argmax(axis=1)
        details[language] = label_scores(np.asarray(gold), np.asarray(labels)[best])
    scores = {language: scores["macro_f1"] for language, scores in details.items()}
    metadata = {
        "prompts": sum(len(each.templates) for each in prompts),
        "prompt_languages": sorted({each.language for each in prompts}),
        "calibrated": calibrate,
        **limit_of(tests),
    }
    return TaskResult("label_names", "macro_f1", scores, details, metadata, source)


def similarities(
    encode: Callable[..., np.ndarray], texts: Sequence[str], language: str, vectors: np.ndarray, calibrate: bool
) -> np.ndarray:
    """How near texts are to the labels' descriptions.

    Calibration takes from every label its mean similarity to these texts, whose labels are not read: some descriptions
    lie nearer to everything than others. The form is ours, in the manner of Batch Calibration (Zhou et al., 2024), on
    cosines instead of log-probabilities; it supposes that labels are about equally frequent, and needs several texts.

    Args:
        encode: As `run`.
        texts: Of one language.
        language: Its code.
        vectors: Of the labels, as `label_vectors` gives them (labels, dim).
        calibrate: Whether scores are calibrated.

    Returns:
        Cosines, or by how much they are above the label's mean (texts, labels).
    """
    scores = unit(encode(texts, language=language)) @ vectors.T
    return scores - scores.mean(axis=0) if calibrate else scores


def plain_prompts(labels: Sequence[str], templates: Sequence[str] = ("{}", "This text is about {}.")) -> Prompts:
    """English prompts with the labels as their own names, `/` read as "and" and `_` as a space.

    >>> plain_prompts(["science/technology"]).names
    {'science/technology': 'science and technology'}
    """
    return Prompts(templates, {label: label.replace("/", " and ").replace("_", " ") for label in sorted(set(labels))})


def read_prompts(path: str | Path) -> list[Prompts]:
    """Read templates and names of labels, in one or more languages.

    Args:
        path: YAML: for each language's code `templates`, a list, each with `{}` where the name goes, and `names`, the
            label's name in that language by label.

    Returns:
        Prompts per language.

    Raises:
        InputError: The file can't be read or has another form.
    """
    form = "it must give templates (a list) and names (by label) for each language code, in quotes if it is no"
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} can't be read as YAML ({' '.join(str(error).split())}); {form}") from error
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: {form}")
    for code, own in content.items():
        if not isinstance(code, str) or not isinstance(own, dict) or set(own) != {"names", "templates"}:
            raise InputError(f"{path}, {code}: {form}")
        names = [word for pair in own["names"].items() for word in pair] if isinstance(own["names"], dict) else None
        if not all(
            isinstance(each, list) and all(isinstance(text, str) for text in each)
            for each in (own["templates"], names)
        ):
            raise InputError(
                f"{path}, {code}: {form}, all of them text; YAML reads no, 1 and the like as text in quotes"
            )
    found = [Prompts(own["templates"], own["names"], code) for code, own in content.items()]
    check_prompts(found)
    return found


def check_labels(tests: Mapping[str, Labelled], prompts: Sequence[Prompts]) -> None:
    """Refuse texts whose labels the prompts do not name.

    Args:
        tests: As `run`.
        prompts: As `run`.

    Raises:
        InputError: There are such, or texts and labels do not match.
    """
    for language, (texts, gold) in tests.items():
        if problem := _problem(texts, gold, sorted(prompts[0].names)):
            raise InputError(f"label_names, {language}: {problem}")


def check_prompts(prompts: Sequence[Prompts]) -> None:
    """Refuse templates without `{}`, none, and labels that differ between the languages.

    Args:
        prompts: As `run`.

    Raises:
        InputError: There are such.
    """
    labels = sorted(prompts[0].names)
    for templates, names, language in prompts:
        if not templates or (faulty := [template for template in templates if template.count("{}") != 1]):
            given = f"got {faulty[0]!r}" if templates else "got none"
            raise InputError(f"a prompt, {language}, needs one {{}} where the label's name goes; {given}")
        if not labels or sorted(names) != labels:
            other = f"{', '.join(sorted(names)) or 'none'} in {language} and {', '.join(labels) or 'none'}"
            raise InputError(f"prompts must name the same labels in every language; they name {other}")


def label_vectors(encode: Callable[..., np.ndarray], prompts: Sequence[Prompts]) -> tuple[list[str], np.ndarray]:
    """Encode the descriptions of labels.

    Args:
        encode: As `run`.
        prompts: As `run`.

    Returns:
        The labels in alphabetical order, and a unit vector for each, (labels, dim).
    """
    check_prompts(prompts)
    labels = sorted(prompts[0].names)
    total: np.ndarray | float = 0.0
    for templates, names, language in prompts:
        for template in templates:
            total = total + unit(encode([template.replace("{}", names[label]) for label in labels], language=language))
    return labels, unit(np.asarray(total))


def _problem(texts: Sequence[str], gold: Sequence[str], labels: list[str]) -> str | None:
    if len(texts) != len(gold) or not len(texts):
        return f"{len(texts)} texts for {len(gold)} labels"
    if unknown := set(gold) - set(labels):
        return f"label {min(unknown, key=str)!r} has no name in the prompts; they name {', '.join(labels)}"
    return None
