"""The examples in the docstrings of the objectives are right."""

import doctest
import importlib
import pkgutil

import pytest
import torch

from xling_align.trainers import objectives
from xling_align.trainers.data import mixup

MODULES = [
    importlib.import_module(f"{objectives.__name__}.{m.name}") for m in pkgutil.iter_modules(objectives.__path__)
]


@pytest.mark.parametrize("module", [*MODULES, mixup], ids=lambda module: module.__name__.rsplit(".")[-1])
def test_examples_hold(module):
    result = doctest.testmod(module, extraglobs={"torch": torch, "Linear": torch.nn.Linear})
    assert result.failed == 0


def test_most_objectives_have_an_example():
    found = [sum(len(test.examples) for test in doctest.DocTestFinder().find(module)) for module in MODULES]
    assert sum(count > 0 for count in found) >= 9
