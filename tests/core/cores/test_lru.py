"""LRU against the paper's equations, in complex numbers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from unrolled.core import LRU, LRUState, reference


def equations(core: LRU, x: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """Row by row and step by step, with the matrices that appendix A forms."""
    eigenvalue = torch.exp(-torch.exp(core.nu) + 1j * torch.exp(core.theta))
    real, imaginary = core.weight_in.chunk(2)
    into = torch.complex(real, imaginary) * torch.exp(core.gamma).unsqueeze(1)
    out = torch.complex(*core.weight_out.chunk(2, 1))
    outputs, last = [], []
    for row, state in zip(x, before, strict=True):
        for u in row:
            state = eigenvalue * state + into @ u.to(into.dtype)
            outputs.append((out @ state).real + core.weight_skip @ u)
        last.append(state)
    return torch.stack(outputs).view(*x.shape[:2], -1), torch.stack(last)


@pytest.mark.parametrize("size", [None, 3])
def test_is_the_paper_with_its_gradients(size):
    torch.manual_seed(0)
    core = LRU(3, 5, state_size=size).double()
    results = []
    for paper in (True, False):
        torch.manual_seed(1)
        x, real, imaginary = (
            torch.randn(shape, dtype=torch.float64).requires_grad_()
            for shape in ((2, 9, 3), (2, core.state_size), (2, core.state_size))
        )
        core.zero_grad()
        if paper:
            output, last = equations(core, x, torch.complex(real, imaginary))
        else:
            output, last = core(x, LRUState(real, imaginary))
            last = torch.complex(*last)
        (output.sin().sum() + (last.real * 2 - last.imag).square().sum()).backward()
        tensors = (x, real, imaginary, *core.parameters())
        results.append([output, last, *(tensor.grad for tensor in tensors)])
    for ours, theirs in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-11, rtol=1e-11)


def test_the_skip_of_the_papers_code_is_a_diagonal():
    core = LRU(4, 4).double()
    with torch.no_grad():
        core.weight_out.zero_()
        core.weight_skip.copy_(torch.diag(torch.tensor([1.0, 2.0, 3.0, 4.0])))
    x = torch.randn(2, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(core(x)[0], x * torch.tensor([1.0, 2.0, 3.0, 4.0]))


def test_long_memories_keep_their_digits():
    torch.manual_seed(0)
    core = LRU(2, 4, least_radius=0.999, most_radius=0.9999, most_phase=math.pi / 10)
    x = torch.randn(1, 2000, 2)
    found = core(x)[0].double()
    # the eigenvalue as float32 has it: its own rounding, to the power of 2000, is not in question
    core.double()
    exact, _ = reference(core, x.double())
    assert (found - exact).abs().max() / exact.abs().max() < 2e-3


def test_white_noise_gives_a_state_of_its_size():
    """What gamma is for."""
    torch.manual_seed(0)
    core = LRU(16, 64, least_radius=0.5, most_radius=0.99).double()
    _, state = core(torch.randn(200, 1000, 16, dtype=torch.float64))
    size = state.real.square() + state.imaginary.square()
    assert size.mean().item() == pytest.approx(1.0, rel=0.1)


def test_initialisation_and_options():
    torch.manual_seed(0)
    core = LRU(8, 4000, state_size=2000, least_radius=0.4, most_radius=0.9, most_phase=0.3)
    radius = torch.exp(-torch.exp(core.nu.double()))
    assert 0.4 - 1e-4 <= radius.min() < 0.41 < 0.89 < radius.max() <= 0.9 + 1e-4
    # uniform in the ring, so more of them outside
    assert radius.square().mean().item() == pytest.approx((0.4**2 + 0.9**2) / 2, rel=0.02)
    torch.testing.assert_close(torch.exp(2 * core.gamma.double()), 1 - radius**2, atol=1e-5, rtol=0)
    assert 0.29 < core.theta.exp().max() <= 0.3 + 1e-6
    for options, message in (
        ({"state_size": 0}, "state_size is 0; it is at least 1, or None"),
        ({"least_radius": 0.5, "most_radius": 0.5}, "the radii are from 0.5 to 0.5; they rise"),
        ({"most_phase": 0.0}, "most_phase is 0.0; it is above 0"),
    ):
        with pytest.raises(ValueError, match=message):
            LRU(3, 4, **options)
    assert repr(LRU(3, 4)) == "LRU(3, 4, state_size=4, chunk=None)"
