"""From texts to vectors, for any encoder that returns `last_hidden_state`."""

import hashlib
import inspect
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from tqdm.auto import tqdm

from xling_align.modeling_xling import InputError
from xling_align.modeling_xling.modeling_xling import longest_text

Batch = TypeVar("Batch")

UNLIMITED = 10**6  # tokenizers without a limit of their own report about 1e30
NOT_THE_MODEL = ("_name_or_path", "transformers_version", "auto_map", "architectures", "dtype")
BLOCK = 4096  # texts of a stream that are sorted by length together
PATIENCE = 2  # seconds of work before a terminal shows how far it is


def has_fast_bf16() -> bool:
    """Whether this machine multiplies bf16 in hardware."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def shown(batches: Iterable[Batch], language: str | None) -> Iterable[Batch]:
    """Batches of texts, with a bar on a terminal where they take long; it goes away with the last of them.

    Args:
        batches: As many as there are.
        language: Of the texts, if known.

    Returns:
        The same batches.
    """
    of = f"texts, {language}" if language else "texts"
    return tqdm(batches, of, unit=" batches", leave=False, delay=PATIENCE, disable=None)


class TextEncoder:
    """Encode lists of texts with a model and its tokenizer, in the order given.

    Works for a plain `transformers` encoder and for ours: the language reaches the model only where its `forward`
    has a parameter `language_ids`. Texts of similar length share a batch. The model is in eval mode meanwhile and
    is handed back in the mode it had.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        pooling: Literal["cls", "mean"] = "cls",
        batch_size: int = 128,
        max_length: int | None = None,
        normalize: bool = False,
        bf16: bool = False,
    ):
        """Keep the model and how to use it.

        Args:
            model: Returns an output with `last_hidden_state`, (batch, seq, dim).
            tokenizer: The model's `transformers` tokenizer.
            pooling: `cls` takes the first position, `mean` averages the positions that are not padding.
            batch_size: Texts per forward pass.
            max_length: Longer texts are cut to this many tokens; by default to what the model takes.
            normalize: Scale every vector to length 1.
            bf16: Run the model under bfloat16 autocast; pooling stays in float32.

        Raises:
            InputError: `pooling` is neither `cls` nor `mean`, or `batch_size` is below 1.
        """
        if pooling not in ("cls", "mean"):
            raise InputError(f"pooling {pooling!r} is unknown; use 'cls' or 'mean'")
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; it must be at least 1")
        self.model = model
        self.tokenizer = tokenizer
        self.pooling = pooling
        self.batch_size = batch_size
        self.max_length = max_length or length_limit(model, tokenizer)
        self.normalize = normalize
        self.bf16 = bf16
        accepted = inspect.signature(model.forward).parameters
        self._takes_language = "language_ids" in accepted
        self._options = {"fuse_words": False} if pooling == "cls" and "fuse_words" in accepted else {}

    @classmethod
    def from_folder(
        cls, path_or_id: str, trust_remote_code: bool = False, device: str | None = None, **options: Any
    ) -> "TextEncoder":
        """Load a saved model and its tokenizer.

        Args:
            path_or_id: A folder or a Hub id.
            trust_remote_code: Run the model code that lies in the folder, as ours needs.
            device: Where to run; by default a GPU where there is one.
            **options: As for the constructor: `pooling`, `batch_size`, ...

        Returns:
            The encoder.

        Raises:
            InputError: There is no such model, or it needs `trust_remote_code`.
        """
        from transformers import AutoModel, AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(path_or_id, trust_remote_code=trust_remote_code)
            model = AutoModel.from_pretrained(path_or_id, trust_remote_code=trust_remote_code)
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"no encoder could be loaded from {str(path_or_id)!r}: {reason}") from error
        return cls(model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")), tokenizer, **options)

    def __call__(self, texts: Sequence[str], language: str | None = None) -> np.ndarray:
        """Encode texts of one language.

        Args:
            texts: One or more texts.
            language: Their language code, such as `de`; None where it is unknown.

        Returns:
            One vector per text, in the same order, (N, dim) float32.

        Raises:
            InputError: `texts` is one string, or empty.
        """
        if isinstance(texts, str) or not len(texts):
            raise InputError(f"texts must be a list of one or more strings, got {texts!r}")
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))  # longest first: memory runs out at once
        batches = [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]
        with torch.inference_mode(), eval_mode(self.model):
            found = [self._encode([texts[i] for i in batch], language) for batch in shown(batches, language)]
        vectors = np.concatenate(found)
        return vectors[np.argsort(order)]

    def blocks(self, texts: Iterable[str], language: str | None = None) -> Iterator[np.ndarray]:
        """Encode any number of texts of one language, `BLOCK` of them at a time.

        Args:
            texts: As many as there are.
            language: As for a call.

        Yields:
            Vectors of up to `BLOCK` texts in the order given (texts, dim), the same whatever came before them.
        """
        remaining = iter(texts)
        while block := list(islice(remaining, BLOCK)):
            yield self(block, language)

    def tokenized(self, texts: list[str]) -> Any:
        """Texts as a batch of token ids, on the model's device."""
        return self.tokenizer(
            texts,
            padding=True,
            padding_side="right",
            truncation=True,
            max_length=self.max_length,
            return_token_type_ids=False,  # one segment, which some models have no word for
            return_tensors="pt",
        ).to(next(self.model.parameters()).device)

    def _encode(self, texts: list[str], language: str | None) -> np.ndarray:
        inputs = self.tokenized(texts)
        states = self.outputs(inputs, language, **self._options).last_hidden_state  # (batch, seq, dim)
        vectors = pool(states.float(), inputs["attention_mask"], self.pooling)
        return (torch.nn.functional.normalize(vectors, dim=-1) if self.normalize else vectors).cpu().numpy()

    def outputs(self, inputs: Mapping[str, Any], language: str | None, **options: Any) -> Any:
        """Run the model on tokenised texts of one language.

        Args:
            inputs: Tensors by name, on the model's device.
            language: Their language code, given to models that take one.
            **options: Further arguments of the model.

        Returns:
            Its output.
        """
        languages = {"language_ids": language} if self._takes_language else {}
        with torch.autocast(inputs["input_ids"].device.type, dtype=torch.bfloat16, enabled=self.bf16):
            return self.model(**inputs, **languages, **options)


