"""MLSTM against the paper's equations without the stabiliser."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from unrolled.core import MLSTM, MLSTMState, reference
from unrolled.core.state import leaves


def sigmoid(v: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-v))


def equations(core: MLSTM, x: Tensor, memory: Tensor, normalizer: Tensor) -> tuple[Tensor, ...]:
    """Equations 19 to 27, row by row, head by head, step by step; C and n are unscaled."""
    size, heads = core.hidden_size, core.num_heads
    block = size // heads
    outputs, memories, normalizers = [], [], []
    for row in range(len(x)):
        for head in range(heads):
            part = slice(head * block, (head + 1) * block)
            q_w, k_w, v_w, o_w = (core.weight[k * size : (k + 1) * size][part] for k in range(4))
            q_b, k_b, v_b, o_b = (core.bias[k * size : (k + 1) * size][part] for k in range(4))
            (i_w, i_b), (f_w, f_b) = (
                (core.weight[k], core.bias[k]) for k in (4 * size + head, 4 * size + heads + head)
            )
            c, n, output = memory[row, head], normalizer[row, head], []
            for x_t in x[row]:
                q = q_w @ x_t + q_b
                k = k_w @ x_t / math.sqrt(block) + k_b
                v = v_w @ x_t + v_b
                i, f, o = (
                    torch.exp(i_w @ x_t + i_b),
                    sigmoid(f_w @ x_t + f_b),
                    sigmoid(o_w @ x_t + o_b),
                )
                c = f * c + i * torch.outer(v, k)
                n = f * n + i * k
                output.append(o * (c @ q) / torch.clamp(torch.abs(torch.dot(n, q)), min=1.0))
            outputs.append(torch.stack(output))
            memories.append(c)
            normalizers.append(n)
    output = torch.stack(outputs).unflatten(0, (-1, heads)).transpose(1, 2).flatten(2)
    return (
        output,
        torch.stack(memories).unflatten(0, (-1, heads)),
        torch.stack(normalizers).unflatten(0, (-1, heads)),
    )


def make(heads: int = 2, chunk_size: int = 64) -> MLSTM:
    torch.manual_seed(0)
    core = MLSTM(3, 6, num_heads=heads, chunk_size=chunk_size).double()
    for parameter in core.parameters():
        torch.nn.init.normal_(parameter, 0.2, 0.8)
    return core


@pytest.mark.parametrize("heads", [1, 2, 6])
@pytest.mark.parametrize("chunk_size", [1, 4, 64])
@pytest.mark.parametrize("start", ["initial", "given"])
def test_is_the_paper_with_its_gradients(heads, chunk_size, start):
    core, results = make(heads, chunk_size), []
    for run in ("paper", "core"):
        torch.manual_seed(1)
        shapes = (4, 9, 3), (4, heads, 6 // heads, 6 // heads), (4, heads, 6 // heads), (4, heads)
        x, *given = (torch.randn(shape, dtype=torch.float64).requires_grad_() for shape in shapes)
        core.zero_grad()
        given = given if start == "given" else []
        state = MLSTMState(*given) if given else core.initial_state(4)
        if run == "paper":
            scale = state.stabilizer.exp()[:, :, None]
            found = equations(core, x, state.memory * scale[..., None], state.normalizer * scale)
        else:
            output, last = core(x, state)
            scale = last.stabilizer.exp()[:, :, None]
            found = output, last.memory * scale[..., None], last.normalizer * scale
        sum(
            (leaf * torch.arange(leaf.numel()).view_as(leaf).cos()).sum() for leaf in found
        ).backward()
        results.append([*found, *(tensor.grad for tensor in (x, *given, *core.parameters()))])
    for ours, theirs in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)


def test_the_stabiliser_is_the_papers():
    core = make(chunk_size=3)
    x = torch.randn(1, 8, 3, dtype=torch.float64)
    m = torch.zeros(2, dtype=torch.float64)
    for x_t in x[0]:
        i, f = (core.weight[-4:] @ x_t + core.bias[-4:]).split(2)
        m = torch.maximum(torch.log(sigmoid(f)) + m, i)
    torch.testing.assert_close(core(x)[1].stabilizer[0], m)


def test_the_initial_stabiliser_does_not_matter(same):
    core, x = make(chunk_size=3), torch.randn(2, 7, 3, dtype=torch.float64)
    zero = core.initial_state(2)
    for m in (-1e30, -5.0, 3.0):
        given = zero._replace(stabilizer=torch.full_like(zero.stabilizer, m))
        same(core(x, given)[0], core(x)[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("i", "f"), [(200, 0), (-200, 0), (200, 200), (-200, -200), (200, -200), (-200, 200)]
)
def test_long_sequences_with_large_gates_stay_finite(dtype, i, f):
    core = make()
    with torch.no_grad():
        core.bias[-4:-2] += i
        core.bias[-2:] += f
        core.weight.mul_(2)
    x = torch.randn(2, 300, 3, dtype=torch.float64) * 5
    exact, exact_state = reference(core, x)
    core.to(dtype)
    x = x.to(dtype).requires_grad_()
    output, state = core(x)
    (output.sum() + sum(leaf.sum() for leaf in leaves(state))).backward()
    for tensor in (output, *state, x.grad, *(parameter.grad for parameter in core.parameters())):
        assert tensor.isfinite().all()
    if dtype == torch.float64:
        torch.testing.assert_close(output, exact, atol=1e-10, rtol=1e-8)
        torch.testing.assert_close(state.stabilizer, exact_state.stabilizer, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("chunk_size", [2, 5])
def test_options_follow_the_definition(chunk_size, same):
    core = make(chunk_size=chunk_size)
    x = torch.randn(5, 9, 3, dtype=torch.float64)
    lengths, reset = torch.tensor([9, 0, 4, 2, 9]), torch.rand(5, 9) < 0.2
    for slack in (0, 3, 64):
        core._slack = slack
        same(core(x, lengths=lengths), reference(core, x, lengths=lengths))
        same(
            core(x, lengths=lengths, reset=reset), reference(core, x, lengths=lengths, reset=reset)
        )


def test_options_are_checked():
    with pytest.raises(
        ValueError,
        match="MLSTM: num_heads is 4; it is at least 1 and divides hidden_size, which is 6",
    ):
        MLSTM(3, 6)
    with pytest.raises(ValueError, match="chunk_size is 0; a chunk has at least 1 step"):
        MLSTM(3, 4, chunk_size=0)
