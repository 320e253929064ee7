"""Seconds of a training step on CPU with fused and with eager attention, by length of text.

A step is forward and backward of an encoder with dropout, as in training, in bf16 where the machine multiplies that in
hardware. The two attentions alternate over rounds; the medians are printed.

    python benchmarks/cpu_attention.py
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from transformers import AutoModel, XLMRobertaConfig

from xling_align.eval.encoding import has_fast_bf16

ATTENTIONS = ("sdpa", "eager")


def encoder(attention: str, layers: int, hidden_size: int) -> torch.nn.Module:
    """A fresh encoder in training mode."""
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=1000,
        num_hidden_layers=layers,
        hidden_size=hidden_size,
        num_attention_heads=hidden_size // 64,
        intermediate_size=4 * hidden_size,
    )
    return AutoModel.from_config(config, add_pooling_layer=False, attn_implementation=attention).train()


def batch(rows: int, length: int) -> dict[str, torch.Tensor]:
    """Random ids (rows, length); every second row is padded from the middle on."""
    mask = torch.ones(rows, length, dtype=torch.long)
    mask[1::2, length // 2 :] = 0
    return {"input_ids": torch.randint(5, 1000, (rows, length)), "attention_mask": mask}


def step(model: torch.nn.Module, inputs: dict[str, torch.Tensor], bf16: bool) -> float:
    """Seconds of one forward and backward."""
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        states = model(**inputs).last_hidden_state
    states[:, 0].float().square().mean().backward()
    model.zero_grad()
    return time.perf_counter() - start


def medians(step_of: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Median seconds by name over alternating rounds, after one untimed call each."""
    for run in step_of.values():
        run()
    seconds = {name: [] for name in step_of}
    for _ in range(rounds):
        for name, run in step_of.items():
            seconds[name].append(run())
    return {name: statistics.median(values) for name, values in seconds.items()}


def main(argv: list[str] | None = None) -> dict[int, dict[str, float]]:
    """Measure and print.

    Args:
        argv: The command line without the program; `sys.argv` unless given.

    Returns:
        Seconds by length and attention.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=[12, 64, 128], help="tokens (default 12 64 128)")
    parser.add_argument("--rows", type=int, default=256, help="texts in a step (default 256)")
    parser.add_argument("--layers", type=int, default=2, help="of the encoder (default 2)")
    parser.add_argument("--hidden_size", type=int, default=256, help="of the encoder (default 256)")
    parser.add_argument("--rounds", type=int, default=5, help="steps timed of each (default 5)")
    parser.add_argument("--threads", type=int, help="threads of torch; torch's own choice unless given")
    given = parser.parse_args(argv)
    if given.threads:
        torch.set_num_threads(given.threads)
    bf16 = has_fast_bf16()
    encoders = {name: encoder(name, given.layers, given.hidden_size) for name in ATTENTIONS}
    print(f"{'bf16' if bf16 else 'fp32'}; threads: {torch.get_num_threads()}; torch {torch.__version__}")
    print("| tokens | sdpa s | eager s | sdpa / eager |\n| ---: | ---: | ---: | ---: |")
    seconds = {}
    for length in given.lengths:
        inputs = batch(given.rows, length)
        runs = {name: (lambda m=model, i=inputs: step(m, i, bf16)) for name, model in encoders.items()}
        seconds[length] = medians(runs, given.rounds)
        sdpa, eager = seconds[length]["sdpa"], seconds[length]["eager"]
        print(f"| {length} | {sdpa:.3f} | {eager:.3f} | {sdpa / eager:.2f} |")
    return seconds


if __name__ == "__main__":
    main()
