"""The quasi-recurrent network.

Shapes: B batch, T time, D input, H hidden, K kernel width.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from ..families.elementwise import ElementwiseCore, project
from ..kernels.scan import linear_recurrence


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

    Examples:
        >>> core = QRNN(3, 8, kernel=2)
        >>> output, state = core(torch.randn(2, 5, 3))
        >>> output.shape, state.cell.shape, state.previous.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 8]), torch.Size([2, 3]))
    """

    parallel = True
    state_type = QRNNState

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
        self.weight = nn.Parameter(torch.empty(3 * hidden_size, kernel * input_size))
        self.bias = nn.Parameter(torch.empty(3 * hidden_size)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every parameter uniformly within 1 / sqrt(K * D)."""
        bound = self.weight.shape[1] ** -0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the cell and of the inputs that the next step reads."""
        return {
            "cell": (self.hidden_size,),
            "previous": ((self.kernel - 1) * self.input_size,),
        }

    def _gates(self, window: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Return z, f and o, each (..., H), of inputs side by side (..., K * D)."""
        z, f, o = project(window, self.weight, self.bias).to(dtype).chunk(3, -1)
        return torch.tanh(z), torch.sigmoid(f), torch.sigmoid(o)

    def step(self, x: Tensor, state: QRNNState) -> tuple[Tensor, QRNNState]:
        """Advance one step; see `RecurrentCore.step`."""
        cell, previous = state
        window = torch.cat((previous.to(x.dtype), x), 1)  # (B, K * D)
        z, f, o = self._gates(window, cell.dtype)
        cell = f * cell + (1 - f) * z
        hidden = o * cell
        previous = x.to(previous.dtype) if self.kernel == 2 else previous
        return hidden.to(x.dtype), QRNNState(cell, previous)

    def _run(self, x: Tensor, state: QRNNState, reset: Tensor | None) -> tuple[Tensor, QRNNState]:
        cell, previous = state
        inputs, window = previous.expand(x.shape[0], -1, -1), x
        if self.kernel == 2:
            inputs = x.to(previous.dtype)
            before = torch.cat((previous.to(x.dtype).unsqueeze(0), x[:-1]))  # (T, B, D)
            if reset is not None:
                before = before.masked_fill(reset.unsqueeze(2), 0.0)
            window = torch.cat((before, x), 2)  # (T, B, K * D)
        z, f, o = self._gates(window, cell.dtype)
        cells = linear_recurrence(f, (1 - f) * z, cell, reset)  # (T, B, H)
        return o * cells, QRNNState(cells, inputs)

    def extra_repr(self) -> str:
        """Show the options in the module's representation."""
        bias = "" if self.bias is not None else ", bias=False"
        return (
            f"{self.input_size}, {self.hidden_size}, kernel={self.kernel}, chunk={self.chunk}{bias}"
        )
