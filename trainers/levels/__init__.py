"""The losses of the three levels, from one batch (multi_level_alignment.txt, sections 3.2 to 3.5).

Language and sentence level read one forward pass over both sides of the pairs. The word level reads a share of the
pairs: for the word distribution (eq. 13) their words from that same pass, for MLM (eq. 12) a second, masked pass.
"""

from .encoded import EncodedPairs, Step, chosen_losses, encode_pairs, level_of, reads_texts
from .language import LanguageLevel
from .momentum import MomentumContrast
from .sentence import sentence_losses
from .word import WordLevel

__all__ = [
    "EncodedPairs",
    "LanguageLevel",
    "MomentumContrast",
    "Step",
    "WordLevel",
    "chosen_losses",
    "encode_pairs",
    "level_of",
    "reads_texts",
    "sentence_losses",
]
