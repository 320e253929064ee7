"""Language rows of a model: rows for languages that it lacks, and where they start."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from xling_align.modeling_xling import InputError, LanguageStates, XLingAlignModel

from .data.tokenized import batched, tokenize_texts

SAMPLE = 2000  # texts that a language's mean state is taken over


@torch.no_grad()
def add_languages(model: XLingAlignModel, codes: Iterable[str]) -> None:
    """Give a model rows for more languages, after those that it has.

    Args:
        model: Changed in place.
        codes: Codes of the languages.

    Raises:
        InputError: It has one of them already.
    """
    codes = list(codes)
    if there := [code for code in codes if code in model.config.languages]:
        raise InputError(
            f"the model has {', '.join(there)} already, among {', '.join(model.config.languages)}; "
            "name other languages, or train it further by xling align"
        )
    old = model.language
    rows, width = old.embedding.weight.shape
    model.config.languages = [*model.config.languages, *codes]
    model.language = LanguageStates(rows - 1 + len(codes), width, old.mean.shape[1]).to(old.mean)
    model.language.embedding.weight.copy_(old.embedding.weight[0])  # the unknown language, until a text is read
    model.language.embedding.weight[:rows] = old.embedding.weight
    model.language.mean[:rows], model.language.count[:rows] = old.mean, old.count


def start_languages(
    model: XLingAlignModel, tokenizer: PreTrainedTokenizerBase, texts: Mapping[str, list[str]], max_length: int = 128
) -> None:
    """Start languages at what their text says: the embedding at the mean of the words, the mean state at the text's.

    Args:
        model: Changed in place.
        tokenizer: The model's.
        texts: Plain sentences by language.
        max_length: Longest text in tokens; longer ones are cut, also at the model's own limit.
    """
    max_length = min(max_length, model.config.max_position_embeddings or max_length)
    table = model.language.embedding.weight
    counts = torch.zeros(len(table), model.config.vocab_size)
    for code, lines in texts.items():
        tokens = tokenize_texts(lines, tokenizer, max_length).tokens
        counts[model.config.language_id(code)] = torch.from_numpy(
            np.bincount(tokens, minlength=model.config.vocab_size)
        )
    if model.config.language_token == "insert":
        unknown = table[0].detach().clone()
        model.init_language_embeddings(counts)
        with torch.no_grad():
            table[0] = unknown  # learned over all languages
    for code, lines in texts.items():
        read_states(model, tokenizer, lines[:SAMPLE], code, max_length)


@torch.no_grad()
def read_states(
    model: XLingAlignModel, tokenizer: PreTrainedTokenizerBase, lines: list[str], code: str, max_length: int
) -> None:
    """Move a language's running mean to the mean language state of texts."""
    row = model.config.language_id(code)
    total, count = torch.zeros_like(model.language.mean), torch.zeros_like(model.language.count)
    model.eval()
    for batch in batched(lines, 64):
        inputs: Any = tokenizer(batch, padding=True, truncation=True, max_length=max_length, return_tensors="pt")
        inputs = {name: inputs[name].to(model.device) for name in ("input_ids", "attention_mask")}
        total[row] += model(**inputs, language_ids=code, fuse_words=False).language_state.float().sum(0)
        count[row] += len(batch)
    model.language.update(total, count)
