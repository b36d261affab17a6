"""RGLRU against the paper's equations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from unrolled.core import RGLRU, RGLRUState


def sigmoid(v: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-v))


def equations(core: RGLRU, x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Equations 1 to 4 of the paper, row by row and step by step, with the power written out."""
    size = core.hidden_size
    outputs = []
    for row, h in zip(x, hidden, strict=True):
        for x_t in row:
            u = core.weight_in @ x_t + core.bias_in
            r = sigmoid(core.weight_gates[:size] @ u + core.bias_gates[:size])
            i = sigmoid(core.weight_gates[size:] @ u + core.bias_gates[size:])
            a = sigmoid(core.decay) ** (8 * r)
            h = a * h + torch.sqrt(1 - a**2) * (i * u)
            outputs.append(h)
    output = torch.stack(outputs).view(*x.shape[:2], size)
    return output, output[:, -1]


@pytest.mark.parametrize("decay", ["initial", "any"])
def test_is_the_paper_with_its_gradients(decay):
    torch.manual_seed(0)
    core = RGLRU(3, 4).double()
    torch.nn.init.normal_(core.bias_in)
    torch.nn.init.normal_(core.bias_gates)
    if decay == "any":
        torch.nn.init.normal_(core.decay)
    x, hidden = torch.randn(2, 9, 3).double(), torch.randn(2, 4).double()
    results = []
    for run in (equations, lambda core, x, hidden: core(x, RGLRUState(hidden))):
        leaves = [leaf.clone().requires_grad_() for leaf in (x, hidden)]
        core.zero_grad()
        output, last = run(core, *leaves)
        last = getattr(last, "hidden", last)
        (output.sin().sum() + last.square().sum()).backward()
        results.append([output, last, *[leaf.grad for leaf in (*leaves, *core.parameters())]])
    for ours, theirs in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-8)


def test_the_size_of_the_state_is_that_of_the_input():
    """What sqrt(1 - a^2) is for: white noise of variance v in, v out, whatever the decay."""
    torch.manual_seed(0)
    core = RGLRU(4, 4).double()
    with torch.no_grad():
        core.weight_in.copy_(torch.eye(4))
        core.weight_gates.zero_()
        core.bias_gates.fill_(40.0)  # both gates open
        output, _ = core(torch.randn(8, 4000, 4).double())
    assert output[:, 1000:].var().item() == pytest.approx(1.0, rel=0.2)


def test_gradients_stay_finite_where_nothing_is_forgotten():
    core = RGLRU(3, 4)
    with torch.no_grad():
        core.bias_gates[:4] = -200.0  # r underflows to 0: a is 1 and the root 0
    output, _ = core(torch.randn(2, 6, 3))
    output.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in core.parameters())


def test_initialisation_and_options():
    torch.manual_seed(0)
    core = RGLRU(64, 400)
    power = torch.sigmoid(core.decay.double()) ** 8
    assert 0.9 - 1e-4 <= power.min() < 0.91 < 0.99 < power.max() <= 0.999 + 1e-4
    assert core.weight_in.std().item() == pytest.approx(64**-0.5, rel=0.05)
    assert core.weight_gates.std().item() == pytest.approx(400**-0.5, rel=0.05)
    assert not core.bias_in.any()
    assert not core.bias_gates.any()
    assert repr(RGLRU(3, 4, chunk=7)) == "RGLRU(3, 4, chunk=7)"
