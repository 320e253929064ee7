"""What the tests of `xling eval` share."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModel

from tests.cli.eval_root import task_files
from tests.conftest import LANGUAGES, encoder_config, make_tokenizer
from xling_align.modeling_xling import XLingAlignModel


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A data folder with every task, an aligned model and a plain encoder."""
    root = tmp_path_factory.mktemp("eval")
    for name, text in task_files().items():
        (root / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "data" / name).write_text(text, encoding="utf-8")
    torch.manual_seed(7)
    AutoModel.from_config(encoder_config("bert")).save_pretrained(root / "plain")
    make_tokenizer().save_pretrained(root / "plain")
    model = XLingAlignModel.from_encoder(str(root / "plain"), LANGUAGES[:2])  # French is unknown to it
    model.save_pretrained(root / "ours", tokenizer=make_tokenizer())
    return root
