"""The benchmark of the vocabulary losses measures what it says."""

import pytest
import torch

from benchmarks import vocabulary_losses
from xling_align.trainers.objectives import vocabulary

TINY = "--vocab 2001 --dim 16 --memory_gib 0.005 --rounds 1 --precisions bf16 fp32"


def test_peak_is_that_of_what_is_held_at_once():
    def run():
        first = torch.zeros(1000)
        del first
        second, third = torch.zeros(300), torch.zeros(400)
        return second, third

    assert vocabulary_losses.peak_bytes(run, set()) == 4000
    assert vocabulary_losses.peak_bytes(run, {4000}) == 2800


def test_both_forms_give_one_value_and_ours_holds_a_chunk(monkeypatch, capsys):
    monkeypatch.setattr(vocabulary, "LOGITS", 8 * 2001)
    monkeypatch.setattr(vocabulary, "SCORED", 2 * 2001)
    monkeypatch.setattr(vocabulary, "COLUMNS", 256)
    measured = vocabulary_losses.main(TINY.split())
    assert len(measured) == len(capsys.readouterr().out.splitlines()) - 1 == 4
    for found in measured.values():
        assert found.values[1] == pytest.approx(found.values[0], rel=1e-3)
        assert 0.9 * 0.005 < found.peaks[0] / 2**30 < 1.1 * 0.005
        assert found.memory_ratio < 0.3
