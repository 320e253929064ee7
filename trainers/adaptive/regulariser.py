"""A pull on translations that fades as they come near each other (section 2.3 of the adaptive framework)."""

from torch import Tensor
from torch.nn.functional import cosine_similarity

from ..objectives.pair_vectors import PairVectors
from .arguments import AdaptiveArguments
from .similarities import BatchSimilarities

DECAY = 0.99  # of the running cosine


class AlignmentRegulariser:
    """lambda_t mean(1 - cos(x_i, y_i)), lambda_t = lambda_0 (1 - EMA(mean positive cosine))^gamma (the form is ours).

    The running cosine starts at the first batch's; below 0 it counts as 0.

    Args:
        args: `alignment_regulariser` (lambda_0), `alignment_gamma`.
    """

    def __init__(self, args: AdaptiveArguments):
        self.args = args
        self.cosine: float | None = None

    def update(self, batch: BatchSimilarities) -> None:
        """Follow a batch; the same on all processes."""
        cosine = float(batch.mean_positive())
        self.cosine = cosine if self.cosine is None else DECAY * self.cosine + (1 - DECAY) * cosine

    @property
    def strength(self) -> float:
        """lambda_t."""
        distance = 1 - min(max(self.cosine or 0.0, 0.0), 1.0)
        return self.args.alignment_regulariser * distance**self.args.alignment_gamma

    def __call__(self, pairs: PairVectors) -> Tensor:
        """The term of one batch, a scalar in fp32."""
        cosine = cosine_similarity(pairs.source.float(), pairs.target.float(), dim=1)
        return self.strength * pairs.mean(1 - cosine)

    def state_dict(self) -> dict[str, float | None]:
        """The running cosine; None before the first batch."""
        return {"cosine": self.cosine}

    def load_state_dict(self, state: dict[str, float | None]) -> None:
        """Go on from a state."""
        self.cosine = state["cosine"]
