"""Vector spaces in two dimensions by t-SNE: languages' clouds, classes, and words joined with their translations.

All raise an `InputError` where lengths differ, or there are fewer than four vectors.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from xling_align.eval.drawing import FRAME, INK, Figure, bare, canvas, colour, marker, to_svg
from xling_align.eval.extras import eval_extra
from xling_align.modeling_xling import InputError

FEWEST = 4  # vectors that t-SNE can spread


def vector_figures(
    encoders: Mapping[str, Callable[..., np.ndarray]],
    translations: Mapping[str, Mapping[Any, str]],
    labelled: Mapping[str, tuple[Sequence[str], Sequence[Any]]],
) -> list[Figure]:
    """Draw texts as several models encode them: all languages together, then the classes of single languages.

    Args:
        encoders: Called as `encode(texts, language=code)`, by the name of the model.
        translations: By language code, texts by their meaning; those of one meaning are translations of each other.
        labelled: Texts and their classes, by language code.

    Returns:
        The clouds, unless there are no `translations`, and a figure for each language of `labelled`.
    """
    found = []
    if translations:
        codes = [code for code, texts in translations.items() for _ in texts]
        meanings = [meaning for texts in translations.values() for meaning in texts]
        spaces = vector_spaces(encoders, {code: [*texts.values()] for code, texts in translations.items()})
        found.append(language_clouds(spaces, codes, meanings))
    for code, (texts, labels) in labelled.items():
        found.append(class_clusters(vector_spaces(encoders, {code: texts}), labels, code))
    return found


def vector_spaces(
    encoders: Mapping[str, Callable[..., np.ndarray]], texts: Mapping[str, Sequence[str]]
) -> dict[str, np.ndarray]:
    """Vectors (N, dim) of texts by language, one language after the other, for each model."""
    return {
        name: np.concatenate([encode(list(own), language=code) for code, own in texts.items()])
        for name, encode in encoders.items()
    }


def language_clouds(
    spaces: Mapping[str, np.ndarray],
    languages: Sequence[str],
    meanings: Sequence[Any] | None = None,
    joined: int = 5,
) -> Figure:
    """Draw the same sentences in several spaces, each language with a colour and a shape of its own (figure 8).

    Args:
        spaces: Sentence vectors (N, dim) by the name of the model, such as before and after training.
        languages: The language code of each sentence, N.
        meanings: The same value for sentences that are translations of each other, N.
        joined: For so many meanings, lines join the translations to their middle.

    Returns:
        The figure.
    """
    meanings = list(range(len(languages))) if meanings is None else meanings
    points = _project(spaces, languages, meanings)
    title = "Languages' clouds: " + ", ".join(spaces)
    described = f"sentence vectors of {len(set(languages))} languages in two dimensions"
    svg = _panels(points, languages, described, lambda axes, own: _join(axes, own, np.asarray(meanings), joined))
    note = "Sentence vectors by t-SNE (cosine). Where languages are aligned, their colours mix."
    return _with_points(title, svg, points, {"language": languages, "meaning": meanings}, note)


def class_clusters(spaces: Mapping[str, np.ndarray], labels: Sequence[Any], language: str) -> Figure:
    """Draw one language's texts in several spaces, each class with a colour and a shape of its own (figure 7).

    Args:
        spaces: Vectors of the texts (N, dim) by the name of the model.
        labels: The class of each text, N.
        language: Code of the language that the texts are in.

    Returns:
        The figure.
    """
    points = _project(spaces, labels)
    names = [str(label) for label in labels]
    described = f"vectors of {language} texts of {len(set(names))} classes in two dimensions"
    note = "Text vectors by t-SNE (cosine). Classes that lie apart are easy to tell apart."
    title = f"Classes in {language}: {', '.join(spaces)}"
    return _with_points(title, _panels(points, names, described), points, {"class": names}, note)


def word_pairs(
    spaces: Mapping[str, np.ndarray], words: Sequence[str], translations: Sequence[str], languages: tuple[str, str]
) -> Figure:
    """Draw words and their translations, joined by dashed lines (figure 10).

    Args:
        spaces: By the name of the model, vectors (2 N, dim): those of the words, then those of their translations.
        words: N words.
        translations: Their N translations.
        languages: Codes of the two languages.

    Returns:
        The figure.
    """
    texts = [*words, *translations]
    points = _project(spaces, texts)
    owners = [code for code in languages for _ in words]
    pairs = np.array([*range(len(words))] * 2)

    def name(axes: Any, own: np.ndarray) -> None:
        _join(axes, own, pairs, len(words), "--")
        for text, place in zip(texts, own, strict=True):
            axes.annotate(text, place, xytext=(0, 4), textcoords="offset points", fontsize=9, ha="center")

    described = f"{len(words)} words and their translations, joined by lines"
    svg = _panels(points, owners, described, name)
    title = f"Words and their translations ({languages[0]}, {languages[1]}): {', '.join(spaces)}"
    note = "Word vectors by t-SNE (cosine). Short lines join words that are aligned."
    return _with_points(title, svg, points, {"language": owners, "word": texts}, note)


def _project(spaces: Mapping[str, np.ndarray], *columns: Sequence[Any]) -> dict[str, np.ndarray]:
    """Each space in two dimensions (N, 2)."""
    sizes = {len(own) for own in (*spaces.values(), *columns)}
    if len(sizes) > 1 or not sizes or max(sizes) < FEWEST:
        raise InputError(f"a plot of vectors needs {FEWEST} or more, one for each text and label; got {sorted(sizes)}")
    with eval_extra():
        from sklearn.manifold import TSNE
    perplexity = min(30.0, (max(sizes) - 1) / 3)
    found = {}
    for name, own in spaces.items():
        start = "pca" if np.ptp(own, axis=0).any() else "random"  # one point has no principal components
        tsne = TSNE(init=start, metric="cosine", perplexity=perplexity, random_state=0)
        found[name] = tsne.fit_transform(np.asarray(own, dtype=np.float32))
    return found


def _panels(points: Mapping[str, np.ndarray], groups: Sequence[str], described: str, finish: Any = None) -> str:
    """A panel for each space, points (N, 2) coloured by group; side by side where the page is wide enough."""
    names = sorted(set(groups))
    columns = min(len(names), 7 if max(map(len, names)) < 5 else 2)
    panels = []
    for model, own in points.items():
        with canvas(4.8, 4.0 + 0.2 * (len(names) // columns)) as figure:
            axes = figure.subplots()
            for index, group in enumerate(names):
                mine = own[[name == group for name in groups]]
                look = {"c": colour(index), "marker": marker(index), "alpha": 0.75, "linewidths": 0, "zorder": 2}
                axes.scatter(*mine.T, s=18, label=group, **look)
            if finish:
                finish(axes, own)
            axes.set_title(model, fontsize=11)
            axes.margins(0.08)
            bare(axes)
            figure.legend(loc="outside lower center", ncols=columns, frameon=False, columnspacing=1, markerscale=1.6)
            panels.append(to_svg(figure, f"{model}: {described}"))
    return f'<div class="panels">{"".join(panels)}</div>'


def _join(axes: Any, points: np.ndarray, meanings: np.ndarray, joined: int, dashes: str = "-") -> None:
    for meaning in list(dict.fromkeys(meanings.tolist()))[:joined]:
        translations = points[meanings == meaning]
        middle = np.broadcast_to(translations.mean(axis=0), translations.shape)
        lines = np.stack([middle, translations])  # (2 ends, lines, 2)
        shade = FRAME if dashes == "--" else INK
        axes.plot(lines[..., 0], lines[..., 1], dashes, color=shade, alpha=0.8, linewidth=0.7, zorder=1)


def _with_points(title: str, svg: str, points: Mapping[str, np.ndarray], texts: Mapping, note: str) -> Figure:
    """The figure with each text's places."""
    columns = [*texts, *(f"{name} {axis}" for name in points for axis in "xy")]
    places = np.concatenate(list(points.values()), axis=1).astype(float).round(2).tolist()
    rows = [(*own, *place) for *own, place in zip(*texts.values(), places, strict=True)]
    return Figure(title, svg, columns, rows, note)
