"""The options of the LSTM: its projection against torch, its peepholes against the equations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from unrolled.core import LSTM, LSTMState


def sigmoid(v: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-v))


@pytest.mark.filterwarnings("ignore:LSTM with projections is not:UserWarning")  # torch's module
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_the_projection_is_torchs(dtype, tolerance, bias):
    torch.manual_seed(0)
    core = LSTM(3, 6, proj_size=2, bias=bias).to(dtype)
    module = core.to_torch()
    assert (module.proj_size, module.hidden_size, module.bias) == (2, 6, bias)
    x = torch.randn(5, 9, 3, dtype=dtype, requires_grad=True)
    hidden = torch.randn(5, 2, dtype=dtype, requires_grad=True)
    cell = torch.randn(5, 6, dtype=dtype, requires_grad=True)
    found = []
    for run in (core, lambda x, state: module(x, tuple(part.unsqueeze(0) for part in state))):
        output, (h, c) = run(x, LSTMState(hidden, cell))
        total = output.sin().sum() + h.exp().sum() + c.exp().sum()
        owner = core if run is core else module
        parameters = [
            dict(owner.named_parameters())[name + ("" if run is core else "_l0")]
            for name, _ in core.named_parameters()
        ]
        gradients = torch.autograd.grad(total, [x, hidden, cell, *parameters])
        found.append([output, h.view(5, 2), c.view(5, 6), *gradients])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance * 10)


@pytest.mark.parametrize("proj_size", [0, 2])
def test_peepholes_are_the_equations_with_their_gradients(proj_size):
    torch.manual_seed(0)
    size = 4
    core = LSTM(3, size, peepholes=True, proj_size=proj_size).double()
    x = torch.randn(2, 7, 3).double().requires_grad_()
    state = LSTMState(torch.randn(2, proj_size or size).double(), torch.randn(2, size).double())

    def equations(x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        h, c = state
        bias = core.bias_ih + core.bias_hh
        p_i, p_f, p_o = core.weight_peephole.split(size)
        outputs = []
        for x_t in x.unbind(1):
            gates = x_t @ core.weight_ih.t() + h @ core.weight_hh.t() + bias
            i, f, g, o = gates.split(size, 1)
            c = sigmoid(f + p_f * c) * c + sigmoid(i + p_i * c) * torch.tanh(g)
            h = sigmoid(o + p_o * c) * torch.tanh(c)
            h = h @ core.weight_hr.t() if proj_size else h
            outputs.append(h)
        return torch.stack(outputs, 1), LSTMState(h, c)

    found = []
    for run in (core, equations):
        output, last = run(x, state)
        total = output.sin().sum() + last.cell.square().sum()
        gradients = torch.autograd.grad(total, [x, *core.parameters()])
        found.append([output, *last, *gradients])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-11)


def test_closed_peepholes_are_no_peepholes():
    torch.manual_seed(0)
    core, plain = LSTM(3, 4, peepholes=True).double(), LSTM(3, 4).double()
    plain.load_state_dict(
        {name: value for name, value in core.state_dict().items() if "peephole" not in name}
    )
    nn.init.zeros_(core.weight_peephole)
    x = torch.randn(2, 7, 3).double()
    torch.testing.assert_close(core(x), plain(x), atol=1e-14, rtol=0)


def test_sizes_and_mistakes():
    core = LSTM(3, 8, proj_size=2)
    assert core.output_size == 2
    assert [leaf.shape for leaf in core.initial_state(5)] == [(5, 2), (5, 8)]
    assert repr(core) == "LSTM(3, 8, proj_size=2)"
    assert repr(LSTM(3, 8, peepholes=True, bias=False)) == "LSTM(3, 8, bias=False, peepholes=True)"
    for wrong in (-1, 8, 9):
        with pytest.raises(ValueError, match=f"proj_size is {wrong}; .* hidden_size, which is 8"):
            LSTM(3, 8, proj_size=wrong)
    with pytest.raises(ValueError, match=r"nn\.LSTM has no peepholes"):
        LSTM(3, 8, peepholes=True).to_torch()
