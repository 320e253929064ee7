"""Language level: states that hide their language from a discriminator (eq. 1)."""

from collections.abc import Callable

import torch
from accelerate.state import GradientState
from torch import Tensor, nn
from torch.func import functional_call

from xling_align.modeling_xling import XLingAlignForPreTraining

from ..arguments import XLingAlignTrainingArguments
from ..distributed import gather, process_count, sum_over_processes
from ..objectives import (
    binary_language_logits,
    language_confusion,
    language_cross_entropy,
    reversal_strength,
)
from .encoded import Step

Head = Callable[[Tensor, float], Tensor]


def with_weights(module: nn.Module, weights: dict[str, Tensor]) -> Head:
    """A module with other weights in the place of its own."""
    return lambda *args: functional_call(module, weights, args)


class LanguageLevel:
    """The adversary in three forms.

    `gradient_reversal`: the discriminator learns to tell the language, and what goes back to the encoder is turned
    round, ever stronger. `confusion`: the encoder's own loss is the distance of the discriminator's verdict from
    uniform. `alternating`: the same, and the discriminator takes its step first, by an optimiser of its own (Keung et
    al. 2019). Without a language token, sentence vectors take the place of the language states.

    Args:
        args: `language_loss`, `language_labels`, `discriminator_learning_rate`.
        model: Holds the discriminator.
        progress: Gives the share of the training that is done.
        schedule: Gives the share of its peak that the learning rate has.

    Attributes:
        parts: Of the last batch, what the discriminator and what the encoder were asked apart from each other:
            `discriminator`, its cross-entropy, and `confusion`; nothing where both are one loss.
    """

    def __init__(
        self,
        args: XLingAlignTrainingArguments,
        model: XLingAlignForPreTraining,
        progress: Callable[[], float],
        schedule: Callable[[], float] = lambda: 1.0,
    ):
        config = model.config
        self.args, self.progress, self.schedule = args, progress, schedule
        self.discriminator = model.discriminator
        self.reads_sentences = config.language_token == "none"
        self.source = config.language_id(config.source_language)
        self.columns = 2 if args.language_labels == "source" else len(config.languages) + 1
        self.own_optimizer, self.parts = None, dict[str, Tensor]()
        if args.language_loss == "alternating":
            self.own_optimizer = torch.optim.Adam(self.discriminator.parameters(), lr=args.discriminator_learning_rate)

    def logits(self, head: Head, states: Tensor, reversal: float) -> Tensor:
        """Logits (rows, columns) of all languages, or of the source and of any other."""
        every = head(states.float(), reversal)
        return binary_language_logits(every, self.source) if self.args.language_labels == "source" else every

    def __call__(self, step: Step) -> Tensor:
        """The loss of one batch, a scalar."""
        states = step.encoded.pooler_output if self.reads_sentences else step.encoded.language_state
        labels = step.inputs["language_ids"]
        if self.args.language_labels == "source":
            labels = (labels != self.source).long()
        if self.args.language_loss == "gradient_reversal":
            strength = reversal_strength(self.progress())
            return language_cross_entropy(self.logits(self.discriminator, states, strength), labels)
        found = torch.zeros((), device=states.device)
        if self.own_optimizer is None:
            found = language_cross_entropy(self.logits(self.discriminator, states.detach(), 0.0), labels)
            self.parts["discriminator"] = found.detach()
        elif step.model.training:
            self.parts["discriminator"] = self.learn(states.detach(), labels)
        weights = {name: parameter.detach() for name, parameter in self.discriminator.named_parameters()}
        verdict = self.logits(with_weights(self.discriminator, weights), states, -1.0)  # the gradient as it is
        seen = torch.zeros(self.columns, dtype=torch.bool, device=states.device)
        seen[gather(labels)] = True  # in the batches of all processes
        confusion = language_confusion(verdict, seen)
        self.parts["confusion"] = confusion.detach()
        return found + confusion

    def learn(self, states: Tensor, labels: Tensor) -> Tensor:
        """The discriminator's own part (the max of eq. 1), by the mean gradient of all processes.

        Over several batches to a step of the encoder, it steps once, in the last of them and by the gradients of all.

        Args:
            states: Without a gradient (rows, dim).
            labels: What is to be told (rows,).

        Returns:
            Its loss in this batch.
        """
        parameters = dict(self.discriminator.named_parameters())
        weights = {name: parameter.detach().requires_grad_() for name, parameter in parameters.items()}
        loss = language_cross_entropy(self.logits(with_weights(self.discriminator, weights), states, 0.0), labels)
        gradients = torch.autograd.grad(loss, list(weights.values()))
        for parameter, gradient in zip(parameters.values(), gradients, strict=True):
            mean = sum_over_processes(gradient.contiguous()) / process_count() / self.args.gradient_accumulation_steps
            parameter.grad = mean if parameter.grad is None else parameter.grad + mean
        if GradientState().sync_gradients:
            optimizer: torch.optim.Optimizer = self.own_optimizer  # pyright: ignore[reportAssignmentType]
            for group in optimizer.param_groups:
                group["lr"] = self.args.discriminator_learning_rate * self.schedule()
            optimizer.step()
            optimizer.zero_grad()
        return loss.detach()
