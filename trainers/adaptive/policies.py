"""The policies that look at each batch before its losses are computed: pair weights, temperature, regulariser."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..arguments import XLingAlignTrainingArguments
from .confidence import PairConfidence
from .regulariser import AlignmentRegulariser
from .similarities import BatchSimilarities
from .temperature import Temperature

if TYPE_CHECKING:
    from ..levels.encoded import Step


class Policies:
    """Those that are on.

    Args:
        args: Which they are, and their settings.
        languages: Rows of the language table.
        progress: Gives the share of the training that is done.
    """

    def __init__(self, args: XLingAlignTrainingArguments, languages: int, progress: Callable[[], float]):
        self.temperature = Temperature(args, args.tau, progress, args.inter_loss == "sigmoid").to(args.device)
        weighted = args.pair_weights != "fixed"
        self.confidence = PairConfidence(args, languages, progress) if weighted else None
        self.regulariser = AlignmentRegulariser(args) if args.alignment_regulariser else None

    def observe(self, step: "Step") -> dict[str, Tensor]:
        """Follow a batch, and weigh its pairs.

        Args:
            step: The batch; its `weights` are set.

        Returns:
            What is logged, scalars by name.
        """
        if not self.with_state():
            return {}
        batch = BatchSimilarities.of(step.pairs)
        if self.temperature.reads_batches:
            self.temperature.update(batch)
        if self.regulariser is not None:
            self.regulariser.update(batch)
        return {} if self.confidence is None else self.confidence.update(step, batch)

    def trust(self, languages: Iterable[int]) -> None:
        """Give every pair of these languages, by their rows, the weight 1."""
        if self.confidence is not None:
            self.confidence.trusted[list(languages)] = True

    def figures(self) -> dict[str, float | Tensor]:
        """What is logged of the temperature and the regulariser, where they change."""
        changing = {} if self.temperature.policy == "fixed" else {"tau": self.temperature()}
        return changing if self.regulariser is None else changing | {"alignment_strength": self.regulariser.strength}

    def with_state(self) -> dict[str, Any]:
        """Those whose state a checkpoint keeps besides the model's, by name."""
        found: dict[str, Any] = {"temperature": self.temperature} if self.temperature.reads_batches else {}
        if self.confidence is not None:
            found["confidence"] = self.confidence
        if self.regulariser is not None:
            found["regulariser"] = self.regulariser
        return found
