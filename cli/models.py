"""Loading what a command names, ours or any other encoder."""

import logging
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from xling_align.eval.encoding import TextEncoder
    from xling_align.modeling_xling import XLingAlignConfig, XLingAlignModel


logger = logging.getLogger(__name__)


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
        InputError: There is no such model, or it is no text encoder.
    """
    from transformers import AutoConfig

    from xling_align.modeling_xling import InputError

    try:
        config = AutoConfig.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{model!r} is neither a model folder (config.json) nor a Hub id that can be loaded: {first_line(error)}"
        ) from error
    if config.is_encoder_decoder or not hasattr(config, "vocab_size"):
        raise InputError(f"{model!r} is a {config.model_type} model and not a text encoder")
    return config


def load_weights(kind: Any, model: str) -> "PreTrainedModel":
    """A model with all of its weights.

    Args:
        kind: Its class, or an Auto class.
        model: Folder or Hub id.

    Returns:
        The model, in eval mode, on a GPU where there is one.

    Raises:
        InputError: The weights can't be read, don't fit the config, or are not all there.
    """
    import torch
    from safetensors import SafetensorError

    from xling_align.modeling_xling import InputError

    try:
        loaded, report = kind.from_pretrained(model, output_loading_info=True, dtype=torch.float32)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        misfit = "they don't fit its config.json" if "mismatched" in str(error) else first_line(error)
        raise InputError(f"the weights of {model!r} can't be loaded: {misfit}") from error
    missing = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))  # made up, never used
    if missing:
        raise InputError(
            f"the weights of {model!r} are incomplete: {len(missing)} are missing ({missing[0]}, ...); save it again"
        )
    return loaded.eval().to("cuda" if torch.cuda.is_available() else "cpu")


def load_aligned(model: str) -> "XLingAlignModel":
    """A model of ours.

    Args:
        model: Folder or Hub id.

    Returns:
        The model, as `load_weights` gives it.

    Raises:
        InputError: There is no such model, or it is not one of ours.
    """
    from xling_align.modeling_xling import InputError, XLingAlignConfig, XLingAlignModel

    if not isinstance(load_config(model), XLingAlignConfig):
        raise InputError(f"{model!r} is a plain encoder and not a model that xling-align saved")
    return load_weights(XLingAlignModel, model)  # pyright: ignore[reportReturnType]


def text_encoder(model: str, batch_size: int = 128) -> "TextEncoder":
    """Any model, ready to encode in vectors of length 1, in bf16 where the machine is fast at it.

    Args:
        model: Folder or Hub id; ours encodes with language and fusion, another encoder with the pooling that it was
            saved with for sentence-transformers, or else by the mean of its tokens.
        batch_size: Texts in a forward pass.

    Returns:
        The encoder.
    """
    from transformers import AutoModel

    from xling_align.eval.encoding import TextEncoder, has_fast_bf16
    from xling_align.modeling_xling import XLingAlignConfig, load_tokenizer

    pooling = "cls" if isinstance(load_config(model), XLingAlignConfig) else sentence_pooling(model)
    loaded, tokenizer = load_weights(AutoModel, model), load_tokenizer(model)
    return TextEncoder(loaded, tokenizer, pooling, batch_size, normalize=True, bf16=has_fast_bf16())


def sentence_pooling(model: str) -> Literal["cls", "mean"]:
    """How a plain encoder's sentence vectors are made, by its files for sentence-transformers.

    Args:
        model: Folder or Hub id.

    Returns:
        `cls` or `mean`; mean where there are no such files.

    Raises:
        InputError: They name another pooling.
    """
    from xling_align.modeling_xling import InputError

    modules = json_of(model, "modules.json") or []
    kinds = {module["type"].rpartition(".")[2]: module["path"] for module in modules}
    if extra := sorted(set(kinds) - {"Transformer", "Pooling", "Normalize"}):
        logger.warning("%s is measured without its %s, which only sentence-transformers runs", model, ", ".join(extra))
    settings = json_of(model, f"{kinds['Pooling']}/config.json") if "Pooling" in kinds else None
    if not settings:
        return "mean"
    named = settings.get("pooling_mode") or [
        name.removeprefix("pooling_mode_").removesuffix("_token").removesuffix("_tokens")
        for name, chosen in settings.items()
        if name.startswith("pooling_mode_") and chosen
    ]
    named = [named] if isinstance(named, str) else named
    if named not in (["cls"], ["mean"]):
        raise InputError(f"{model!r} pools by {', '.join(named) or 'nothing'}; cls and mean are known here")
    return "cls" if named == ["cls"] else "mean"


def json_of(model: str, name: str) -> Any:
    """Contents of a JSON file of a model, None where it has no such file."""
    import json

    from transformers.utils.hub import cached_file

    missing = {"_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_connection_errors": False}
    path = cached_file(model, name, **missing)
    return json.loads(Path(path).read_text(encoding="utf-8")) if path else None


def check_languages(config: "XLingAlignConfig", codes: Iterable[str]) -> None:
    """Refuse languages that a model does not know.

    Args:
        config: The model's.
        codes: Language codes.

    Raises:
        InputError: One of them is unknown.
    """
    from xling_align.modeling_xling import InputError, nearest

    for code in codes:
        if code not in config.languages:
            known = f"{len(config.languages)} languages ({', '.join(config.languages)})"
            raise InputError(f"language {code!r} is not one of this model's {known}{nearest(code, config.languages)}")


def read_rows(path: Path) -> list[tuple[str, str]]:
    """Language and text of each line of a file of `language<TAB>text`.

    Args:
        path: The file, UTF-8.

    Returns:
        Codes and texts, in the order of the file; lines without anything are passed over.

    Raises:
        InputError: There is no such file, a line has other than two columns, or none is good.
    """
    from xling_align.modeling_xling import InputError

    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise InputError(
            f"{path} can't be read ({error.strerror}); give a file of language<TAB>text (to search: --texts FILE)"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}); convert it first") from error
    rows: list[tuple[str, str]] = []
    for number, line in enumerate(lines, 1):
        cells = [cell.strip() for cell in line.split("\t")]
        if line.strip() and (len(cells) != 2 or not all(cells)):
            raise InputError(f"{path}, line {number} is not language<TAB>text: {line[:60]!r}")
        if line.strip():
            rows.append((cells[0], cells[1]))
    if not rows:
        raise InputError(f"{path} is empty; it must hold lines of language<TAB>text")
    return rows


def by_language(rows: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Distinct texts by language code.

    >>> by_language([("de", "gut"), ("en", "good"), ("de", "gut"), ("de", "Tag")])
    {'de': ['gut', 'Tag'], 'en': ['good']}
    """
    phrases: dict[str, dict[str, None]] = {}
    for code, text in rows:
        phrases.setdefault(code, {})[text] = None
    return {code: list(texts) for code, texts in phrases.items()}


def first_line(error: BaseException) -> str:
    """The first line of an error's message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
