"""IndRNN against the paper's equation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from unrolled.core import IndRNN, IndRNNState, WeightDrop


def equations(core: IndRNN, x: Tensor, hidden: Tensor, reset: Tensor) -> tuple[Tensor, Tensor]:
    """Equation 3 of the paper, unit by unit, row by row and step by step."""
    outputs = []
    for row, starts, h in zip(x, reset, hidden, strict=True):
        for x_t, start in zip(row, starts, strict=True):
            if start:
                h = torch.zeros_like(h)
            units = zip(core.weight_ih, core.weight_hh, core.bias, h, strict=True)
            h = torch.stack(
                [torch.clamp((w * x_t).sum() + u * h_n + b, min=0.0) for w, u, b, h_n in units]
            )
            outputs.append(h)
    output = torch.stack(outputs).view(*x.shape[:2], -1)
    return output, output[:, -1]


@pytest.mark.parametrize("resets", [0.0, 0.3])
def test_is_the_paper_with_its_gradients(resets):
    torch.manual_seed(0)
    core = IndRNN(3, 4).double()
    torch.nn.init.normal_(core.bias)
    x, hidden, reset = (
        torch.randn(2, 9, 3).double(),
        torch.randn(2, 4).double(),
        torch.rand(2, 9) < resets,
    )
    results = []
    for run in (
        equations,
        lambda core, x, hidden, reset: core(x, IndRNNState(hidden), reset=reset),
    ):
        leaves = [leaf.clone().requires_grad_() for leaf in (x, hidden)]
        core.zero_grad()
        output, last = run(core, *leaves, reset)
        last = getattr(last, "hidden", last)
        (output.sin().sum() + last.square().sum()).backward()
        results.append([output, last, *[leaf.grad for leaf in (*leaves, *core.parameters())]])
    for ours, theirs in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)


def test_units_are_independent():
    core = IndRNN(3, 4)
    state = torch.rand(1, 4, requires_grad=True)
    core(torch.rand(1, 5, 3), IndRNNState(state))[0][0, -1, 2].backward()
    assert state.grad.nonzero().tolist() in ([], [[0, 2]])


def test_a_unit_that_overflowed_starts_anew():
    core = IndRNN(1, 1)
    core.weight_hh.data.fill_(1e30)
    core.weight_ih.data.fill_(1.0)
    reset = torch.zeros(1, 6, dtype=torch.bool)
    reset[0, 5] = True
    output, _ = core(torch.ones(1, 6, 1), reset=reset)
    assert output[0, 4].isinf()
    assert output[0, 5].item() == 1.0


def test_its_recurrent_weight_can_be_dropped():
    core = WeightDrop(3, lambda size: IndRNN(size, 40), p=0.5).train()
    assert not torch.equal(core(torch.ones(1, 9, 3))[0], core(torch.ones(1, 9, 3))[0])


def test_initialisation_and_options():
    core = IndRNN(25, 300)
    assert 0.19 < core.weight_ih.abs().max() <= 0.2
    assert 0.0 <= core.weight_hh.min() < 0.05 < 0.95 < core.weight_hh.max() <= 1.0
    assert not core.bias.any()
    assert dict(IndRNN(3, 4, bias=False).named_parameters()).keys() == {"weight_ih", "weight_hh"}
    assert repr(IndRNN(3, 4, chunk=7, bias=False)) == "IndRNN(3, 4, chunk=7, bias=False)"
