"""RNN, LSTM and GRU against torch's own modules."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from unrolled.core import GRU, LSTM, RNN, Bidirectional, RecurrentCore, Stacked
from unrolled.core.families.torch_core import TorchCore
from unrolled.core.state import leaves

KINDS = {
    "RNN": (RNN, nn.RNN, {}),
    "RNN-relu": (RNN, nn.RNN, {"nonlinearity": "relu"}),
    "LSTM": (LSTM, nn.LSTM, {}),
    "LSTM-no-bias": (LSTM, nn.LSTM, {"bias": False}),
    "GRU": (GRU, nn.GRU, {}),
}


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest):
    return KINDS[request.param]


def torch_state(module: nn.RNNBase, batch: int) -> list[Tensor]:
    directions = module.num_layers * (2 if module.bidirectional else 1)
    parts = 2 if isinstance(module, nn.LSTM) else 1
    dtype = next(module.parameters()).dtype
    return [torch.randn(directions, batch, module.hidden_size, dtype=dtype) for _ in range(parts)]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 0.0), (torch.float32, 0.0)])
def test_outputs_states_and_gradients_are_torchs(kind, dtype, tolerance):
    cls, torch_class, options = kind
    torch.manual_seed(0)
    bare = torch_class(3, 4, batch_first=True, **options).to(dtype)
    core = cls.from_torch(bare)
    results = []
    start = torch_state(bare, 5)
    values = torch.randn(5, 6, 3, dtype=dtype)
    for run in ("torch", "core"):
        x, given = (
            values.clone().requires_grad_(),
            [part.clone().requires_grad_() for part in start],
        )
        if run == "torch":
            output, last = bare(x, tuple(given) if len(given) == 2 else given[0])
            flat, module = (list(last) if isinstance(last, tuple) else [last]), bare
        else:
            state = type(core.initial_state(1))(*[part[0] for part in given])
            output, last = core(x, state)
            flat, module = [leaf.unsqueeze(0) for leaf in leaves(last)], core
        (output.square().sum() + sum(leaf.exp().sum() for leaf in flat)).backward()
        gradients = [tensor.grad for tensor in (x, *given, *module.parameters())]
        results.append([output, *flat, *gradients])
    for ours, theirs in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance)


def test_weights_go_both_ways(kind):
    cls, torch_class, options = kind
    bare = torch_class(3, 4, batch_first=True, **options).double()
    again = cls.from_torch(bare).to_torch()
    assert again.batch_first
    assert again.weight_ih_l0.dtype == torch.float64
    assert {name: tuple(value.shape) for name, value in again.state_dict().items()} == {
        name: tuple(value.shape) for name, value in bare.state_dict().items()
    }
    for name, value in bare.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
        assert again.state_dict()[name].data_ptr() != value.data_ptr()
    if "nonlinearity" in options:
        assert again.nonlinearity == options["nonlinearity"]


def test_cells_load_our_weights():
    for core, cell in (
        (LSTM(3, 4), nn.LSTMCell(3, 4)),
        (GRU(3, 4), nn.GRUCell(3, 4)),
        (RNN(3, 4), nn.RNNCell(3, 4)),
    ):
        cell.load_state_dict(core.state_dict())
        x, state = torch.randn(2, 3), core.initial_state(2)
        hidden = cell(x, tuple(state) if len(state) == 2 else state[0])
        torch.testing.assert_close(core.step(x, state)[0], hidden[0] if len(state) == 2 else hidden)


@pytest.mark.parametrize("torch_class", [nn.LSTM, nn.GRU])
def test_layers_and_directions_with_lengths_are_a_packed_torch_module(torch_class):
    cls: type[TorchCore] = LSTM if torch_class is nn.LSTM else GRU
    torch.manual_seed(0)
    bare = torch_class(3, 4, num_layers=2, bidirectional=True, batch_first=True).double()
    cores = iter(
        [
            cls.from_torch(bare, layer=i, reverse=reverse)
            for i in range(2)
            for reverse in (False, True)
        ]
    )
    core: RecurrentCore = Stacked(
        3, lambda size: Bidirectional(size, lambda inner: next(cores)), num_layers=2
    )
    x, lengths = torch.randn(4, 6, 3, dtype=torch.float64), torch.tensor([2, 6, 1, 4])
    packed, last = bare(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
    expected, _ = pad_packed_sequence(packed, batch_first=True)
    output, state = core(x, lengths=lengths)
    torch.testing.assert_close(output, expected)
    hidden = last[0] if torch_class is nn.LSTM else last
    ours = torch.stack([direction.hidden for layer in state for direction in layer])
    torch.testing.assert_close(ours, hidden)
    if torch_class is nn.LSTM:
        torch.testing.assert_close(
            torch.stack([one.cell for layer in state for one in layer]), last[1]
        )


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        (nn.GRU(3, 4), {}, "LSTM.from_torch takes nn.LSTM, not GRU"),
        (nn.LSTM(3, 4), {"layer": 1}, "no layer=1, reverse=False in a module of 1 layers"),
        (nn.LSTM(3, 4), {"reverse": True}, "bidirectional=False"),
    ],
)
def test_what_can_not_be_converted_is_refused(module, options, message):
    with pytest.raises(ValueError, match=message):
        LSTM.from_torch(module, **options)


def test_an_unknown_nonlinearity_is_refused():
    with pytest.raises(ValueError, match="nonlinearity is 'gelu'; it must be 'tanh' or 'relu'"):
        RNN(3, 4, nonlinearity="gelu")


def test_initialisation_is_torchs_range():
    core = LSTM(3, 100)
    bound = max(parameter.abs().max().item() for parameter in core.parameters())
    assert 0.09 < bound <= 0.1


def test_long_padding_in_float32_keeps_the_cell_to_the_last_bit():
    """The trick in LSTM._ragged: a shut input and an open forget gate change nothing, ever."""
    torch.manual_seed(0)
    core = LSTM(8, 16)
    core._slack = 10**9
    x = torch.randn(3, 400, 8)
    lengths = torch.tensor([400, 5, 0])
    with torch.no_grad():
        _, state = core(x, lengths=lengths)
        _, short = core(x[:, :5])
        torch.testing.assert_close(state.cell[1], short.cell[1], atol=1e-7, rtol=0)
        assert not state.cell[2].abs().gt(1e-30).any()