class WordEncoder:
    """Encode sentences that are split into words: a word's vector is the mean of its sub-words' states.

    A sentence longer than the model takes goes through it in windows that overlap by a quarter; what lies in two
    counts in both. A word without sub-words, such as a lone control character, has the zero vector.
    """

    def __init__(self, encoder: TextEncoder):
        """Keep the encoder.

        Args:
            encoder: Model, tokenizer and batches; its pooling and `normalize` are not used.
        """
        self.encoder = encoder

    @property
    def layers(self) -> list[int]:
        """The hidden layers that there are, from the embeddings on."""
        config = getattr(self.encoder.model.config, "encoder_config", self.encoder.model.config)
        return list(range(config.num_hidden_layers + 1))

    def __call__(
        self, sentences: Sequence[Sequence[str]], language: str | None = None, layer: int | None = None
    ) -> list[np.ndarray]:
        """Encode sentences of one language.

        Args:
            sentences: One or more lists of words.
            language: Their language code; None where it is unknown.
            layer: Which hidden layer, 0 being the embeddings, negative from the last; the model's final word states,
                fused where it fuses, unless given.

        Returns:
            An array (words, dim) float32 per sentence.

        Raises:
            InputError: There is no sentence, one has no words or is a string, or the model has no such layer.
        """
        if not len(sentences) or not all(len(words) and not isinstance(words, str) for words in sentences):
            raise InputError("sentences must be one or more lists of one or more words")
        tokenizer, batch_size = self.encoder.tokenizer, self.encoder.batch_size
        windows = tokenizer(
            [list(words) for words in sentences],
            is_split_into_words=True,
            truncation=True,
            max_length=self.encoder.max_length,
            stride=self.encoder.max_length // 4,
            return_overflowing_tokens=True,
            return_token_type_ids=False,
        )
        owners = windows.pop("overflow_to_sample_mapping")
        order = sorted(range(len(owners)), key=lambda window: -len(windows["input_ids"][window]))
        sums, counts = [np.float32(0.0)] * len(sentences), [np.float32(0.0)] * len(sentences)
        with torch.inference_mode(), eval_mode(self.encoder.model):
            for start in shown(range(0, len(order), batch_size), language):
                batch = order[start : start + batch_size]
                columns = {name: [rows[window] for window in batch] for name, rows in windows.items()}
                states = self._states(
                    tokenizer.pad(columns, padding_side="right", return_tensors="pt"), language, layer
                )
                for window, rows in zip(batch, states, strict=True):
                    owner = owners[window]
                    total, count = _by_word(rows, windows.word_ids(window), len(sentences[owner]))
                    sums[owner], counts[owner] = sums[owner] + total, counts[owner] + count
        return [total / np.maximum(count, 1) for total, count in zip(sums, counts, strict=True)]

    def _states(self, inputs: Any, language: str | None, layer: int | None) -> np.ndarray:
        """States of a layer (batch, seq, dim)."""
        inputs = inputs.to(next(self.encoder.model.parameters()).device)
        if layer is None:
            return self.encoder.outputs(inputs, language).last_hidden_state.float().cpu().numpy()
        layers = self.encoder.outputs(inputs, language, output_hidden_states=True).hidden_states
        if layers is None or not -len(layers) <= layer < len(layers):
            most = "no hidden layers in common" if layers is None else f"layers 0 to {len(layers) - 1}"
            raise InputError(f"layer {layer} can't be had: the model has {most}")
        return layers[layer].float().cpu().numpy()


