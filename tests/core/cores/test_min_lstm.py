"""MinLSTM against the paper's equations."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from unrolled.core import MinLSTM, MinLSTMState


def sigmoid(v: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-v))


def g(v: Tensor, candidate: str) -> Tensor:
    return v if candidate == "linear" else torch.where(v >= 0, v + 0.5, sigmoid(v))


def equations(core: MinLSTM, x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Section 3.2 with the g of appendix B, row by row and step by step."""
    size = core.hidden_size
    outputs = []
    for row, h in zip(x, hidden, strict=True):
        for x_t in row:
            f, i, v = (
                w @ x_t + b
                for w, b in zip(core.weight.split(size), core.bias.split(size), strict=True)
            )
            f, i = sigmoid(f), sigmoid(i)
            h = f / (f + i) * h + i / (f + i) * g(v, core.candidate)
            outputs.append(h)
    output = torch.stack(outputs).view(*x.shape[:2], size)
    return output, output[:, -1]


@pytest.mark.parametrize("candidate", ["positive", "linear"])
def test_is_the_paper_with_its_gradients(candidate):
    torch.manual_seed(0)
    core = MinLSTM(3, 4, candidate=candidate).double()
    x, hidden = torch.randn(2, 9, 3).double(), torch.randn(2, 4).double()
    results = []
    for run in (equations, lambda core, x, hidden: core(x, MinLSTMState(hidden))):
        leaves = [leaf.clone().requires_grad_() for leaf in (x, hidden)]
        core.zero_grad()
        output, last = run(core, *leaves)
        last = getattr(last, "hidden", last)
        (output.sin().sum() + last.square().sum()).backward()
        gradients = [leaf.grad for leaf in (*leaves, *core.parameters())]
        results.append([output, last, *gradients])
    for ours, theirs in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)


def test_shut_gates_share_as_they_should():
    core = MinLSTM(1, 1)
    with torch.no_grad():
        core.weight.zero_()
        core.bias.copy_(torch.tensor([-200.0, -201.0, 1.0]))
    output, _ = core(torch.zeros(1, 1, 1), MinLSTMState(torch.ones(1, 1)))
    # of the forget gate: e times the input gate, though both are 0 in float32
    share = 1 / (1 + math.exp(-1.0))
    assert output.item() == pytest.approx(share + (1 - share) * 1.5)
    output.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in core.parameters())


def test_a_positive_candidate_keeps_the_state_positive():
    core = MinLSTM(3, 8)
    assert (core(torch.randn(2, 50, 3))[0] > 0).all()


def test_initialisation_and_options():
    core = MinLSTM(25, 300)
    for parameter in core.parameters():
        assert 0.19 < parameter.abs().max() <= 0.2
    assert dict(MinLSTM(3, 4, bias=False).named_parameters()).keys() == {"weight"}
    assert "candidate='linear', chunk=7, bias=False" in repr(
        MinLSTM(3, 4, candidate="linear", chunk=7, bias=False)
    )
    with pytest.raises(
        ValueError, match="MinLSTM: candidate is 'tanh'; it must be 'positive' or 'linear'"
    ):
        MinLSTM(3, 4, candidate="tanh")
