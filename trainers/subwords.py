"""Word embeddings that share what their spellings share, while they are trained (ours)."""

from collections import Counter
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from xling_align.modeling_xling import InputError, XLingAlignModel

LONGEST = 5  # characters of an n-gram


def romanized(piece: str) -> str:
    """A piece in Latin letters without accents, lower case; its mark of a leading space stays.

    >>> romanized("▁Кенгуру")
    '▁kenguru'
    """
    from anyascii import anyascii

    return "▁".join(anyascii(part).lower() for part in piece.split("▁"))


def ngrams(piece: str) -> list[str]:
    """The distinct character n-grams of a piece as it is written and as it is romanised, itself left out.

    >>> ngrams("▁до")
    ['d', 'do', 'o', '▁', '▁d', '▁do', '▁д', 'д', 'до', 'о']
    """
    spellings = {piece, romanized(piece)}
    parts = {
        spelled[start : start + size]
        for spelled in spellings
        for size in range(1, LONGEST + 1)
        for start in range(len(spelled) - size + 1)
    }
    return sorted(parts - {piece})


class SharedSubwords(nn.Module):
    """A table of word embeddings plus, for each piece, the sum of its n-grams' vectors over the root of their number.

    Only n-grams of two or more pieces count. Their vectors start at zero, so that nothing changes at first. A rare
    piece then learns with the frequent ones that are spelled alike, as in fastText (Bojanowski et al. 2017), and, by
    way of the romanised n-grams, with those that sound alike in another script. `folded` gives the plain table that
    says the same.

    Args:
        own: The table that is there.
        pieces: How each row is spelled; an empty text stands for a special token, which has no n-grams.
    """

    ids: Tensor
    ends: Tensor

    def __init__(self, own: nn.Embedding, pieces: list[str]):
        super().__init__()
        uses = Counter(part for piece in pieces for part in ngrams(piece))
        rows, flat, ends = {}, [], [0]
        for piece in pieces:
            flat.extend(rows.setdefault(part, len(rows)) for part in ngrams(piece) if uses[part] > 1)
            ends.append(len(flat))
        self.own = own
        self.ngrams = nn.Parameter(own.weight.new_zeros(max(len(rows), 1), own.embedding_dim))
        self.register_buffer("ids", torch.tensor(flat, dtype=torch.long, device=own.weight.device), persistent=False)
        self.register_buffer("ends", torch.tensor(ends, device=own.weight.device), persistent=False)

    @property
    def weight(self) -> Tensor:
        """The table without the n-grams (pieces, dim)."""
        return self.own.weight

    @property
    def embedding_dim(self) -> int:
        """Size of a vector."""
        return self.own.embedding_dim

    def shared(self, pieces: Tensor) -> Tensor:
        """What the n-grams of pieces (P,) add (P, dim)."""
        starts, ends = self.ends[pieces], self.ends[pieces + 1]
        counts = ends - starts
        offsets = counts.cumsum(0) - counts
        places = torch.arange(int(counts.sum()), device=pieces.device) + (starts - offsets).repeat_interleave(counts)
        total = nn.functional.embedding_bag(self.ids[places], self.ngrams, offsets, mode="sum")
        return total / counts.clamp(min=1).sqrt().unsqueeze(1)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Embeddings (batch, words, dim) of ids (batch, words)."""
        distinct, places = input_ids.unique(return_inverse=True)
        return self.own(input_ids) + self.shared(distinct)[places]

    @torch.no_grad()
    def folded(self) -> Tensor:
        """The plain table (pieces, dim) that gives the same embeddings."""
        return self.own.weight + self.shared(torch.arange(len(self.own.weight), device=self.own.weight.device))


def share_subwords(model: XLingAlignModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Let the model's word embeddings share their n-grams in training; `XLingAlignTrainer` saves them folded.

    Args:
        model: Changed in place.
        tokenizer: Tells how each piece is spelled.

    Raises:
        InputError: anyascii is not installed.
    """
    if not find_spec("anyascii"):
        raise InputError('sharing sub-words needs anyascii: pip install "xling-align[subwords]"')
    table = model.get_input_embeddings()
    special = set(tokenizer.all_special_ids)
    spelled = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    pieces = ["" if row in special else piece for row, piece in enumerate(spelled)]
    pieces += [""] * (table.num_embeddings - len(pieces))
    model.set_input_embeddings(SharedSubwords(table, pieces))
