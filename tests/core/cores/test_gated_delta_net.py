"""GatedDeltaNet against the paper's equations."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from unrolled.core import GatedDeltaNet, GatedDeltaNetState, reference


def sigmoid(v: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-v))


def equations(
    core: GatedDeltaNet, x: Tensor, memory: Tensor, previous: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Equation 10 with its matrix I - beta k k^T written out, row by row, head by head."""
    heads, keys, values = core.num_heads, core.head_size, core.value_size
    taps = core.convolution.weight.unbind(1)
    outputs, memories, last = [], [], []
    for row, s, seen in zip(x, memory, previous, strict=True):
        s, seen = list(s), list(seen)
        for x_t in row:
            mixed, g, a, b = (core.weight @ x_t).split(
                (heads * (2 * keys + values), heads * values, heads, heads)
            )
            seen.append(mixed)
            mixed = sum(w * past for w, past in zip(taps, seen[-len(taps) :], strict=True))
            mixed = mixed * sigmoid(mixed)
            q, k, v = mixed.split((heads * keys, heads * keys, heads * values))
            y = []
            for n in range(heads):
                q_n, k_n = (t[n * keys : (n + 1) * keys] for t in (q, k))
                v_n, g_n = (t[n * values : (n + 1) * values] for t in (v, g))
                q_n = q_n / torch.sqrt(q_n @ q_n + 1e-6) / math.sqrt(keys)
                k_n = k_n / torch.sqrt(k_n @ k_n + 1e-6)
                alpha = torch.exp(
                    -torch.exp(core.rate[n]) * torch.log(1 + torch.exp(a[n] + core.bias_rate[n]))
                )
                beta = sigmoid(b[n])
                erase = torch.eye(keys, dtype=x.dtype) - beta * torch.outer(k_n, k_n)
                s[n] = s[n] @ (alpha * erase) + beta * torch.outer(v_n, k_n)
                read = s[n] @ q_n
                read = core.weight_norm * read / torch.sqrt((read * read).mean() + 1e-5)
                y.append(read * g_n * sigmoid(g_n))
            outputs.append(core.weight_out @ torch.cat(y))
        memories.append(torch.stack(s))
        last.append(torch.stack(seen[len(seen) - len(previous[0]) :]))
    return (
        torch.stack(outputs).view(*x.shape[:2], -1),
        torch.stack(memories),
        torch.stack(last),
    )


def make(**options: int) -> GatedDeltaNet:
    torch.manual_seed(0)
    core = GatedDeltaNet(3, 6, **options).double()
    for parameter in core.parameters():
        torch.nn.init.normal_(parameter, 0.1, 0.7)
    return core


@pytest.mark.parametrize("chunk_size", [1, 4, 64])
@pytest.mark.parametrize(("heads", "expand", "taps"), [(1, 1, 2), (2, 2, 4)])
def test_is_the_paper_with_its_gradients(chunk_size, heads, expand, taps):
    core = make(chunk_size=chunk_size, num_heads=heads, expand=expand, taps=taps)
    keys = 6 // heads
    shapes = (2, 9, 3), (2, heads, expand * keys, keys), (2, taps - 1, 6 * (2 + expand))
    results = []
    for run in (equations, lambda core, x, *state: core(x, GatedDeltaNetState(*state))):
        torch.manual_seed(1)
        x, *state = (torch.randn(s, dtype=torch.float64).requires_grad_() for s in shapes)
        core.zero_grad()
        output, *last = run(core, x, *state)
        output, *last = (output, *(last[0] if isinstance(last[0], tuple) else last))
        sum((leaf * leaf.detach().cos()).sum() for leaf in (output, *last)).backward()
        results.append([output, *last, *(leaf.grad for leaf in (x, *state, *core.parameters()))])
    for ours, theirs in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-9)


def test_a_key_is_corrected_not_added_to():
    """With beta 1 and nothing forgotten, the memory holds the last value of a key."""
    core = make(num_heads=1)
    state = core.initial_state(1)
    with torch.no_grad():
        core.rate.fill_(-50.0)
        core.weight[-1] = torch.tensor([50.0, 0.0, 0.0])  # beta
    x = torch.randn(1, 40, 3, dtype=torch.float64)
    x[..., 0] = 1.0
    x[:, 36:] = x[:, 36:37]  # long enough for the convolution to see nothing else
    _, state = core(x)
    mixed, _ = core.convolution.step(state.previous[:, -1], state.previous)
    key, value = mixed[0, 6:12], mixed[0, 12:]
    key = key / key.norm()
    torch.testing.assert_close(state.memory[0, 0] @ key, value, atol=1e-4, rtol=1e-4)


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
    tolerance = 1e-4 if dtype == torch.float32 else 1e-11
    torch.testing.assert_close(
        state.memory.double(), exact_state.memory, atol=tolerance, rtol=tolerance
    )
    # the norm divides by what may be almost nothing
    torch.testing.assert_close(output.double(), exact, atol=50 * tolerance, rtol=50 * tolerance)
    for tensor in (x, *core.parameters()):
        assert tensor.grad.isfinite().all()


def test_initialisation_and_options():
    torch.manual_seed(0)
    core = GatedDeltaNet(64, 400, num_heads=400)
    rate, width = core.rate.exp(), torch.nn.functional.softplus(core.bias_rate)
    assert 0 < rate.min() < 0.3 < 15.5 < rate.max() <= 16.0
    assert 0.00099 < width.min() < 0.0012 < 0.08 < width.max() < 0.101
    assert core.weight.abs().max() <= 1 / 8
    with pytest.raises(ValueError, match=r"GatedDeltaNet: num_heads is 4; it .* divides"):
        GatedDeltaNet(3, 6, num_heads=4)
    for name in ("expand", "taps"):
        with pytest.raises(ValueError, match=f"{name} is 0.*both are at least 1"):
            GatedDeltaNet(3, 4, **{name: 0})
    assert repr(GatedDeltaNet(3, 4)).startswith("GatedDeltaNet(\n  3, 4, num_heads=2, chunk_size=")
