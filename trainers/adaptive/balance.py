"""How the losses of several levels become one: by learned uncertainties, or by fixed weights."""

import torch
from torch import Tensor, nn

from ..arguments import XLingAlignTrainingArguments
from ..levels import level_of

LIMIT = 5.0  # of a log-variance, either way


def balance_groups(losses: list[str], args: XLingAlignTrainingArguments) -> dict[str, str]:
    """Which log-variance weighs which loss.

    A loss with a fixed weight has none, nor has an adversary's: the encoder's share of a min-max term is negative, and
    a learned weight would grow without bound. One loss alone needs no balance.

    Args:
        losses: Those that are on.
        args: `balance`, `loss_weights`, `language_loss`.

    Returns:
        The log-variance's name, by loss.
    """
    if args.balance == "fixed" or len(losses) == 1:
        return {}
    fixed = set(args.loss_weights or ())
    if args.language_loss == "gradient_reversal":
        fixed.add("language")
    return {loss: loss if args.balance == "loss" else level_of(loss) for loss in losses if loss not in fixed}


class LossBalance(nn.Module):
    """Sum of exp(-s) L + s/2, one log-variance s for each loss or each level (multi_level_alignment.txt eq. 15).

    Each s starts at log 2L of the first batch whose loss is not zero: its gradient is zero there, and from 0 it would
    take thousands of steps to get there. After every step `clamp` projects it to [-5, 5]; a clamp inside `forward`
    would have no gradient beyond the border.

    Args:
        groups: Which log-variance each loss shares, by name; losses that are not named have a fixed weight.
        weights: Fixed weights by name; 1 unless given.
    """

    started: Tensor

    def __init__(self, groups: dict[str, str], weights: dict[str, float] | None = None):
        super().__init__()
        self.groups, self.weights = groups, weights or {}
        self.names = sorted(set(groups.values()))
        self.log_variance = nn.Parameter(torch.zeros(len(self.names)), requires_grad=bool(self.names))
        self.register_buffer("started", torch.zeros(len(self.names), dtype=torch.bool))

    def weight(self, name: str) -> Tensor | float:
        """What a loss is multiplied by; carries no gradient."""
        if name not in self.groups:
            return self.weights.get(name, 1.0)
        return torch.exp(-self.log_variance[self.names.index(self.groups[name])]).detach()

    def forward(self, losses: dict[str, Tensor]) -> Tensor:
        """Combine.

        Args:
            losses: Scalars by name.

        Returns:
            A scalar.
        """
        fixed = [self.weights.get(name, 1.0) * loss for name, loss in losses.items() if name not in self.groups]
        summed: dict[str, Tensor] = {}
        for name, loss in losses.items():
            if name in self.groups:
                group = self.groups[name]
                summed[group] = summed[group] + loss if group in summed else loss
        learned = []
        for group, loss in summed.items():
            log_variance = self.log_variance[self.names.index(group)]
            learned.append(torch.exp(-log_variance) * loss + log_variance / 2)
        return torch.stack([torch.as_tensor(part) for part in fixed + learned]).sum()

    @torch.no_grad()
    def start(self, losses: dict[str, Tensor]) -> None:
        """Start each log-variance at the log of twice its loss, once; a loss of zero says nothing yet.

        Args:
            losses: Scalars by name, the same on all processes.
        """
        if self.started.all():
            return
        for row, group in enumerate(self.names):
            total = torch.as_tensor(sum(loss for name, loss in losses.items() if self.groups.get(name) == group))
            if total > 0 and not self.started[row]:
                self.log_variance[row] = torch.log(2 * total.float()).clamp(-LIMIT, LIMIT)
                self.started[row] = True

    @torch.no_grad()
    def clamp(self) -> None:
        """Project the log-variances to their limits, after a step."""
        self.log_variance.clamp_(-LIMIT, LIMIT)
