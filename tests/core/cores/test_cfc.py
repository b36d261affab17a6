"""CfC against the paper's equations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from unrolled.core import CfC, CfCState


def equations(
    core: CfC, x: Tensor, hidden: Tensor, gaps: Tensor | None
) -> tuple[Tensor, list[Tensor]]:
    """Row by row and step by step, on x and h side by side."""
    first = torch.cat((core.weight_ih, core.weight_hh), 1)
    heads = list(zip(core.weight_heads.chunk(4), core.bias_heads.chunk(4), strict=True))
    outputs, ends = [], []
    for row in range(len(x)):
        h = hidden[row]
        for t in range(x.shape[1]):
            d = 1.0 if gaps is None else gaps[row, t]
            u = 1.7159 * torch.tanh(0.666 * (first @ torch.cat((x[row, t], h)) + core.bias))
            for layer in core.deeper:
                u = 1.7159 * torch.tanh(0.666 * (layer.weight @ u + layer.bias))
            g, k, a, b = (weight @ u + bias for weight, bias in heads)
            f = -a  # the paper's
            open_ = 1 / (1 + torch.exp(f * d - b))
            h = (1 - open_) * torch.tanh(g) + open_ * torch.tanh(k)
            outputs.append(h)
        ends.append(h)
    return torch.stack(outputs).view(*x.shape[:2], -1), [torch.stack(ends)]


@pytest.mark.parametrize("irregular", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
def test_is_the_paper_with_its_gradients(layers, irregular):
    torch.manual_seed(0)
    core = CfC(3, 4, backbone_size=6, backbone_layers=layers).double()
    x, hidden = torch.randn(2, 9, 3).double(), torch.randn(2, 4).double()
    gaps = torch.rand(2, 9).double() * 4 if irregular else None
    given = [leaf.requires_grad_() for leaf in (x, hidden, gaps) if leaf is not None]
    found = []
    for output, last in (
        core(x, CfCState(hidden), gaps=gaps),
        equations(core, x, hidden, gaps),
    ):
        total = output.sin().sum() + last[0].square().sum()
        found.append([output, last[0], *torch.autograd.grad(total, [*given, *core.parameters()])])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-11)


def test_time_decides_between_the_heads():
    """With a > 0 the gate opens with time: from between the heads to the second one."""
    torch.manual_seed(0)
    core = CfC(3, 4).double()
    with torch.no_grad():
        core.weight_heads[8:] = 0
        core.bias_heads[8:12], core.bias_heads[12:] = 1.0, 0.0
    x = torch.randn(1, 1, 3).double()
    at_once, later = (core(x, gaps=torch.full((1, 1), gap))[0] for gap in (0.0, 60.0))
    u = 1.7159 * torch.tanh(0.666 * (core.weight_ih @ x[0, 0] + core.bias))
    g, k = (torch.tanh(core.weight_heads[:8] @ u + core.bias_heads[:8])).chunk(2)
    torch.testing.assert_close(at_once[0, 0], (g + k) / 2)
    torch.testing.assert_close(later[0, 0], k)


def test_initialisation_and_options():
    torch.manual_seed(0)
    core = CfC(64, 40, backbone_layers=2)
    assert core.weight_ih.shape == (128, 64)
    assert core.weight_hh.abs().max().item() == pytest.approx((6 / 232) ** 0.5, rel=0.01)
    assert core.weight_heads.abs().max().item() == pytest.approx((6 / 168) ** 0.5, rel=0.01)
    assert core.bias.abs().max().item() <= 104**-0.5
    assert repr(CfC(3, 4)).startswith("CfC(\n  3, 4, backbone_size=128")
    for wrong in ({"backbone_size": 0}, {"backbone_layers": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} is 0; it is at least 1"):
            CfC(3, 4, **wrong)
