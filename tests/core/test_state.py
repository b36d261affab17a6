"""States: what can be done with any of them."""

from __future__ import annotations

import pytest
import torch
from unrolled.core import LSTM, LSTMState, Stacked
from unrolled.core.state import (
    concatenate,
    from_plain,
    leaves,
    map_state,
    select_rows,
    split,
    to_plain,
    where_rows,
)


@pytest.fixture
def state():
    return LSTMState(torch.arange(6.0).view(3, 2), -torch.ones(3, 2)), torch.arange(3.0).view(3, 1)


def test_map_keeps_the_types(state):
    doubled = map_state(lambda one, other: one + other, state, state)
    assert type(doubled) is tuple
    assert type(doubled[0]) is LSTMState
    assert torch.equal(doubled[0].hidden, 2 * state[0].hidden)
    assert len(leaves(doubled)) == 3
    with pytest.raises(ValueError, match="shorter"):
        map_state(torch.add, state, state[:1])


def test_rows(state):
    picked = select_rows(state, torch.tensor([2, 2, 0, 1]))
    assert picked[1].flatten().tolist() == [2, 2, 0, 1]
    assert select_rows(state, torch.tensor([True, False, True]))[1].flatten().tolist() == [0, 2]
    other = map_state(torch.zeros_like, state)
    mixed = where_rows(torch.tensor([True, False, True]), state, other)
    assert mixed[1].flatten().tolist() == [0, 0, 2]
    assert mixed[0].cell.tolist() == [[-1, -1], [0, 0], [-1, -1]]
    parts = split(state)
    assert [part[1].shape for part in parts] == [(1, 1)] * 3
    assert torch.equal(concatenate(parts)[0].hidden, state[0].hidden)
    assert concatenate([state]) is state


def test_plain_is_plain_and_a_copy(state):
    plain = to_plain(state)
    assert isinstance(plain, list)
    assert list(plain[0]) == ["hidden", "cell"]
    plain[0]["hidden"].zero_()
    assert state[0].hidden.any()
    row = to_plain(select_rows(state, slice(0, 1)))
    assert row[0]["hidden"].untyped_storage().nbytes() == 8


def test_from_plain_takes_device_and_dtype_from_its_model():
    core = Stacked(3, lambda size: LSTM(size, 4), num_layers=2)
    plain = to_plain(core.initial_state(5))
    state = from_plain(plain, core.double().initial_state(1))
    assert state[1].cell.dtype == torch.float64
    assert state[1].cell.shape == (5, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda plain: plain[:1], r"list of 1\) where \(0, 1\) belong"),
        (lambda plain: [plain[1], plain[1]], r"Tensor of 3\) where \(hidden, cell\) belong"),
        (
            lambda plain: [{"hidden": plain[1]}, plain[1]],
            r"\(hidden\) where \(hidden, cell\) belong",
        ),
        (
            lambda plain: [plain[0], torch.zeros(3, 9)],
            r"\(3, 9\) where \(B, 1\) belongs; the state was saved by another",
        ),
        (lambda plain: [plain[0], "text"], r"str where \(B, 1\) belongs"),
    ],
)
def test_another_structure_is_refused(state, change, message):
    with pytest.raises(ValueError, match=message):
        from_plain(change(to_plain(state)), state)
