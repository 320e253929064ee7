"""From texts to labels, and from words to tags, for any fine-tuned classifier that returns `logits`."""

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from xling_align.eval.encoding import eval_mode, length_limit, shown
from xling_align.eval.metrics.entities import entity_types
from xling_align.modeling_xling import InputError

READ = ("input_ids", "token_type_ids")  # what a model may read of what a tokenizer gives, besides the mask


class _Predictor:
    """A fine-tuned model, its tokenizer, and the batches that go from one to the other.

    The language reaches the model only where its `forward` has a parameter `language_ids` and its config does not say
    that it knows no language. Texts of similar length share a batch. The model is in eval mode meanwhile and is handed
    back in the mode it had.
    """

    def __init__(
        self, model: Any, tokenizer: Any, batch_size: int = 128, max_length: int | None = None, bf16: bool = False
    ):
        """Keep the model and how to use it.

        Args:
            model: Returns an output with `logits`; `config.id2label` names them.
            tokenizer: The model's fast `transformers` tokenizer.
            batch_size: Texts per forward pass.
            max_length: Longest text in tokens; by default what the model takes.
            bf16: Run the model under bfloat16 autocast.

        Raises:
            InputError: `batch_size` is below 1.
        """
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; it must be at least 1")
        self.model = model
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.max_length = max_length or length_limit(model, tokenizer)
        self.bf16 = bf16
        self.labels: list[str] = [model.config.id2label[row] for row in range(len(model.config.id2label))]
        self._accepted = inspect.signature(model.forward).parameters
        self._takes_language = "language_ids" in self._accepted and getattr(model.config, "languages", None) != []

    def _best(self, tokenized: Any, language: str | None) -> Iterator[tuple[int, Any]]:
        """Give the number of each text and the row of its best label, or for a tagger one row per token."""
        columns = {name: tokenized[name] for name in READ if name in tokenized and name in self._accepted}
        ids = columns["input_ids"]
        order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))  # longest first: memory runs out at once
        with torch.inference_mode(), eval_mode(self.model):
            for start in shown(range(0, len(order), self.batch_size), language):
                batch = order[start : start + self.batch_size]
                best = self._logits({name: [rows[i] for i in batch] for name, rows in columns.items()}, language)
                yield from zip(batch, best.argmax(-1).tolist(), strict=True)

    def _logits(self, columns: dict[str, list[list[int]]], language: str | None) -> Tensor:
        device = next(self.model.parameters()).device
        padding = {"input_ids": self.tokenizer.pad_token_id}
        inputs = {name: _padded(rows, padding.get(name, 0)).to(device) for name, rows in columns.items()}
        mask = _padded([[1] * len(row) for row in columns["input_ids"]], 0).to(device)
        languages = {"language_ids": language} if self._takes_language else {}
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.bf16):
            return self.model(**inputs, attention_mask=mask, **languages).logits


class PairClassifier(_Predictor):
    """Label pairs of texts, or single texts, with a sequence classifier."""

    def __call__(
        self, first_texts: Sequence[str], second_texts: Sequence[str] | None = None, language: str | None = None
    ) -> list[str]:
        """Classify texts of one language.

        Args:
            first_texts: One or more texts; too long ones are cut, of a pair the longer side first.
            second_texts: The other half of each pair; None for a classifier of single texts.
            language: Their language code, such as `de`; None where it is unknown.

        Returns:
            One label per text or pair, in the same order.

        Raises:
            InputError: A side is one string, there is no text, or the sides differ in number.
        """
        for texts in (first_texts, second_texts):
            if (
                isinstance(texts, str)
                or (texts is not None and len(texts) != len(first_texts))
                or not len(first_texts)
            ):
                raise InputError(
                    f"texts must be lists of one or more strings, as many on both sides; got {texts!r:.80}"
                )
        second = None if second_texts is None else list(second_texts)
        tokenized = self.tokenizer(list(first_texts), second, truncation=True, max_length=self.max_length)
        best = dict(self._best(tokenized, language))
        return [self.labels[best[i]] for i in range(len(first_texts))]


class Tagger(_Predictor):
    """Tag words with a token classifier: a word's tag is that of its first sub-word.

    A sentence longer than the model takes goes through it in windows that overlap by a quarter. A word that the
    tokenizer drops, such as a lone control character, is tagged `O`.
    """

    @property
    def types(self) -> list[str]:
        """The entity types that the model was trained on."""
        return entity_types([self.labels])

    def __call__(self, sentences: Sequence[Sequence[str]], language: str | None = None) -> list[list[str]]:
        """Tag sentences of one language.

        Args:
            sentences: One or more lists of words.
            language: Their language code, such as `de`; None where it is unknown.

        Returns:
            One tag per word, in the same order.

        Raises:
            InputError: There is no sentence, one has no words, or one is a string.
        """
        if not len(sentences) or not all(len(words) and not isinstance(words, str) for words in sentences):
            raise InputError("sentences must be one or more lists of one or more words")
        windows = self.tokenizer(
            [list(words) for words in sentences],
            is_split_into_words=True,
            truncation=True,
            max_length=self.max_length,
            stride=self.max_length // 4,
            return_overflowing_tokens=True,
        )
        places = first_subwords(windows)
        tags = [["O"] * len(words) for words in sentences]
        for window, best in self._best(windows, language):
            for sentence, word, position in places[window]:
                tags[sentence][word] = self.labels[best[position]]
        return tags


def first_subwords(windows: Any) -> list[list[tuple[int, int, int]]]:
    """Find where the words of tokenised sentences begin.

    Args:
        windows: What a fast tokenizer gives for lists of words with `return_overflowing_tokens`.

    Returns:
        Per window (sentence, word, position) of each word that begins there; a word in two windows counts in the
        first.
    """
    places, last = [], {}
    for window, sentence in enumerate(windows["overflow_to_sample_mapping"]):
        places.append([])
        for position, word in enumerate(windows.word_ids(window)):
            if word is not None and word > last.get(sentence, -1):
                places[-1].append((sentence, word, position))
                last[sentence] = word
    return places


def _padded(rows: list[list[int]], value: int) -> Tensor:
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)
