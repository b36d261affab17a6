"""The regularisers."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize
from unrolled.core import (
    GRU,
    LSTM,
    SLSTM,
    Bidirectional,
    EmbeddingDropout,
    LockedDropout,
    Stacked,
    WeightDrop,
    Zoneout,
)


def test_locked_dropout_keeps_one_mask_for_all_steps():
    torch.manual_seed(0)
    dropout = LockedDropout(0.5)
    output = dropout(torch.ones(4, 9, 32))
    assert set(output.unique().tolist()) == {0.0, 2.0}
    assert (output == output[:, :1]).all()
    assert (output[0] != output[1]).any()
    assert dropout(torch.ones(4, 32)).shape == (4, 32)
    x = torch.randn(2, 3, 4)
    assert dropout.eval()(x) is x


def test_embedding_dropout_drops_whole_symbols():
    torch.manual_seed(0)
    dropout, table = EmbeddingDropout(0.5), nn.Embedding(50, 8)
    symbols = torch.randint(50, (6, 40))
    output = dropout(table, symbols)
    dropped = set()
    for symbol in range(50):
        values = output[symbols == symbol]
        zero = not values.any()
        assert zero or torch.equal(values, 2 * table(symbols[symbols == symbol]))
        dropped |= {symbol} if zero else set()
    assert 10 < len(dropped) < 40
    assert torch.equal(dropout.eval()(table, symbols), table(symbols))


def test_weight_drop_trains_evaluates_and_trains_again():
    torch.manual_seed(0)
    core = WeightDrop(3, lambda size: LSTM(size, 16), p=0.5)
    optimizer = torch.optim.SGD(core.parameters(), lr=0.1)
    x = torch.randn(4, 5, 3)
    for mode in (True, False, True, False, True):
        core.train(mode)
        optimizer.zero_grad()
        core(x, lengths=torch.tensor([5, 3, 2, 1]))[0].square().sum().backward()
        optimizer.step()
    weight = core.core.parametrizations.weight_hh.original
    assert weight.grad is not None
    dropped = core.core.weight_hh
    share = (dropped == 0).double().mean()
    assert 0.4 < share < 0.6
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], 2 * weight[kept])
    assert core.eval().core.weight_hh is weight


def test_weight_drop_draws_one_mask_a_forward(monkeypatch):
    torch.manual_seed(0)
    core = WeightDrop(3, lambda size: GRU(size, 8), p=0.5).double()
    core._slack = core.core._slack = 0
    x, lengths = torch.randn(4, 6, 3, dtype=torch.float64), torch.tensor([6, 4, 2, 1])
    seen = []
    kernel = GRU._kernel

    def watch(self, kernel_function, x, hx, weights):
        seen.append(weights[1])
        return kernel(self, kernel_function, x, hx, weights)

    monkeypatch.setattr(GRU, "_kernel", watch)
    core(x, lengths=lengths)
    assert len(seen) == 4
    assert all(one is other for one, other in pairwise(seen))
    core(x, lengths=lengths)
    assert not torch.equal(seen[0], seen[-1])
    with parametrize.cached():
        first, second = core.core.weight_hh, core.core.weight_hh
    assert first is second


def test_weight_drop_loads_its_own_weights_and_leaves_no_trace_in_evaluation():
    torch.manual_seed(0)
    core = WeightDrop(
        3, lambda size: Stacked(size, lambda inner: LSTM(inner, 4), num_layers=2), p=0.5
    )
    report = WeightDrop(
        3, lambda size: Stacked(size, lambda inner: LSTM(inner, 4), num_layers=2)
    ).load_state_dict(core.state_dict())
    assert not report.missing_keys
    assert not report.unexpected_keys
    names = [name for name, _ in core.named_parameters() if "weight_hh" in name]
    assert names == [f"core.layers.{i}.parametrizations.weight_hh.original" for i in range(2)]
    plain = Stacked(3, lambda size: LSTM(size, 4), num_layers=2)
    plain.load_state_dict(
        {
            name.removeprefix("core.").replace(
                "parametrizations.weight_hh.original", "weight_hh"
            ): value
            for name, value in core.state_dict().items()
        }
    )
    x = torch.randn(2, 5, 3)
    assert torch.equal(core.eval()(x)[0], plain(x)[0])
    trained = copy.deepcopy(core).train()
    assert not torch.equal(trained(x)[0], plain(x)[0])


def test_weight_drop_needs_recurrent_weights():
    class Nothing(GRU):
        recurrent_weights = ()

    with pytest.raises(
        ValueError, match="Nothing names no recurrent_weights, so there is nothing to drop"
    ):
        WeightDrop(3, lambda size: Nothing(size, 4))


def test_zoneout_keeps_units_in_training():
    torch.manual_seed(0)
    core = Zoneout(3, lambda size: LSTM(size, 500), p=0.2, cell_p=0.6)
    state = type(core.initial_state(1))(torch.randn(4, 500), torch.randn(4, 500))
    output, after = core.step(torch.randn(4, 3), state)
    assert 0.15 < (after.hidden == state.hidden).double().mean() < 0.25
    assert 0.55 < (after.cell == state.cell).double().mean() < 0.65
    assert torch.equal(output, after.hidden)


def test_zoneout_is_its_expectation_in_evaluation():
    core = Zoneout(3, lambda size: LSTM(size, 4), p=0.2, cell_p=0.6).eval()
    x, state = torch.randn(2, 3), core.initial_state(2)
    state = type(state)(*[torch.randn_like(part) for part in state])
    _, plain = core.core.step(x, state)
    output, after = core.step(x, state)
    torch.testing.assert_close(after.hidden, 0.2 * state.hidden + 0.8 * plain.hidden)
    torch.testing.assert_close(after.cell, 0.6 * state.cell + 0.4 * plain.cell)
    assert torch.equal(output, after.hidden)
    core = Zoneout(3, lambda size: GRU(size, 4), p=0.0).train()
    x = torch.randn(2, 5, 3)
    torch.testing.assert_close(core(x), core.core(x))


@pytest.mark.parametrize(
    "inner",
    [
        lambda size: Stacked(size, lambda below: LSTM(below, 4), num_layers=2),
        lambda size: Bidirectional(size, lambda below: LSTM(below, 4)),
    ],
)
def test_zoneout_wraps_single_cores(inner):
    with pytest.raises(
        ValueError, match="has no state `hidden` that is its output; wrap each layer's core"
    ):
        Zoneout(3, inner)


@pytest.mark.parametrize("p", [-0.1, 1.0, 2.0])
def test_probabilities_are_checked(p):
    makers = (
        lambda: LockedDropout(p),
        lambda: EmbeddingDropout(p),
        lambda: WeightDrop(3, lambda size: GRU(size, 4), p=p),
        lambda: Zoneout(3, lambda size: GRU(size, 4), p=p),
        lambda: Zoneout(3, lambda size: GRU(size, 4), cell_p=p),
        lambda: Stacked(3, lambda size: GRU(size, 4), num_layers=2, dropout=p),
    )
    for make in makers:
        with pytest.raises(ValueError, match=r"a probability of dropping lies in \[0, 1\)"):
            make()


def test_zoneout_refuses_a_state_whose_parts_belong_together():
    with pytest.raises(ValueError, match="the state of SLSTM has normalizer, stabilizer too"):
        Zoneout(3, lambda size: SLSTM(size, 4))
