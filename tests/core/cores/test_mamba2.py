"""Mamba2 against the paper's equations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from unrolled.core import Mamba2, Mamba2State, reference


def silu(v: Tensor) -> Tensor:
    return v / (1 + torch.exp(-v))


def equations(
    core: Mamba2, x: Tensor, memory: Tensor, previous: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Row by row, step by step, head by head, tap by tap."""
    inner, size, heads = core.inner_size, core.state_size, core.num_heads
    block, outputs = inner // heads, []
    memories, last = [], []
    for row, h, seen in zip(x, memory, previous, strict=True):
        h, seen = list(h), list(seen)
        for u in row:
            z, mixed, d = (core.weight @ u).split((inner, inner + 2 * size, heads))
            seen.append(mixed)
            taps = core.convolution.weight.unbind(1)
            mixed = core.convolution.bias + sum(
                weight * past for weight, past in zip(taps, seen[-len(taps) :], strict=True)
            )
            v, key, query = silu(mixed).split((inner, size, size))
            y = []
            for n in range(heads):
                part = v[n * block : (n + 1) * block]
                delta = torch.log(1 + torch.exp(d[n] + core.bias_step[n]))
                decay = torch.exp(-torch.exp(core.rate[n]) * delta)
                h[n] = decay * h[n] + delta * torch.outer(part, key)
                y.append(h[n] @ query + core.skip[n] * part)
            y = torch.cat(y) * silu(z)
            y = core.weight_norm * y / torch.sqrt((y * y).mean() + 1e-5)
            outputs.append(core.weight_out @ y)
        memories.append(torch.stack(h))
        last.append(torch.stack(seen[len(seen) - len(previous[0]) :]))
    return (
        torch.stack(outputs).view(*x.shape[:2], -1),
        torch.stack(memories),
        torch.stack(last),
    )


def make(**options: int) -> Mamba2:
    torch.manual_seed(0)
    core = Mamba2(3, 6, **{"num_heads": 2, "state_size": 5, **options}).double()
    for parameter in core.parameters():
        torch.nn.init.normal_(parameter, 0.1, 0.7)
    return core


@pytest.mark.parametrize("chunk_size", [1, 4, 64])
@pytest.mark.parametrize(("heads", "taps"), [(1, 4), (3, 2)])
def test_is_the_paper_with_its_gradients(chunk_size, heads, taps):
    core = make(chunk_size=chunk_size, num_heads=heads, taps=taps)
    results = []
    for run in (equations, lambda core, x, *state: core(x, Mamba2State(*state))):
        torch.manual_seed(1)
        x, *state = (
            torch.randn(shape, dtype=torch.float64).requires_grad_()
            for shape in ((2, 9, 3), (2, heads, 12 // heads, 5), (2, taps - 1, 22))
        )
        core.zero_grad()
        output, *last = run(core, x, *state)
        output, *last = (output, *(last[0] if isinstance(last[0], tuple) else last))
        sum((leaf * leaf.detach().cos()).sum() for leaf in (output, *last)).backward()
        results.append([output, *last, *(leaf.grad for leaf in (x, *state, *core.parameters()))])
    for ours, theirs in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rate", [-8.0, 3.0, 8.0])
def test_any_decay_is_exact(dtype, rate):
    """From almost nothing forgotten in the whole sequence to everything at each step."""
    core = make(chunk_size=16)
    with torch.no_grad():
        core.rate.fill_(rate)
        core.weight.mul_(2)
    x = torch.randn(2, 300, 3, dtype=torch.float64)
    exact, exact_state = reference(core, x)
    core.to(dtype)
    x = x.to(dtype).requires_grad_()
    output, state = core(x)
    output.square().sum().backward()
    tolerance = 2e-5 if dtype == torch.float32 else 1e-11
    torch.testing.assert_close(output.double(), exact, atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(
        state.memory.double(), exact_state.memory, atol=tolerance, rtol=tolerance
    )
    for tensor in (x, *core.parameters()):
        assert tensor.grad.isfinite().all()


def test_initialisation_and_options():
    torch.manual_seed(0)
    core = Mamba2(64, 400, num_heads=400)
    rate, width = core.rate.exp(), torch.nn.functional.softplus(core.bias_step)
    assert 1.0 <= rate.min() < 1.2 < 15.5 < rate.max() <= 16.0
    assert 0.00099 < width.min() < 0.0012 < 0.08 < width.max() < 0.101
    assert core.weight.abs().max() <= 1 / 8
    assert core.convolution.weight.abs().max() <= 0.5
    assert (core.skip == 1).all()
    assert (core.weight_norm == 1).all()
    with pytest.raises(ValueError, match="Mamba2: num_heads is 4; it is at least 1 and divides"):
        Mamba2(3, 6)
    for name in ("state_size", "taps"):
        with pytest.raises(ValueError, match=f"{name} is 0.*both are at least 1"):
            Mamba2(3, 4, **{name: 0})
    with pytest.raises(ValueError, match="Mamba2: chunk_size is 0; a chunk has at least 1 step"):
        Mamba2(3, 4, chunk_size=0)
    assert repr(Mamba2(3, 4)).startswith("Mamba2(\n  3, 4, num_heads=4, chunk_size=")
