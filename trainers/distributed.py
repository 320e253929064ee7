"""Gather over processes, with gradient."""

import torch
from sentence_transformers.util import all_gather_with_grad
from torch import Tensor
from torch import distributed as dist


def in_group() -> bool:
    """Whether several processes train together."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def gather(rows: Tensor) -> Tensor:
    """Rows of all processes in rank order (processes * rows, ...); each process must bring as many.

    Floating rows keep their gradient: held against local rows only, it is exact under the mean that DDP takes.
    """
    if not in_group():
        return rows
    if rows.is_floating_point():
        return all_gather_with_grad(rows.contiguous())
    every = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(every, rows.contiguous())
    return torch.cat(every)


def rank() -> int:
    """Number of this process."""
    return dist.get_rank() if in_group() else 0


def process_count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if in_group() else 1


def sum_over_processes(tensor: Tensor) -> Tensor:
    """Sum a tensor over all processes, in place."""
    if in_group():
        dist.all_reduce(tensor)
    return tensor


def mean_over_processes(tensor: Tensor) -> Tensor:
    """A copy of a tensor, averaged over all processes."""
    return sum_over_processes(tensor.clone()) / process_count()


def count_by_process(own: Tensor) -> Tensor:
    """Mean over all processes of a count (a scalar), above 0.

    A sum of local losses over it is, in the processes' mean, their sum over the count of all.
    """
    return (sum_over_processes(own.clone()) / process_count()).clamp(min=1e-6)


def with_mean_one(weights: Tensor) -> Tensor:
    """Weights over their mean of all processes: a plain mean of weighted losses is then sum w l / sum w.

    Each process must bring as many. Weights of 0 stay 0, also where all of them are.
    """
    return weights / mean_over_processes(weights.mean()).clamp(min=1e-6)
