"""The quasi-recurrent network.

Shapes: B batch, T time, D input, H hidden, K kernel width.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels.gated_scan import Gates, gated_recurrence
from .elementwise import ElementwiseCore, project


class QRNNState(NamedTuple):
    """What a QRNN carries from step to step.

    Attributes:
        cell: c (B, H), the memory.
        previous: x of the step before (B, (K - 1) * D): nothing with kernel width 1.
    """

    cell: Tensor
    previous: Tensor


class QRNN(ElementwiseCore):
    r"""Quasi-recurrent network: a convolution over time, then gated pooling (fo), parallel.

    Bradbury et al., 2016 (https://arxiv.org/abs/1611.01576), with a kernel of width 2:

        z_t = tanh(W1_z x_{t-1} + W2_z x_t + b_z)       candidate
        f_t = sigmoid(W1_f x_{t-1} + W2_f x_t + b_f)    forget gate
        o_t = sigmoid(W1_o x_{t-1} + W2_o x_t + b_o)    output gate
        c_t = f_t * c_{t-1} + (1 - f_t) * z_t           fo-pooling
        h_t = o_t * c_t

    and without the W1 terms with a kernel of width 1. x before the first step is zero, so is c.

    Gate order z, f, o, the columns of x_{t-1} first: `weight` (3H, K * D), `bias` (3H,).
    Initialised uniformly within 1 / sqrt(K * D), as `nn.Conv1d` does.

    Args:
        input_size: D, size of one step's input.
        hidden_size: H, size of the cell and of the output.
        kernel: K, width of the convolution, 1 or 2.
        bias: Whether there are biases.
        chunk: Steps at a time, computed again for the gradient to save memory; see
            `ElementwiseCore`.
    """

    parallel = True

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        kernel: Literal[1, 2] = 2,
        bias: bool = True,
        chunk: int | None = None,
    ) -> None:
        if kernel not in (1, 2):
            raise ValueError(f"QRNN: kernel is {kernel}; it must be 1 or 2")
        super().__init__(input_size, hidden_size, chunk=chunk)
        self.kernel = kernel
        self._gates = _QRNNGates(torch.tanh, torch.sigmoid, torch.sigmoid)
        self.weight = nn.Parameter(torch.empty(3 * hidden_size, kernel * input_size))
        self.bias = nn.Parameter(torch.empty(3 * hidden_size)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws every parameter uniformly within 1 / sqrt(K * D)."""
        bound = self.weight.shape[1] ** -0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> QRNNState:
        """Returns zeros; see `RecurrentCore.initial_state`."""
        return QRNNState(
            self._zeros(batch_size, self.hidden_size, device, dtype),
            self._zeros(batch_size, (self.kernel - 1) * self.input_size, device, dtype),
        )

    def step(self, x: Tensor, state: QRNNState) -> tuple[Tensor, QRNNState]:
        """Advances one step; see `RecurrentCore.step`."""
        cell, previous = state
        window = torch.cat((previous.to(x.dtype), x), 1)
        z, f, o = F.linear(window, self.weight, self.bias).to(cell.dtype).chunk(3, 1)
        f = torch.sigmoid(f)
        cell = f * cell + (1 - f) * torch.tanh(z)
        hidden = torch.sigmoid(o) * cell
        return hidden.to(x.dtype), QRNNState(
            cell, x.to(previous.dtype) if self.kernel == 2 else previous
        )

    def _run(self, x: Tensor, state: QRNNState, reset: Tensor | None) -> tuple[Tensor, QRNNState]:
        cell, previous = state
        states = x.to(previous.dtype) if self.kernel == 2 else previous.expand(len(x), -1, -1)
        if self.kernel == 2:
            before = torch.cat((previous.to(x.dtype).unsqueeze(0), x[:-1]))
            x = torch.cat(
                (before if reset is None else before.masked_fill(reset.unsqueeze(2), 0.0), x), 2
            )
        output, cells = gated_recurrence(
            self._gates, project, (x, self.weight, self.bias), cell, reset=reset
        )
        return output, QRNNState(cells, states)

    def extra_repr(self) -> str:
        """Shows the options in the module's representation."""
        bias = "" if self.bias is not None else ", bias=False"
        return (
            f"{self.input_size}, {self.hidden_size}, kernel={self.kernel}, chunk={self.chunk}{bias}"
        )


class _QRNNGates(Gates):
    def factors(self, *given: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        z, f, _ = given
        rest = 1 - f
        return f, rest * z, (rest,)

    def read(self, h: Tensor, *given: Tensor) -> Tensor:
        return given[2] * h

    def read_gradient(self, grad: Tensor, *given: Tensor) -> Tensor:
        return given[2] * grad

    def gradients(
        self,
        given: tuple[Tensor, ...],
        kept: tuple[Tensor, ...],
        out: tuple[Tensor, ...],
        before: Tensor,
        h: Tensor,
        grad_h: Tensor,
        grad_output: Tensor,
    ) -> None:
        z, f, o = given
        grad_z, grad_f, grad_o = out
        inner = torch.mul(grad_h, kept[0])
        torch.sub(before, z, out=grad_f).mul_(inner).mul_(f)
        torch.addcmul(inner, inner.mul(z), z, value=-1, out=grad_z)
        torch.addcmul(o, o, o, value=-1, out=grad_o).mul_(h).mul_(grad_output)
