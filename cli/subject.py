"""What is measured, and how: a model with its vectors, a task's data, and the settings that all tasks share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from xling_align.eval.encoding import TextEncoder


@dataclass(frozen=True)
class Setting:
    """How tasks are run.

    Attributes:
        data_dir: The folder that holds the tasks' data.
        languages: Codes of the languages to measure, beside English; all that have data unless given.
        dev: Use development sets, while settings are chosen; XNLI's stand in for Tatoeba, which has none.
        limit: Score the first so many rows of each language in the tasks that are slow; all unless given.
        train_limit: Fine-tune on the first so many rows; all unless given.
        seed: Of fine-tuning.
        label_prompts: File with the descriptions of labels; English ones made of the labels unless given.
        tuning: Arguments of fine-tuning by training, where they differ from those of `tuning.TRAININGS`.
        oracle: Measure after every epoch, to say what choosing it on the test sets would have given.
    """

    data_dir: str
    languages: list[str] | None = None
    dev: bool = False
    limit: int | None = None
    train_limit: int | None = None
    seed: int = 0
    label_prompts: str | None = None
    tuning: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    oracle: bool = False

    @property
    def split(self) -> str:
        """Which part of a task's data is scored."""
        return "dev" if self.dev else "test"

    def wants(self, name: str) -> bool:
        """Whether a language, or a pair of languages such as `ar-en`, is to be measured."""
        wanted = [*(self.languages or ()), "en"]
        return self.languages is None or name in wanted or all(code in wanted for code in name.split("-"))


class Subject:
    """One model to measure.

    Args:
        path: Folder or Hub id.
        vectors: Where its vectors are kept; nowhere unless given.
    """

    def __init__(self, path: str, vectors: Path | None = None):
        self.path, self.vectors = path, vectors

    @cached_property
    def encoder(self) -> "TextEncoder":
        """The model ready to encode."""
        from xling_align.cli.models import text_encoder

        return text_encoder(self.path)

    @cached_property
    def digest(self) -> str:
        """What tells the model from others, whatever it is called."""
        from xling_align.eval.encoding import model_digest

        return model_digest(self.encoder.model, self.encoder.tokenizer)

    @cached_property
    def languages(self) -> list[str]:
        """Codes that the model can be told; none of a plain encoder."""
        return list(getattr(self.encoder.model.config, "languages", None) or ())

    def code(self, language: str | None) -> str | None:
        """The language as the model may be told it: None where it does not know it."""
        return language if language in self.languages else None

    @cached_property
    def _encode(self) -> Callable[..., Any]:
        from xling_align.eval.stored_vectors import StoredVectors

        return StoredVectors(self.encoder, self.vectors, self.digest) if self.vectors else self.encoder

    def encode(self, texts: Sequence[str], language: str | None = None) -> Any:
        """Vectors of texts (N, dim)."""
        return self._encode(texts, language=self.code(language))

    def encode_untold(self, texts: Sequence[str], language: str | None = None) -> Any:
        """Vectors of texts (N, dim), their language kept from the model."""
        return self._encode(texts, language=None)

    def encode_words(self, sentences: Any, language: str | None = None, layer: int | None = None) -> Any:
        """States of the words of sentences, (words, dim) each."""
        from xling_align.eval.encoding import WordEncoder

        return WordEncoder(self.encoder)(sentences, language=self.code(language), layer=layer)


class Data(NamedTuple):
    """What a task is scored on, by language, and what else it needs, such as training texts or development sets."""

    tests: dict[str, Any]
    more: Any = None
