"""What each level asks of the encoder: the norm of its gradient, and how far the levels agree."""

from itertools import combinations

import torch
from torch import Tensor, nn


def gradient_figures(levels: dict[str, Tensor], parameters: list[nn.Parameter]) -> dict[str, float]:
    """Gradient norms by level, and the cosines between the levels' gradients.

    Args:
        levels: Each level's weighted loss, a scalar whose graph is kept.
        parameters: What they share.

    Returns:
        `gradient_<level>` and `cosine_<level>_<level>`; a level that reaches no parameter has norm 0 and no cosine.
    """
    vectors = {}
    for level, loss in levels.items():
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        parts = [
            torch.zeros_like(parameter) if gradient is None else gradient
            for parameter, gradient in zip(parameters, gradients, strict=True)
        ]
        vectors[level] = torch.cat([part.flatten().float() for part in parts])
    figures = {f"gradient_{level}": vector.norm().item() for level, vector in vectors.items()}
    for one, other in combinations(vectors, 2):
        norms = figures[f"gradient_{one}"] * figures[f"gradient_{other}"]
        if norms:
            figures[f"cosine_{one}_{other}"] = (vectors[one] @ vectors[other]).item() / norms
    return figures
