"""Temperature of the contrastive loss, fixed or following the training (section 2.3 of the adaptive framework)."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from .arguments import AdaptiveArguments
from .similarities import BatchSimilarities

DECAY = 0.99  # of the running gap
SIGMOID_BIAS = -10.0  # where SigLIP starts: its many negatives are all but settled (Zhai et al. 2023, section 3.2)
HARDEST = 4  # negatives of each text that the gap looks at


class Temperature(nn.Module):
    """tau, by name of the policy.

    - `fixed`: `tau`.
    - `learnable`: exp(-s) with s learned from `tau`, as CLIP's logit scale, kept between `tau_min` and `tau_max`.
    - `cosine`: tau_min + (tau_max - tau_min) (1 + cos(pi p)) / 2 with p the share of training that is done (Kukleva et
      al. 2023, over one half period).
    - `macl`: tau (1 + alpha A), A the batch's mean positive cosine (Huang et al. 2023, with A_0 = 0); the loss is
      reweighted as well.
    - `dynamic` (ours): clip(base (1 + alpha (EMA(gap) - gap_0)), tau_min, tau_max), base that of `cosine`, gap the
      mean positive cosine less that of the hardest 4 negatives, gap_0 that of the first batch.

    Args:
        args: `temperature`, `tau_min`, `tau_max`, `tau_alpha`.
        tau: Where `fixed`, `learnable` and `macl` start.
        progress: Gives the share of the training that is done.
        biased: Whether the loss has a bias, as SigLIP's. It starts at -10, and is learned where tau is.

    Attributes:
        bias: That of the loss.
    """

    alignment: Tensor
    gap: Tensor
    first_gap: Tensor
    started: Tensor

    def __init__(self, args: AdaptiveArguments, tau: float, progress: Callable[[], float], biased: bool = False):
        super().__init__()
        self.args, self.start, self.progress = args, tau, progress
        self.policy = args.temperature
        learned = self.policy == "learnable"
        self.logit_scale = nn.Parameter(torch.tensor(-math.log(tau))) if learned else None
        bias = torch.tensor(SIGMOID_BIAS)
        self.bias = nn.Parameter(bias) if learned and biased else bias
        for name in ("alignment", "gap", "first_gap"):
            self.register_buffer(name, torch.tensor(0.0))
        self.register_buffer("started", torch.tensor(False))

    @property
    def reads_batches(self) -> bool:
        """Whether `update` changes anything."""
        return self.policy in ("macl", "dynamic")

    @torch.no_grad()
    def update(self, batch: BatchSimilarities) -> None:
        """Follow a batch; the same on all processes."""
        self.alignment.copy_(batch.mean_positive())
        gap = batch.gap(HARDEST)
        if not self.started:
            self.first_gap.copy_(gap)
            self.gap.copy_(gap)
            self.started.fill_(True)
        self.gap.mul_(DECAY).add_((1 - DECAY) * gap)

    def forward(self) -> float | Tensor:
        """The temperature; a tensor with a gradient if it is learned."""
        least, most = self.args.tau_min, self.args.tau_max
        if self.logit_scale is not None:
            return torch.exp(-self.logit_scale)
        if self.policy == "fixed":
            return self.start
        if self.policy == "macl":
            return self.start * (1 + self.args.tau_alpha * float(self.alignment))
        base = least + (most - least) * (1 + math.cos(math.pi * self.progress())) / 2
        if self.policy == "cosine" or not self.started:
            return base
        return min(max(base * (1 + self.args.tau_alpha * float(self.gap - self.first_gap)), least), most)

    @torch.no_grad()
    def clamp(self) -> None:
        """Project a learned temperature to its limits, after a step."""
        if self.logit_scale is not None:
            self.logit_scale.clamp_(-math.log(self.args.tau_max), -math.log(self.args.tau_min))