def _by_word(states: np.ndarray, words: Sequence[int | None], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Sum of the states (seq, dim) of each word's sub-words (count, dim), and their number (count, 1)."""
    sums, counts = np.zeros((count, states.shape[1]), np.float32), np.zeros((count, 1), np.float32)
    places = [(position, word) for position, word in enumerate(words) if word is not None]
    for position, word in places:
        sums[word] += states[position]
        counts[word] += 1
    return sums, counts


def pool(states: torch.Tensor, attention_mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """Reduce token states (batch, seq, dim) with a mask (batch, seq) to sentence vectors (batch, dim).

    >>> states, mask = torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[1, 1, 0]])
    >>> pool(states, mask, "cls").item(), pool(states, mask, "mean").item()
    (1.0, 2.0)
    """
    if pooling == "cls":
        return states[:, 0]
    weights = attention_mask.unsqueeze(-1).to(states.dtype)  # (batch, seq, 1)
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


@contextmanager
def eval_mode(model: torch.nn.Module) -> Iterator[None]:
    """Put a model into eval mode inside the `with`, and back into the mode that it had.

    Args:
        model: Any module.

    Yields:
        Nothing.
    """
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:  # one by one: parts that were frozen in eval mode stay so
            module.training = True


def length_limit(model: Any, tokenizer: Any) -> int:
    """Return the most tokens, special ones included, that a model and its tokenizer take."""
    limits = (getattr(model.config, "max_position_embeddings", None), longest_text(model, "none"))
    limit = min([tokenizer.model_max_length, *filter(None, limits)])
    return limit if limit < UNLIMITED else 512


def model_digest(model: Any, tokenizer: Any) -> str:
    """Tell models apart by what they compute: weights, config and tokenizer, not by their names.

    Poolers do not count: nothing here reads them, and where a checkpoint has none they are made up anew at each load.

    Args:
        model: A `transformers` model.
        tokenizer: Its tokenizer.

    Returns:
        32 hexadecimal digits.
    """
    digest = hashlib.sha256()
    config = {name: value for name, value in model.config.to_dict().items() if name not in NOT_THE_MODEL}
    digest.update(json.dumps(config, sort_keys=True, default=str).encode())
    digest.update(json.dumps(sorted(tokenizer.get_vocab().items())).encode())
    weights = {name: tensor for name, tensor in model.state_dict().items() if "pooler" not in name.split(".")}
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().data)
    return digest.hexdigest()[:32]
