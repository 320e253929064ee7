"""The momentum encoder and the queue of its keys."""

import pytest
import torch
from torch import nn

from xling_align.trainers.momentum import KeyQueue, MomentumEncoder


def keys(*values: float) -> torch.Tensor:
    return torch.tensor(values).unsqueeze(1)


def test_queue_keeps_the_last_keys_first_in_first_out():
    queue = KeyQueue(size=4, dim=1)
    for start in (0, 3, 6):
        queue.push(keys(start, start + 1, start + 2), torch.arange(start, start + 3))
    vectors, pair_ids = queue.negatives()
    assert sorted(vectors.flatten().tolist()) == [5, 6, 7, 8]
    assert vectors.flatten().tolist() == pair_ids.tolist()


def test_queue_gives_only_what_was_pushed():
    queue = KeyQueue(size=4, dim=1)
    queue.push(keys(1, 2, 3))
    assert queue.negatives()[0].flatten().tolist() == [1, 2, 3]
    assert queue.negatives()[1].tolist() == [-1, -1, -1]


def test_of_more_keys_than_it_holds_the_queue_keeps_the_last():
    queue = KeyQueue(size=3, dim=1)
    queue.push(keys(1, 2))
    queue.push(keys(3, 4, 5, 6, 7))
    assert sorted(queue.negatives()[0].flatten().tolist()) == [5, 6, 7]


def test_a_push_after_the_forward_pass_does_not_touch_the_backward_pass():
    queue = KeyQueue(size=2, dim=1)
    queue.push(keys(1, 2))
    query = torch.ones(1, 1, requires_grad=True)
    loss = (query @ queue.negatives()[0].T).sum()
    queue.push(keys(5, 6))
    loss.backward()
    assert query.grad.item() == 3


def test_a_restored_queue_goes_on_as_the_old_one_would():
    old, new = KeyQueue(3, 1), KeyQueue(3, 1)
    old.push(keys(1, 2), torch.tensor([8, 9]))
    new.load_state_dict(old.state_dict())
    for queue in (old, new):
        queue.push(keys(3, 4), torch.tensor([10, 11]))
    assert old.negatives()[0].tolist() == new.negatives()[0].tolist()
    assert old.negatives()[1].tolist() == new.negatives()[1].tolist() == [11, 9, 10]


def test_update_is_the_exponential_moving_average():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    slow = MomentumEncoder(model, decay=0.9)
    nn.init.constant_(model.weight, 2.0)
    slow.update(model)
    slow.update(model)
    assert slow.model.weight.item() == pytest.approx(2 - 0.9**2)
    assert model.weight.item() == 2


def test_buffers_are_taken_as_they_are():
    model = nn.BatchNorm1d(2)
    slow = MomentumEncoder(model)
    model(torch.randn(8, 2) + 5)
    slow.update(model)
    assert torch.equal(slow.model.running_mean, model.running_mean)


def test_the_slow_copy_has_no_gradient_and_no_dropout():
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).train()
    slow = MomentumEncoder(model)
    found = slow(torch.ones(2, 4))
    assert not found.requires_grad
    assert torch.equal(found, slow(torch.ones(2, 4)))
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_restored_encoder_gives_the_same():
    slow, other = MomentumEncoder(nn.Linear(3, 2)), MomentumEncoder(nn.Linear(3, 2))
    rows = torch.randn(4, 3)
    assert not torch.equal(slow(rows), other(rows))
    other.load_state_dict(slow.state_dict())
    assert torch.equal(slow(rows), other(rows))
