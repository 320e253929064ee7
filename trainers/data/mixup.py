"""Mixup contrast (InfoXLM, Chi et al. 2021): two pairs joined to one, their order giving nothing away."""

import torch

Ids = list[int]


def mix_pairs(
    first: tuple[Ids, Ids], second: tuple[Ids, Ids], generator: torch.Generator, cls: int | None = None
) -> tuple[Ids, Ids]:
    """Join two translation pairs, side by side, in one of 8 ways drawn at random.

    Each side's order is drawn on its own, and then which side comes first.

    Args:
        first: Token ids of a source and of its translation, with their special tokens.
        second: The same of another pair.
        generator: Draws one number.
        cls: Id that starts a text, left out in the middle: `<s> a </s> b </s>`.

    Returns:
        Token ids of two texts that mean the same.

    Example:
        >>> mix_pairs(([0, 5, 2], [0, 15, 2]), ([0, 6, 2], [0, 16, 2]), torch.Generator().manual_seed(1), cls=0)
        ([0, 6, 2, 5, 2], [0, 16, 2, 15, 2])
    """
    flip_source, flip_target, swap = torch.randint(2, (3,), generator=generator).tolist()
    sides = [_join(first[side], second[side], flip, cls) for side, flip in enumerate((flip_source, flip_target))]
    return (sides[1], sides[0]) if swap else (sides[0], sides[1])


def _join(one: Ids, other: Ids, flip: int, cls: int | None) -> Ids:
    """One text after the other, which loses its leading `cls`."""
    if flip:
        one, other = other, one
    return one + (other[1:] if other and other[0] == cls else other)
