"""Tiny encoders of four families and their tokenizer, built on the fly: no network, no data."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
if "PYTEST_XDIST_WORKER" in os.environ:  # each worker has one core
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModel,
    BertConfig,
    DistilBertConfig,
    ModernBertConfig,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
)

from xling_align.modeling_xling import XLingAlignModel

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
WORDS = "good morning night day sun moon red green blue guten morgen nacht tag sonne mond rot grün blau bonjour"
LANGUAGES = ["en", "de", "fr"]
FAMILIES = ["bert", "xlm-roberta", "distilbert", "modernbert"]
MAX_WORDS = 24  # tokens that each tiny encoder takes without a language token


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer over WORDS with XLM-R's special ids."""
    vocabulary = {token: row for row, token in enumerate(SPECIAL + WORDS.split())}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        cls_token="<s>",
        bos_token="<s>",
        sep_token="</s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=MAX_WORDS,
    )


def encoder_config(family: str):
    """Config of a two-layer encoder that takes MAX_WORDS tokens."""
    shared = {"vocab_size": len(SPECIAL) + len(WORDS.split()), "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    shared["initializer_range"] = 0.2  # lively enough for texts to differ
    layers = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
    }
    if family == "bert":
        return BertConfig(**shared, **layers, max_position_embeddings=MAX_WORDS)
    if family == "xlm-roberta":
        return XLMRobertaConfig(**shared, **layers, max_position_embeddings=MAX_WORDS + 2)
    if family == "distilbert":
        return DistilBertConfig(
            **shared, dim=32, n_layers=2, n_heads=2, hidden_dim=48, max_position_embeddings=MAX_WORDS
        )
    return ModernBertConfig(
        **shared,
        **layers,
        max_position_embeddings=MAX_WORDS,
        cls_token_id=0,
        sep_token_id=2,
        global_attn_every_n_layers=2,
        local_attention=8,
    )


@pytest.fixture(scope="session")
def tokenizer():
    """The tiny tokenizer, fresh for each session."""
    return make_tokenizer()


@pytest.fixture(params=FAMILIES)
def family(request) -> str:
    """Each encoder family in turn."""
    return request.param


@pytest.fixture(scope="session")
def encoder_folders(tmp_path_factory) -> dict[str, str]:
    """A saved tiny encoder with tokenizer, by family."""
    folders = {}
    for name in FAMILIES:
        torch.manual_seed(0)
        folder = tmp_path_factory.mktemp(name)
        AutoModel.from_config(encoder_config(name)).save_pretrained(folder)
        make_tokenizer().save_pretrained(folder)
        folders[name] = str(folder)
    return folders


@pytest.fixture
def model(family, encoder_folders) -> XLingAlignModel:
    """The aligned model over each family, in eval mode, its language rows and fusion away from their start."""
    torch.manual_seed(1)
    model = XLingAlignModel.from_encoder(encoder_folders[family], LANGUAGES).eval()
    stir(model)
    return model


@torch.no_grad()
def stir(model: XLingAlignModel) -> None:
    """Move fusion and language states away from their start, as training would."""
    generator = torch.Generator().manual_seed(2)
    for name, tensor in model.state_dict().items():
        if "fusion" in name or name.startswith("language."):
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)


@pytest.fixture
def batch(tokenizer) -> dict:
    """Three texts of different lengths."""
    texts = ["good morning", "guten morgen sonne mond rot", "bonjour"]
    encoded = tokenizer(texts, padding=True, return_tensors="pt")
    return {name: encoded[name] for name in ("input_ids", "attention_mask")}
