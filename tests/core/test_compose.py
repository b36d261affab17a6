"""Stacked and Bidirectional beyond the contract."""

from __future__ import annotations

import pytest
import torch
from unrolled.core import GRU, LSTM, Bidirectional, Stacked, WeightDrop, Zoneout
from unrolled.core.compose import LockedDropout


def test_stack_is_its_layers_in_turn():
    torch.manual_seed(0)
    stack = Stacked(3, lambda size: GRU(size, 3), num_layers=2, residual=True, norm=True).double()
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    first = x + stack.layers[0](stack.norms[0](x))[0]
    second = first + stack.layers[1](stack.norms[1](first))[0]
    output, state = stack(x)
    torch.testing.assert_close(output, second)
    assert isinstance(state, tuple)
    assert len(state) == 2


def test_residual_skips_layers_whose_sizes_differ():
    stack = Stacked(3, lambda size: GRU(size, 4), num_layers=2, residual=True)
    x = torch.randn(2, 5, 3)
    first = stack.layers[0](x)[0]
    torch.testing.assert_close(stack(x)[0], first + stack.layers[1](first)[0])


def test_dropout_between_layers_is_locked_and_not_after_the_last(monkeypatch):
    torch.manual_seed(0)
    stack = Stacked(3, lambda size: GRU(size, 32), num_layers=3, dropout=0.5)
    seen = []
    forward = LockedDropout.forward

    def watch(self, x):
        seen.append(forward(self, x))
        return seen[-1]

    monkeypatch.setattr(LockedDropout, "forward", watch)
    stack(torch.randn(2, 5, 3), lengths=torch.tensor([5, 2]))
    assert len(seen) == 2
    for output in seen:
        dropped = (output[0] == 0).all(0)
        assert dropped.any()
        assert not dropped.all()
        assert torch.equal((output[0] == 0).any(0), dropped)


def test_what_a_composition_says_of_itself():
    stack = Stacked(3, lambda size: Bidirectional(size, lambda inner: GRU(inner, 4)), num_layers=2)
    assert not stack.causal
    assert stack.output_size == 8
    assert stack.layers[1].input_size == 8
    assert stack.recurrent_weights[0] == "layers.0.ahead.weight_hh"
    assert Stacked(3, lambda size: GRU(size, 4), num_layers=2).causal
    assert WeightDrop(
        3, lambda size: Stacked(size, lambda inner: GRU(inner, 4), num_layers=1)
    ).causal
    assert Zoneout(3, lambda size: LSTM(size, 4)).recurrent_weights == ("core.weight_hh",)
    with pytest.raises(ValueError, match="Bidirectional has no step: it reads the future"):
        stack.step(torch.randn(2, 3), stack.initial_state(2))
    with pytest.raises(ValueError, match="num_layers is 0; a stack has at least 1 layer"):
        Stacked(3, lambda size: GRU(size, 4), num_layers=0)


def test_backward_direction_starts_at_each_rows_end():
    torch.manual_seed(0)
    core = Bidirectional(3, lambda size: LSTM(size, 4)).double()
    x, lengths = torch.randn(3, 6, 3, dtype=torch.float64), torch.tensor([6, 2, 4])
    given = core.initial_state(3)
    given = (given[0], type(given[1])(*[torch.randn_like(part) for part in given[1]]))
    output, state = core(x, given, lengths=lengths)
    for row, length in enumerate(lengths.tolist()):
        start = type(given[1])(*[part[row : row + 1] for part in given[1]])
        back, last = core.back(x[row : row + 1, :length].flip(1), start)
        torch.testing.assert_close(output[row : row + 1, :length, 4:], back.flip(1))
        torch.testing.assert_close(state[1].cell[row : row + 1], last.cell)


def test_a_reset_separates_both_directions():
    torch.manual_seed(0)
    core = Bidirectional(3, lambda size: LSTM(size, 4)).double()
    x = torch.randn(1, 6, 3, dtype=torch.float64)
    state = core.initial_state(1)
    state = tuple(type(part)(*[torch.randn_like(leaf) for leaf in part]) for part in state)
    reset = torch.zeros(1, 6, dtype=torch.bool)
    reset[0, 4] = True
    output, last = core(x, state, reset=reset)
    left, _ = core(x[:, :4], (state[0], core.initial_state(1)[1]))
    right, _ = core(x[:, 4:], (core.initial_state(1)[0], state[1]))
    torch.testing.assert_close(output, torch.cat((left, right), 1))
    torch.testing.assert_close(last[1].cell, core(x[:, :4])[1][1].cell)
