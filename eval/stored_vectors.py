"""Vectors that are kept on disk, so that tasks share them and nothing is encoded twice."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import numpy as np

from xling_align.eval.encoding import TextEncoder


class StoredVectors:
    """Encode texts, or read their vectors where the same model has encoded the same list of texts before.

    A list's file is named by the digest of everything that its vectors depend on: weights, config, tokenizer, pooling,
    precision, longest text, language and texts. Called like a `TextEncoder`.
    """

    def __init__(self, encoder: TextEncoder, folder: Path, digest: str):
        """Keep the encoder and where its vectors go.

        Args:
            encoder: What encodes.
            folder: Where the vectors are; made where it is not there.
            digest: As `model_digest` gives it for the encoder's model and tokenizer.
        """
        self.encoder, self.folder, self.digest = encoder, folder, digest
        folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, texts: Sequence[str], language: str | None = None) -> np.ndarray:
        """Encode or read.

        Args:
            texts: As a `TextEncoder` takes them.
            language: As a `TextEncoder` takes it.

        Returns:
            Vectors (N, dim) float32, equal whether they were encoded or read.
        """
        path = self.folder / f"{self._name(texts, language)}.npy"
        if not path.exists():
            partial = path.with_suffix(f".{uuid4().hex}.partial")  # another command may be at the same texts
            with partial.open("wb") as stream:
                np.save(stream, self.encoder(texts, language=language))
            partial.replace(path)
        return np.load(path)

    def _name(self, texts: Sequence[str], language: str | None) -> str:
        encoder = self.encoder
        options = (encoder.pooling, encoder.normalize, encoder.bf16, encoder.max_length)
        return hashlib.sha256(json.dumps([self.digest, options, language, list(texts)]).encode()).hexdigest()[:32]
