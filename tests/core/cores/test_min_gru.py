"""MinGRU against the paper's equations."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from unrolled.core import MinGRU, MinGRUState
from unrolled.core.families.minimal import positive


def sigmoid(v: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-v))


def g(v: Tensor, candidate: str) -> Tensor:
    return v if candidate == "linear" else torch.where(v >= 0, v + 0.5, sigmoid(v))


def equations(core: MinGRU, x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Section 3.1 with the g of appendix B, row by row and step by step."""
    size = core.hidden_size
    outputs = []
    for row, h in zip(x, hidden, strict=True):
        for x_t in row:
            z = sigmoid(core.weight[:size] @ x_t + core.bias[:size])
            h = (1 - z) * h + z * g(core.weight[size:] @ x_t + core.bias[size:], core.candidate)
            outputs.append(h)
    output = torch.stack(outputs).view(*x.shape[:2], size)
    return output, output[:, -1]


@pytest.mark.parametrize("candidate", ["positive", "linear"])
def test_is_the_paper_with_its_gradients(candidate):
    torch.manual_seed(0)
    core = MinGRU(3, 4, candidate=candidate).double()
    x, hidden = torch.randn(2, 9, 3).double(), torch.randn(2, 4).double()
    results = []
    for run in (equations, lambda core, x, hidden: core(x, MinGRUState(hidden))):
        leaves = [leaf.clone().requires_grad_() for leaf in (x, hidden)]
        core.zero_grad()
        output, last = run(core, *leaves)
        last = getattr(last, "hidden", last)
        (output.sin().sum() + last.square().sum()).backward()
        gradients = [leaf.grad for leaf in (*leaves, *core.parameters())]
        results.append([output, last, *gradients])
    for ours, theirs in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)


def test_the_positive_candidate_and_its_slope():
    v = torch.tensor([-200.0, -3.0, -1e-3, 1e-3, 2.0, 1e6], dtype=torch.float64, requires_grad=True)
    value = positive(v)
    expected = [0.5 + x if x >= 0 else 1 / (1 + math.exp(-x)) for x in v.tolist()]
    assert value.tolist() == pytest.approx(expected, rel=1e-12, abs=1e-80)
    (slope,) = torch.autograd.grad(value.sum(), v)
    expected = [1.0 if x >= 0 else math.exp(-x) / (1 + math.exp(-x)) ** 2 for x in v.tolist()]
    assert slope.tolist() == pytest.approx(expected, rel=1e-12, abs=1e-80)


def test_a_positive_candidate_keeps_the_state_positive():
    core = MinGRU(3, 8)
    assert (core(torch.randn(2, 50, 3))[0] > 0).all()


def test_initialisation_and_options():
    core = MinGRU(25, 300)
    for parameter in core.parameters():
        assert 0.19 < parameter.abs().max() <= 0.2
    assert dict(MinGRU(3, 4, bias=False).named_parameters()).keys() == {"weight"}
    assert "candidate='linear', chunk=7, bias=False" in repr(
        MinGRU(3, 4, candidate="linear", chunk=7, bias=False)
    )
    with pytest.raises(
        ValueError, match="MinGRU: candidate is 'tanh'; it must be 'positive' or 'linear'"
    ):
        MinGRU(3, 4, candidate="tanh")
