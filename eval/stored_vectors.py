"""Vectors that are kept on disk, so that tasks share them and nothing is encoded twice."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from xling_align.eval.encoding import TextEncoder

NOT_THE_MODEL = ("_name_or_path", "transformers_version", "auto_map", "architectures", "dtype")


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
