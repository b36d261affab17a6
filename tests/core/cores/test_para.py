"""ParaGRU and ParaLSTM against the paper's equations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from unrolled.core import LSTMState, ParaGRU, ParaLSTM
from unrolled.core.state import HiddenState, leaves


def sigmoid(v: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-v))


def tanh(v: Tensor) -> Tensor:
    return 1 - 2 / (torch.exp(2 * v) + 1)


def gates(core: ParaGRU | ParaLSTM, x: Tensor) -> list[Tensor]:
    return [
        core.weight_ih[gate * core.hidden_size + unit] @ x
        + core.bias[gate * core.hidden_size + unit]
        for gate in range(3)
        for unit in range(core.hidden_size)
    ]


def para_gru(core: ParaGRU, x: Tensor, state: HiddenState) -> tuple[Tensor, list[Tensor]]:
    """Equations 3.1a, row by row, step by step, with matrices that are diagonal."""
    size = core.hidden_size
    a_z, a_r, a_c = (torch.diag(a) for a in core.weight_hh.split(size))
    outputs, ends = [], []
    for row, h in zip(x, state.hidden, strict=True):
        for x_t in row:
            z, r, c = torch.stack(gates(core, x_t)).split(size)
            z, r = sigmoid(a_z @ h + z), sigmoid(a_r @ h + r)
            c = tanh(a_c @ (h * r) + c)
            h = (1 - z) * h + z * c
            outputs.append(h)
        ends.append(h)
    return torch.stack(outputs).view(*x.shape[:2], size), [torch.stack(ends)]


def para_lstm(core: ParaLSTM, x: Tensor, state: LSTMState) -> tuple[Tensor, list[Tensor]]:
    """Equations 3.1b likewise."""
    size = core.hidden_size
    a_f, a_o, a_z = (torch.diag(a) for a in core.weight_hh.split(size))
    c_f, c_o = (torch.diag(a) for a in core.weight_peephole.split(size))
    outputs, ends = [], []
    for row, h, c in zip(x, *state, strict=True):
        for x_t in row:
            f, o, z = torch.stack(gates(core, x_t)).split(size)
            f = sigmoid(a_f @ h + f + c_f @ c)
            c = f * c + (1 - f) * tanh(a_z @ h + z)
            o = sigmoid(a_o @ h + o + c_o @ c)
            h = o * tanh(c)
            outputs.append(h)
        ends.append((h, c))
    output = torch.stack(outputs).view(*x.shape[:2], size)
    return output, [torch.stack(parts) for parts in zip(*ends, strict=True)]


@pytest.mark.parametrize(("kind", "equations"), [(ParaGRU, para_gru), (ParaLSTM, para_lstm)])
def test_is_the_paper_with_its_gradients(kind, equations):
    torch.manual_seed(0)
    core = kind(3, 4).double()
    for parameter in core.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, 9, 3).double().requires_grad_()
    state = core.state_type(
        *(torch.randn_like(leaf).requires_grad_() for leaf in core.initial_state(2))
    )
    given = [x, *state, *core.parameters()]
    found = []
    for output, last in (core(x, state), equations(core, x, state)):
        total = output.sin().sum() + sum(leaf.square().sum() for leaf in leaves(tuple(last)))
        found.append([output, *last, *torch.autograd.grad(total, given)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-11, rtol=1e-10)


@pytest.mark.parametrize("kind", [ParaGRU, ParaLSTM])
def test_a_unit_sees_itself_alone(kind):
    torch.manual_seed(0)
    core = kind(3, 4).double()
    x = torch.randn(1, 6, 3).double()

    def last(hidden: Tensor) -> Tensor:
        return core(x, core.initial_state(1)._replace(hidden=hidden))[0][0, -1]

    jacobian = torch.autograd.functional.jacobian(last, torch.randn(1, 4).double())[:, 0]
    assert jacobian.diagonal().all()
    assert not (jacobian - torch.diag(jacobian.diagonal())).any()


@pytest.mark.parametrize("kind", [ParaGRU, ParaLSTM])
def test_initialisation_and_options(kind):
    torch.manual_seed(0)
    core = kind(64, 400)
    assert core.weight_ih.abs().max().item() == pytest.approx((6 / 464) ** 0.5, rel=0.01)
    for diagonals in core._diagonals():
        assert diagonals.std().item() == pytest.approx(2 * 2000**-0.5, rel=0.1)
    torch.testing.assert_close(core.bias[:400], -torch.linspace(0, 1, 400))
    assert not core.bias[400:].any()
    assert repr(kind(3, 4, chunk=7, bias=False)) == f"{kind.__name__}(3, 4, chunk=7, bias=False)"
