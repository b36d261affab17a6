"""SLSTM against the paper's equations without the stabiliser."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from unrolled.core import SLSTM, SLSTMState, reference
from unrolled.core.state import leaves


def sigmoid(v: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-v))


def equations(core: SLSTM, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
    """Equations 8 to 14, row by row, step by step, head by head; c and n are unscaled."""
    size, heads = core.hidden_size, core.num_heads
    block = size // heads
    results: list[list[Tensor]] = [[], [], [], []]
    for row in range(len(x)):
        h, c, n, output = state[0][row], state[1][row], state[2][row], []
        for x_t in x[row]:
            gates = {}
            for k, name in enumerate("zifo"):
                rows = slice(k * size, (k + 1) * size)
                recurrent = [
                    core.weight_hh[rows][head * block : (head + 1) * block]
                    @ h[head * block : (head + 1) * block]
                    for head in range(heads)
                ]
                gates[name] = core.weight_ih[rows] @ x_t + torch.cat(recurrent) + core.bias[rows]
            i, f = torch.exp(gates["i"]), sigmoid(gates["f"])
            c = f * c + i * torch.tanh(gates["z"])
            n = f * n + i
            h = sigmoid(gates["o"]) * c / n
            output.append(h)
        for result, value in zip(results, (torch.stack(output), h, c, n), strict=True):
            result.append(value)
    return tuple(torch.stack(result) for result in results)


def make(heads: int) -> SLSTM:
    torch.manual_seed(0)
    core = SLSTM(3, 6, num_heads=heads).double()
    for parameter in core.parameters():
        torch.nn.init.normal_(parameter, 0.2, 0.8)
    return core


def compare(results: list[list[Tensor]]) -> None:
    for ours, theirs in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("heads", [1, 2, 3, 6])
@pytest.mark.parametrize("start", ["initial", "given"])
def test_is_the_paper_with_its_gradients(heads, start):
    core, results = make(heads), []
    for run in ("paper", "core"):
        torch.manual_seed(1)
        x = torch.randn(4, 9, 3, dtype=torch.float64).requires_grad_()
        h, c, m = (torch.randn(4, 6, dtype=torch.float64).requires_grad_() for _ in range(3))
        n = torch.rand(4, 6, dtype=torch.float64).add(1).requires_grad_()
        core.zero_grad()
        given = [h, c, n, m] if start == "given" else []
        state = SLSTMState(*given) if given else core.initial_state(4)
        if run == "paper":
            scale = state.stabilizer.exp()
            found = equations(core, x, state.hidden, state.cell * scale, state.normalizer * scale)
        else:
            output, last = core(x, state)
            scale = last.stabilizer.exp()
            found = output, last.hidden, last.cell * scale, last.normalizer * scale
        sum(
            (leaf * torch.arange(leaf.numel()).view_as(leaf).cos()).sum() for leaf in found
        ).backward()
        results.append([*found, *(tensor.grad for tensor in (x, *given, *core.parameters()))])
    compare(results)


def test_the_stabiliser_is_the_papers():
    core = make(2)
    x = torch.randn(1, 5, 3, dtype=torch.float64)
    state, m = core.initial_state(1), torch.full((6,), -torch.inf, dtype=torch.float64)
    for x_t in x[0]:
        recurrent = torch.block_diag(*core.weight_hh[6:12].split(3)) @ state.hidden[0]
        i = core.weight_ih[6:12] @ x_t + recurrent + core.bias[6:12]
        recurrent = torch.block_diag(*core.weight_hh[12:18].split(3)) @ state.hidden[0]
        f = core.weight_ih[12:18] @ x_t + recurrent + core.bias[12:18]
        m = torch.maximum(torch.log(sigmoid(f)) + m, i)
        state = core.step(x_t[None], state)[1]
        torch.testing.assert_close(state.stabilizer[0], m)
        assert (state.normalizer >= 1).all()


def test_the_initial_stabiliser_does_not_matter(same):
    core, x = make(2), torch.randn(2, 4, 3, dtype=torch.float64)
    zero = core.initial_state(2)
    for m in (-1e30, -500.0, 3.0, 1e30, -torch.inf):
        same(core(x, zero._replace(stabilizer=torch.full_like(zero.stabilizer, m))), core(x), 0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("i", "f"), [(200, 0), (-200, 0), (200, 200), (-200, -200), (200, -200), (-200, 200)]
)
def test_long_sequences_with_large_gates_stay_finite(dtype, i, f):
    core = make(2)
    with torch.no_grad():
        core.bias[6:12] += i
        core.bias[12:18] += f
        core.weight_ih.mul_(5)
    exact = reference(core, x := torch.randn(2, 400, 3, dtype=torch.float64) * 10)[0]
    core.to(dtype)
    x = x.to(dtype).requires_grad_()
    output, state = core(x)
    (output.sum() + sum(leaf.sum() for leaf in leaves(state))).backward()
    for tensor in (output, *state, x.grad, *(parameter.grad for parameter in core.parameters())):
        assert tensor.isfinite().all()
    tolerance = 1e-10 if dtype == torch.float64 else 1e-3
    torch.testing.assert_close(
        output[:, :20].double(), exact[:, :20], atol=tolerance, rtol=tolerance
    )


@pytest.mark.parametrize("heads", [1, 2])
def test_heads_follow_the_definition(heads, same):
    core = make(heads)
    x, lengths, reset = (
        torch.randn(4, 6, 3, dtype=torch.float64),
        torch.tensor([6, 0, 4, 2]),
        torch.rand(4, 6) < 0.3,
    )
    same(core(x, lengths=lengths, reset=reset), reference(core, x, lengths=lengths, reset=reset))
    torch.autograd.gradcheck(
        lambda x: (lambda out: (out[0], *out[1]))(core(x)), x[:2, :3].requires_grad_()
    )


def test_heads_are_checked():
    with pytest.raises(
        ValueError,
        match="SLSTM: num_heads is 4; it is at least 1 and divides hidden_size, which is 6",
    ):
        SLSTM(3, 6)
    with pytest.raises(ValueError, match="num_heads is 0"):
        SLSTM(3, 6, num_heads=0)
