"""Loading what a command names, ours or any other encoder."""

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xling_align.eval.encoding import TextEncoder
    from xling_align.modeling_xling import XLingAlignModel


def quiet() -> None:
    """Keep loading bars and notes of the libraries off the screen."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("httpx").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=FutureWarning)


def load_config(model: str):
    """Config of a model.

    Args:
        model: Folder or Hub id.

    Returns:
        The config.

    Raises:
        InputError: There is no such model.
    """
    from transformers import AutoConfig

    from xling_align.modeling_xling import InputError

    try:
        return AutoConfig.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{model!r} is neither a model folder (config.json) nor a Hub id that can be loaded: {first_line(error)}"
        ) from error


def load_aligned(model: str) -> "XLingAlignModel":
    """A model of ours.

    Args:
        model: Folder or Hub id.

    Returns:
        The model, in eval mode.

    Raises:
        InputError: There is no such model, or it is not one of ours.
    """
    from xling_align.modeling_xling import InputError, XLingAlignConfig, XLingAlignModel

    if not isinstance(load_config(model), XLingAlignConfig):
        raise InputError(f"{model!r} is a plain encoder and not a model that xling-align saved")
    try:
        return XLingAlignModel.from_pretrained(model).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"the weights of {model!r} can't be loaded: {first_line(error)}") from error


def text_encoder(model: str) -> "TextEncoder":
    """Any model, ready to encode: ours with language and fusion, another by the mean of its tokens."""
    from xling_align.eval.encoding import TextEncoder
    from xling_align.modeling_xling import XLingAlignConfig, load_tokenizer

    if isinstance(load_config(model), XLingAlignConfig):
        return TextEncoder(load_aligned(model), load_tokenizer(model), "cls", normalize=True)
    return TextEncoder.from_folder(model, pooling="mean", normalize=True)


def read_phrases(path: Path) -> dict[str, list[str]]:
    """Phrases by language from a file of `language<TAB>text` lines.

    Args:
        path: The file, UTF-8.

    Returns:
        Distinct phrases by language code, in the order of the file.

    Raises:
        InputError: There is no such file, a line has other than two columns, or none is good.
    """
    from xling_align.modeling_xling import InputError

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(
            f"{path} can't be read ({error.strerror}); give --texts a file of language<TAB>text"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}); convert it first") from error
    phrases: dict[str, dict[str, None]] = {}
    for number, line in enumerate(lines, 1):
        cells = [cell.strip() for cell in line.split("\t")]
        if line.strip() and (len(cells) != 2 or not all(cells)):
            raise InputError(f"{path}, line {number} is not language<TAB>text: {line[:60]!r}")
        if line.strip():
            phrases.setdefault(cells[0], {})[cells[1]] = None
    if not phrases:
        raise InputError(f"{path} is empty; it must hold lines of language<TAB>text")
    return {code: list(texts) for code, texts in phrases.items()}


def first_line(error: BaseException) -> str:
    """The first line of an error's message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
