"""Text of two made-up languages that share nothing but names, which one of them writes in Cyrillic."""

from itertools import product

import numpy as np

SYLLABLES = [first + last for first in "zrlv" for last in "aio"]
NAMES = ["".join(parts) for parts in product(SYLLABLES, repeat=3)][::3]
CYRILLIC = str.maketrans("zrlvaio", "зрлваио")


def lexicon() -> dict[str, str]:
    """Words of one language and what they are in the other; names last."""
    own = ["".join(parts) for parts in product(["ba", "de", "gu", "ke", "ne", "bu", "da", "ga", "ku"], repeat=3)]
    other = ["".join(parts) for parts in product(["pi", "to", "sy", "mi", "ty", "po", "si", "my", "pef"], repeat=3)]
    return dict(zip(own, other, strict=True)) | {name: name.translate(CYRILLIC) for name in NAMES}


def texts(size: int, hidden: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Sentences of both languages; the first `hidden` of the one are translations of those of the other."""
    generator, words = np.random.default_rng(seed), lexicon()
    plain = [word for word in words if word not in NAMES]
    chances = 1 / np.arange(3, len(plain) + 3)
    sides: tuple[list[str], list[str]] = ([], [])
    for row in range(2 * size - hidden):
        drawn = [
            *generator.choice(plain, 7, p=chances / chances.sum()),
            *generator.choice(NAMES, generator.integers(3)),
        ]
        if row < size:
            sides[0].append(" ".join(drawn))
        if row < hidden or row >= size:
            sides[1].append(" ".join(words[word] for word in generator.permutation(drawn)))
    return sides
