"""The benchmark programs run, and compare like with like."""

import torch
from sentence_transformers import SentenceTransformer

from benchmarks import cpu_attention, training_speed
from benchmarks.training_speed import OURS, PEER, Timing, ratio, read_rows
from xling_align.trainers.objectives import PairVectors, symmetric_infonce


def test_both_sides_have_the_same_objective():
    torch.manual_seed(0)
    source, target = torch.randn(5, 8), torch.randn(5, 8)
    theirs = training_speed.their_loss(SentenceTransformer(modules=[torch.nn.Identity()]))
    expected = theirs.compute_loss_from_embeddings([source, target], torch.zeros(5))
    torch.testing.assert_close(symmetric_infonce(PairVectors.local(source, target), training_speed.TAU), expected)


def test_each_source_occurs_once_in_the_text():
    rows = read_rows(None, 500)
    assert len(rows) == len({row["source"].casefold() for row in rows}) == 500
    assert len({row["target_language"] for row in rows}) == 13


def test_ratio_is_the_median_of_rounds_and_counts_what_was_done_before():
    ours = [Timing(seconds=1.0), Timing(seconds=2.0), Timing(seconds=1.0)]
    theirs = [Timing(seconds=3.0), Timing(seconds=4.0), Timing(seconds=9.0)]
    assert ratio(ours, theirs) == 3.0
    assert ratio(ours, theirs, before=1.0) == 1.5


def test_both_sides_train_on_the_same_tokens(capsys):
    tiny = "--steps 3 --batch_size 4 --rounds 1 --warmup 1 --layers 1 --hidden_size 16 --heads 2 --vocab_size 500"
    timings = training_speed.main([*tiny.split(), "--ablate"])
    assert {(timing.steps, timing.tokens) for rounds in timings.values() for timing in rounds} == {
        (3, timings[PEER][0].tokens)
    }
    assert all(timing.seconds > timing.collating > 0 for rounds in timings.values() for timing in rounds)
    assert f"{OURS} " in capsys.readouterr().out.splitlines()[-1]


def test_cpu_attention_measures_both():
    small = "--lengths 4 8 --rows 2 --layers 1 --hidden_size 64 --rounds 1"
    seconds = cpu_attention.main(small.split())
    assert list(seconds) == [4, 8]
    assert all(set(by_attention) == {"sdpa", "eager"} for by_attention in seconds.values())
