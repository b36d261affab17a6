"""QRNN against the paper's equations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from unrolled.core import QRNN, QRNNState


def sigmoid(v: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-v))


def equations(core: QRNN, x: Tensor, cell: Tensor, previous: Tensor) -> tuple[Tensor, ...]:
    """Section 2 of the paper: the masked convolution of each row, then fo-pooling, step by step."""
    size, width = core.hidden_size, core.input_size
    kernels = core.weight.view(3 * size, core.kernel, width)
    outputs, cells = [], []
    for row, before, c in zip(x, previous, cell, strict=True):
        padded = torch.cat((before.view(-1, width), row))
        for t in range(len(row)):
            window = padded[t : t + core.kernel]
            z, f, o = (torch.einsum("hkd,kd->h", kernels, window) + core.bias).split(size)
            z, f, o = torch.tanh(z), sigmoid(f), sigmoid(o)
            c = f * c + (1 - f) * z
            outputs.append(o * c)
        cells.append(c)
    last = x[:, -1] if core.kernel == 2 else previous
    return torch.stack(outputs).view(*x.shape[:2], size), torch.stack(cells), last


@pytest.mark.parametrize("kernel", [1, 2])
def test_is_the_paper_with_its_gradients(kernel):
    torch.manual_seed(0)
    core = QRNN(3, 4, kernel=kernel).double()
    x, cell = torch.randn(2, 9, 3).double(), torch.randn(2, 4).double()
    previous = torch.randn(2, (kernel - 1) * 3).double()
    results = []
    for run in (equations, lambda core, x, *state: core(x, QRNNState(*state))):
        leaves = [leaf.clone().requires_grad_() for leaf in (x, cell, previous)]
        core.zero_grad()
        output, *last = run(core, *leaves)
        last = last[0] if isinstance(last[0], QRNNState) else last
        (output.sin().sum() + sum(leaf.square().sum() for leaf in last)).backward()
        gradients = [leaf.grad for leaf in (*leaves, *core.parameters()) if leaf.numel()]
        results.append([output, *last, *gradients])
    for ours, theirs in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("kernel", [1, 2])
def test_the_convolution_is_torchs(kernel):
    core = QRNN(3, 4, kernel=kernel).double()
    x = torch.randn(2, 9, 3).double()
    convolution = torch.nn.Conv1d(3, 12, kernel).double()
    with torch.no_grad():
        convolution.weight.copy_(core.weight.view(12, kernel, 3).transpose(1, 2))
        convolution.bias.copy_(core.bias)
    padded = torch.nn.functional.pad(x, (0, 0, kernel - 1, 0))
    z, f, o = convolution(padded.transpose(1, 2)).transpose(1, 2).chunk(3, 2)
    c = torch.zeros(2, 4).double()
    for t in range(9):
        c = sigmoid(f[:, t]) * c + (1 - sigmoid(f[:, t])) * torch.tanh(z[:, t])
        torch.testing.assert_close(core(x)[0][:, t], sigmoid(o[:, t]) * c)


def test_the_state_remembers_the_input_at_each_length():
    core = QRNN(3, 4)
    x, lengths = torch.randn(3, 5, 3), torch.tensor([5, 2, 0])
    _, state = core(x, lengths=lengths)
    assert torch.equal(state.previous, torch.stack((x[0, 4], x[1, 1], torch.zeros(3))))


def test_kernel_width_one_remembers_no_input_and_runs_everywhere():
    core = QRNN(3, 4, kernel=1).double()
    x, lengths, reset = (
        torch.randn(3, 5, 3).double(),
        torch.tensor([5, 2, 0]),
        torch.rand(3, 5) < 0.3,
    )
    output, state = core(x, lengths=lengths, reset=reset)
    assert state.previous.shape == (3, 0)
    for row, length in enumerate(lengths.tolist()):
        piece, cell = core(x[row : row + 1, :length], reset=reset[row : row + 1, :length])
        torch.testing.assert_close(output[row : row + 1, :length], piece)
        torch.testing.assert_close(state.cell[row : row + 1], cell.cell)
    torch.testing.assert_close(
        core.step(x[:, 0], core.initial_state(3))[0], core(x[:, :1])[0][:, 0]
    )


def test_initialisation_and_options():
    for parameter in QRNN(8, 300).parameters():
        assert 0.24 < parameter.abs().max() <= 0.25
    assert dict(QRNN(3, 4, bias=False).named_parameters()).keys() == {"weight"}
    assert repr(QRNN(3, 4, kernel=1, bias=False)) == "QRNN(3, 4, kernel=1, chunk=None, bias=False)"
    with pytest.raises(ValueError, match="QRNN: kernel is 3; it must be 1 or 2"):
        QRNN(3, 4, kernel=3)
