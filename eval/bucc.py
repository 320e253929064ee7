"""Read the pools of BUCC 2018, as its archives unpack, or in a folder of that form.

A file that is missing or empty, an id that is there twice, and a pair of one that is not there are an `InputError`.
"""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from xling_align.eval.data_dir import ByLanguage
from xling_align.eval.reading import beside, columns_without_header, files_by_language, read_each
from xling_align.eval.tasks.mining import Pool
from xling_align.modeling_xling import InputError


def bucc(
    data_dir: str | Path, split: str = "test", languages: Iterable[str] | None = None, limit: int | None = None
) -> ByLanguage[Pool]:
    """Read one split.

    A language's files are `bucc2018/<xx>-en/<xx>-en.<split>.<xx>` and `.en`, of `id<TAB>sentence` lines, and `.gold`,
    of `<xx> id<TAB>en id` lines. The organisers kept the gold pairs of the test; those who do not have them put a
    held-out part of `training` in its place.

    Args:
        data_dir: The folder that holds `bucc2018`.
        split: `sample`, `training` or `test`.
        languages: Codes, in the order wanted; all that have the split unless given.
        limit: Read the first so many sentences of each side only, and the pairs among them.

    Returns:
        A pool per language.
    """
    files = files_by_language(Path(data_dir) / "bucc2018", f"<xx>-en/<xx>-en.{split}.en", languages)
    return read_each(files, limit, lambda path: _pool(path, split, limit))


def _pool(path: Path, split: str, limit: int | None) -> Pool:
    language = path.parent.name.partition("-en")[0]
    other, gold = (beside(path, f"{language}-en.{split}.{ending}") for ending in (language, "gold"))
    english, foreign = _sentences(path), _sentences(other)
    rows, columns = ({name: number for number, name in enumerate(side)} for side in (english, foreign))
    pairs = set()
    for number, (own, its) in enumerate(columns_without_header(gold, (f"{language} id", "en id")), 1):
        for name, place, side in ((own, columns, other), (its, rows, path)):
            if name not in place:
                raise InputError(f"{gold}, line {number}: {name!r} is no id of {side.name}")
        pairs.add((rows[its], columns[own]))
    if limit is not None:
        pairs = {pair for pair in pairs if max(pair) < limit}
    return Pool([*islice(english.values(), limit)], [*islice(foreign.values(), limit)], pairs)


def _sentences(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, (name, text) in enumerate(columns_without_header(path, ("id", "sentence")), 1):
        if name in found:
            raise InputError(f"{path}, line {number}: the id {name!r} is there twice")
        found[name] = text
    return found
