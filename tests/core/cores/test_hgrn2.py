"""HGRN2 against the paper's equations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from unrolled.core import HGRN2, HGRN2State, reference


def sigmoid(v: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-v))


def equations(core: HGRN2, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    """Row by row, step by step, head by head, with the diagonal matrix written out."""
    size, heads, block = core.hidden_size, core.num_heads, core.head_size
    outputs, memories = [], []
    for row, h in zip(x, memory, strict=True):
        h = list(h)
        for x_t in row:
            i, o, f = (core.weight @ x_t + core.bias).split(size)
            i, o = i * sigmoid(i), sigmoid(o)
            f = core.lower_bound + (1 - core.lower_bound) * sigmoid(f)
            y = []
            for n in range(heads):
                part = slice(n * block, (n + 1) * block)
                h[n] = torch.diag(f[part]) @ h[n] + torch.outer(1 - f[part], i[part])
                y.append(o[part] @ h[n])
            y = torch.cat(y)
            y = (y - y.mean()) / torch.sqrt(y.var(correction=0) + 1e-5)
            y = core.weight_norm * y + core.bias_norm
            outputs.append(core.weight_out @ y + core.bias_out)
        memories.append(torch.stack(h))
    return torch.stack(outputs).view(*x.shape[:2], -1), torch.stack(memories)


def make(**options: float) -> HGRN2:
    torch.manual_seed(0)
    core = HGRN2(3, 6, **{"num_heads": 2, **options}).double()
    for parameter in core.parameters():
        torch.nn.init.normal_(parameter, 0.1, 0.7)
    return core


@pytest.mark.parametrize("chunk_size", [1, 4, 64])
@pytest.mark.parametrize(("heads", "bound"), [(1, 0.0), (3, 0.7)])
def test_is_the_paper_with_its_gradients(chunk_size, heads, bound):
    core = make(chunk_size=chunk_size, num_heads=heads, lower_bound=bound)
    results = []
    for run in (equations, lambda core, x, memory: core(x, HGRN2State(memory))):
        torch.manual_seed(1)
        x, memory = (
            torch.randn(shape, dtype=torch.float64).requires_grad_()
            for shape in ((2, 9, 3), (2, heads, 6 // heads, 6 // heads))
        )
        core.zero_grad()
        output, last = run(core, x, memory)
        last = getattr(last, "memory", last)
        sum((leaf * leaf.detach().cos()).sum() for leaf in (output, last)).backward()
        results.append([output, last, *(leaf.grad for leaf in (x, memory, *core.parameters()))])
    for ours, theirs in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("bias", "bound"), [(-200.0, 0.0), (0.0, 0.0), (200.0, 0.0), (-9.0, 0.99)])
def test_any_decay_is_exact(dtype, bias, bound):
    """Gates that are shut, open, or now this and now that, without a division by a decay."""
    core = make(chunk_size=32, lower_bound=bound)
    with torch.no_grad():
        core.bias[12:] += bias
        core.weight[12:] *= 60.0
    x = torch.randn(2, 300, 3, dtype=torch.float64)
    exact, exact_state = reference(core, x)
    core.to(dtype)
    x = x.to(dtype).requires_grad_()
    output, state = core(x)
    output.square().sum().backward()
    tolerance = 2e-5 if dtype == torch.float32 else 1e-11
    torch.testing.assert_close(
        state.memory.double(), exact_state.memory, atol=tolerance, rtol=tolerance
    )
    if bias < 200:  # else nothing ever enters, and the norm makes noise large
        torch.testing.assert_close(output.double(), exact, atol=50 * tolerance, rtol=50 * tolerance)
    for tensor in (x, *core.parameters()):
        assert tensor.grad.isfinite().all()


def test_options_are_checked():
    with pytest.raises(ValueError, match=r"HGRN2: lower_bound is 1\.0; it is from 0 up to"):
        HGRN2(3, 4, lower_bound=1.0)
    with pytest.raises(ValueError, match="HGRN2: chunk_size is 48; it is a power of two"):
        HGRN2(3, 4, chunk_size=48)
    assert repr(HGRN2(3, 4)).startswith("HGRN2(3, 4, num_heads=4, chunk_size=")
