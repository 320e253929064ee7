"""Peak memory and seconds of the losses over a vocabulary, against their naive forms.

A step is forward and backward, at XLM-R's vocabulary and width, of the largest batch whose naive form stays within a
budget. The peak is that of the bytes that torch's allocator holds at once (torch.profiler, exact to the byte; what a
matrix product takes inside for packing is in neither figure). Weights, their gradients and their bf16 copies are not
counted, on either side. For seconds the two forms alternate over rounds; the medians are compared.

    python benchmarks/vocabulary_losses.py
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div

from xling_align.eval.encoding import has_fast_bf16
from xling_align.trainers.objectives import masked_lm, word_distribution

GIB = 2**30
ALPHA = 1e-5
WORDS = 12  # to be predicted by a sentence


@dataclass
class Batch:
    """States (rows, dim), and the tokens that each row is to predict, flat."""

    states: Tensor
    tokens: Tensor
    token_rows: Tensor


Loss = Callable[[Batch, nn.Linear], Tensor]


def naive_masked_lm(batch: Batch, decoder: nn.Linear) -> Tensor:
    """Cross-entropy of all logits at once."""
    return cross_entropy(decoder(batch.states).float(), batch.tokens[: len(batch.states)])


def chunked_masked_lm(batch: Batch, decoder: nn.Linear) -> Tensor:
    """Ours."""
    return masked_lm(batch.states, decoder, batch.tokens[: len(batch.states)])


def naive_word_distribution(batch: Batch, decoder: nn.Linear) -> Tensor:
    """KL divergence between dense matrices (rows, vocab)."""
    log_q = decoder(batch.states).float().log_softmax(1)
    target = torch.full_like(log_q, ALPHA, requires_grad=False)
    at = batch.token_rows, batch.tokens
    target.index_put_(at, torch.ones(len(batch.tokens)), accumulate=True)
    target /= target.sum(1, keepdim=True)
    return kl_div(log_q, target, reduction="batchmean")


def chunked_word_distribution(batch: Batch, decoder: nn.Linear) -> Tensor:
    """Ours."""
    return word_distribution(batch.states, decoder, batch.tokens, batch.token_rows, ALPHA)


LOSSES: dict[str, tuple[Loss, Loss]] = {
    "masked_lm": (naive_masked_lm, chunked_masked_lm),
    "word_distribution": (naive_word_distribution, chunked_word_distribution),
}


@dataclass
class Measured:
    """Of both forms, naive first: bytes at the peak, median seconds of a step, value of the loss."""

    rows: int
    peaks: tuple[int, int]
    seconds: tuple[float, float]
    values: tuple[float, float]

    @property
    def memory_ratio(self) -> float:
        """Ours over naive."""
        return self.peaks[1] / self.peaks[0]

    @property
    def time_ratio(self) -> float:
        """Ours over naive."""
        return self.seconds[1] / self.seconds[0]


def make_batch(rows: int, decoder: nn.Linear) -> Batch:
    """Random states (rows, dim), with WORDS tokens to predict for each."""
    generator = torch.Generator().manual_seed(rows)
    states = torch.randn(rows, decoder.in_features, generator=generator).requires_grad_()
    tokens = torch.randint(decoder.out_features, (rows * WORDS,), generator=generator)
    return Batch(states, tokens, torch.arange(rows).repeat_interleave(WORDS))


def step(loss: Loss, batch: Batch, decoder: nn.Linear, bf16: bool) -> float:
    """One forward and backward; gives the value of the loss."""
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        value = loss(batch, decoder)
    value.backward()
    decoder.zero_grad()
    batch.states.grad = None
    return value.item()


def peak_bytes(run: Callable[[], object], uncounted: set[int]) -> int:
    """Most bytes that torch's CPU allocator held at once, above those from before.

    Args:
        run: What to measure.
        uncounted: Sizes in bytes of allocations that are left out.

    Returns:
        Bytes.
    """
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        run()
    events = profile.profiler.kineto_results.events()  # pyright: ignore[reportOptionalMemberAccess]
    changes = [(event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"]  # pyright: ignore
    held = peak = 0
    for _, change in sorted(changes, key=lambda pair: pair[0]):
        held += 0 if abs(change) in uncounted else change
        peak = max(peak, held)
    return peak


def loss_peak(loss: Loss, rows: int, decoder: nn.Linear, bf16: bool) -> int:
    """Peak of a step in bytes, without what has the size of the weights, in fp32 or bf16."""
    batch, weights = make_batch(rows, decoder), decoder.weight.numel()
    return peak_bytes(lambda: step(loss, batch, decoder, bf16), {4 * weights, 2 * weights})


def rows_within(budget: float, loss: Loss, decoder: nn.Linear, bf16: bool) -> int:
    """The most rows whose peak is within a budget in bytes; odd, so that no logits are as large as the weights."""
    few, more = 33, 65
    low, high = loss_peak(loss, few, decoder, bf16), loss_peak(loss, more, decoder, bf16)
    rows = few + int((budget - low) * (more - few) / (high - low))
    return max(1, rows - (rows + 1) % 2)


def measure(name: str, decoder: nn.Linear, budget: float, bf16: bool, rounds: int) -> Measured:
    """Both forms of a loss, at the largest batch that the naive one can take."""
    forms = LOSSES[name]
    rows = rows_within(budget, forms[0], decoder, bf16)
    naive, ours = (loss_peak(form, rows, decoder, bf16) for form in forms)
    batch, seconds, values = make_batch(rows, decoder), ([], []), [0.0, 0.0]
    for _ in range(rounds):
        for number, form in enumerate(forms):
            start = time.perf_counter()
            values[number] = step(form, batch, decoder, bf16)
            seconds[number].append(time.perf_counter() - start)
    medians = statistics.median(seconds[0]), statistics.median(seconds[1])
    return Measured(rows, (naive, ours), medians, (values[0], values[1]))


def main(argv: list[str] | None = None) -> dict[tuple[str, str], Measured]:
    """Measure and print.

    Args:
        argv: The command line without the program; `sys.argv` unless given.

    Returns:
        What was measured, by loss and precision.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory_gib", type=float, default=7.0, help="budget of the naive form in GiB (default 7)")
    parser.add_argument("--vocab", type=int, default=250_002, help="tokens of the vocabulary (default 250002)")
    parser.add_argument("--dim", type=int, default=768, help="width of the states (default 768)")
    parser.add_argument("--precisions", nargs="+", choices=["bf16", "fp32"], help="of products; what is fast here")
    parser.add_argument("--rounds", type=int, default=3, help="steps timed of each (default 3)")
    parser.add_argument("--threads", type=int, help="threads of torch; torch's own choice unless given")
    given = parser.parse_args(argv)
    if given.threads:
        torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    decoder, measured = nn.Linear(given.dim, given.vocab), {}
    print(f"vocabulary {given.vocab}, width {given.dim}, threads {torch.get_num_threads()}, torch {torch.__version__}")
    for precision in given.precisions or (["bf16"] if has_fast_bf16() else ["fp32"]):
        for name in LOSSES:
            found = measure(name, decoder, given.memory_gib * GIB, precision == "bf16", given.rounds)
            measured[name, precision] = found
            memory = " -> ".join(f"{peak / GIB:.2f}" for peak in found.peaks)
            seconds = " -> ".join(f"{value:.2f}" for value in found.seconds)
            print(
                f"{name}, {precision}, {found.rows} rows: memory {memory} GiB ({found.memory_ratio:.1%}), "
                f"time {seconds} s ({found.time_ratio:.2f})"
            )
    return measured


if __name__ == "__main__":
    main()
