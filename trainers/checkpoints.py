"""Which checkpoint a run goes on from."""

import json
import logging
from pathlib import Path

from transformers.trainer_utils import get_last_checkpoint

from xling_align.modeling_xling import InputError, XLingAlignConfig

logger = logging.getLogger(__name__)


def last_complete_checkpoint(output_dir: str | None) -> str | None:
    """The newest checkpoint whose state was written to the end; one that a kill cut short is moved aside."""
    folder = Path(output_dir or "")
    while folder.is_dir() and (last := get_last_checkpoint(str(folder))):
        try:
            json.loads((Path(last) / "trainer_state.json").read_text(encoding="utf-8"))
            return last
        except (OSError, ValueError):
            logger.warning("%s is incomplete and was set aside", last)
            Path(last).rename(Path(last).with_name(f"incomplete-{Path(last).name}"))
    return None


def check_same_model(checkpoint: Path, config: XLingAlignConfig) -> None:
    """Refuse a checkpoint of another model.

    Args:
        checkpoint: Folder of the checkpoint.
        config: The config of the model that is to go on from it.

    Raises:
        InputError: There is no checkpoint, or its encoder or languages differ.
    """
    if not (checkpoint / "config.json").is_file():
        raise InputError(f"{checkpoint} holds no checkpoint; name a folder such as outputs/align/checkpoint-500")
    saved = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    names = ("model_type", "vocab_size", "hidden_size", "dim", "num_hidden_layers", "n_layers")
    differing = []
    for tower in ("encoder_config", "target_encoder_config"):
        theirs, own = saved.get(tower) or {}, getattr(config, tower)
        own = {} if own is None else own.to_dict()
        differing += [name for name in names if theirs.get(name) != own.get(name)]
    names = ("languages", "language_token", "fusion_context", "projection_dim")
    differing += [name for name in names if saved.get(name) != getattr(config, name)]
    if differing:
        raise InputError(
            f"{checkpoint} is of another model (its {', '.join(differing)} differ); "
            "name another --output_dir, or give the encoder and languages it was made with"
        )
