"""The scalar LSTM of the xLSTM.

Shapes: B batch, T time, D input, H hidden, N heads, S = H / N units of a head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels.loops import Loop, product_dtype, without_autocast
from ..recurrent import RecurrentCore
from .lstm_loop import blocks_backward


class SLSTMState(NamedTuple):
    """What an sLSTM carries from step to step. The paper's cell is exp(m) * cell, its normaliser exp(m) * normalizer.

    Attributes:
        hidden: h (B, H), the last output.
        cell: c (B, H), the memory.
        normalizer: n (B, H), the sum of the weights in `cell`; zero where nothing has been seen,
            else at least 1.
        stabilizer: m (B, H), the logarithm of the scale of `cell` and `normalizer`.
    """

    hidden: Tensor
    cell: Tensor
    normalizer: Tensor
    stabilizer: Tensor


class SLSTM(RecurrentCore):
    r"""sLSTM, the xLSTM's LSTM with exponential gates, sequential.

    Beck et al., 2024 (https://arxiv.org/abs/2405.04517), equations 8 to 18, stabilised (15 to 17):

        z_t = tanh(W_z x_t + R_z h_{t-1} + b_z)             cell input
        i~_t = W_i x_t + R_i h_{t-1} + b_i                  input gate, i_t = exp(i~_t)
        f~_t = W_f x_t + R_f h_{t-1} + b_f                  forget gate, f_t = sigmoid(f~_t)
        o_t = sigmoid(W_o x_t + R_o h_{t-1} + b_o)          output gate
        m_t = max(log f_t + m_{t-1}, i~_t)                  stabiliser
        i'_t = exp(i~_t - m_t),  f'_t = exp(log f_t + m_{t-1} - m_t)
        c_t = f'_t * c_{t-1} + i'_t * z_t
        n_t = f'_t * n_{t-1} + i'_t
        h_t = o_t * c_t / n_t

    The forget gate is the paper's sigmoid, not its exponential. R is block-diagonal: the units of a
    head see that head alone. Where n_{t-1} = 0 nothing has been seen and m_{t-1} counts as minus
    infinity, so the initial state is zero throughout, h does not depend on m_0 and n_t is at least
    1 from the first step on.

    This is the cell with its input projection. The block around it (layer norm, convolution of the
    gates' inputs, group norm of each head, feed-forward, residual) is not part of it: see
    `Stacked`.

    Gate order z, i, f, o: `weight_ih` (4H, D), `weight_hh` (4H, S), `bias` (4H,); within a gate the
    rows of the first head come first. Initialised uniformly within 1 / sqrt(H), torch's default for
    the LSTM.

    Args:
        input_size: D, size of one step's input.
        hidden_size: H, size of the hidden state and of the output.
        num_heads: N, blocks of the recurrent weights; divides H. The paper uses 4.
    """

    recurrent_weights = ("weight_hh",)

    def __init__(self, input_size: int, hidden_size: int, *, num_heads: int = 4) -> None:
        check_heads("SLSTM", hidden_size, num_heads)
        super().__init__(input_size, hidden_size)
        self.hidden_size = hidden_size
        self.num_heads = num_heads
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, hidden_size // num_heads))
        self.bias = nn.Parameter(torch.empty(4 * hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws every parameter uniformly within 1 / sqrt(H)."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> SLSTMState:
        """Returns zeros; see `RecurrentCore.initial_state`."""
        return SLSTMState(
            *(self._zeros(batch_size, self.hidden_size, device, dtype) for _ in range(4))
        )

    def step(self, x: Tensor, state: SLSTMState) -> tuple[Tensor, SLSTMState]:
        """Advances one step; see `RecurrentCore.step`."""
        hidden, c, n, m = state
        heads = self.weight_hh.view(4, self.num_heads, -1, self.hidden_size // self.num_heads)
        by_head = hidden.to(heads.dtype).unflatten(
            1, (self.num_heads, self.hidden_size // self.num_heads)
        )
        recurrent = torch.einsum("gnij,bnj->bgni", heads, by_head)
        gates = F.linear(x, self.weight_ih, self.bias) + recurrent.flatten(1)
        state = SLSTMState(*_step(gates.to(c.dtype), c, n, m.masked_fill(n == 0, -torch.inf)))
        return state.hidden.to(x.dtype), state

    def _sequence(self, x: Tensor, state: SLSTMState) -> tuple[Tensor, SLSTMState]:
        batch, heads = len(x), self.num_heads

        def by_head(tensor: Tensor) -> Tensor:  # (4H, ...) or (4H,) -> (N, 4S, ...)
            return (
                tensor.view(4, heads, self.hidden_size // heads, -1).transpose(0, 1).flatten(1, 2)
            )

        def rows_by_head(tensor: Tensor) -> Tensor:  # (B, H) -> (N, B, S)
            return tensor.view(batch, heads, -1).transpose(0, 1).contiguous()

        given = (
            x.transpose(0, 1),
            by_head(self.weight_ih).flatten(0, 1),
            by_head(self.bias).flatten(),
        )
        # (N, S, 4S)
        recurrent = by_head(self.weight_hh).transpose(1, 2).to(product_dtype(x, self.weight_ih))
        hidden, c, n, m = (rows_by_head(leaf) for leaf in state)
        m = m.masked_fill(n == 0, -torch.inf)
        output, *state_n = _Loop.call(
            hidden,
            c,
            n,
            m,
            recurrent,
            source=partial(_projected, heads, state.hidden.dtype),
            given=given,
        )
        output = output.permute(2, 0, 1, 3).flatten(2)  # (B, T, H)
        return output.to(x.dtype), SLSTMState(
            *(leaf.transpose(0, 1).flatten(1) for leaf in state_n)
        )

    def extra_repr(self) -> str:
        """Shows the sizes in the module's representation."""
        return f"{self.input_size}, {self.hidden_size}, num_heads={self.num_heads}"


def _projected(heads: int, dtype: torch.dtype, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(T, B, D) to (T, N, B, 4S)."""
    projected = F.linear(x, weight, bias).to(dtype)
    return projected.view(*projected.shape[:2], heads, -1).transpose(1, 2)


def _step(gates: Tensor, c: Tensor, n: Tensor, m: Tensor) -> tuple[Tensor, ...]:
    z, i, f, o = gates.chunk(4, -1)
    kept = F.logsigmoid(f) + m
    m = torch.maximum(kept, i)
    i, f = torch.exp(i - m), torch.exp(kept - m)
    c = f * c + i * torch.tanh(z)
    n = f * n + i
    return torch.sigmoid(o) * c / n, c, n, m


class _Loop(Loop):
    """The loop over time, time and heads first, with the gradient of R taken over all steps at once.

    It overwrites `projected`, which nobody else needs, with the gates: fresh memory costs more than
    the arithmetic.
    """

    @staticmethod
    def formula(
        projected: Tensor, hidden: Tensor, c: Tensor, n: Tensor, m: Tensor, weight: Tensor
    ) -> tuple[Tensor, ...]:
        outputs = []
        for step in projected.unbind(0):
            hidden, c, n, m = _step(
                step + torch.bmm(hidden.to(weight.dtype), weight).to(c.dtype), c, n, m
            )
            outputs.append(hidden)
        return torch.stack(outputs), hidden, c, n, m

    @staticmethod
    def fast(
        ctx: Any, projected: Tensor, hidden: Tensor, c: Tensor, n: Tensor, m: Tensor, weight: Tensor
    ) -> tuple[tuple[Tensor, ...], Sequence[Tensor | None]]:
        time = projected.shape[0]
        with without_autocast(projected.device):
            gates = projected  # (T, N, B, 4S): z, i', f' and o
            to_f = projected.new_empty(time, *hidden.shape)  # d log f / d f~
            wins = torch.empty_like(to_f, dtype=torch.bool)  # where i~ is the maximum
            hiddens, cells, norms = (to_f.new_empty(time + 1, *hidden.shape) for _ in range(3))
            hiddens[0], cells[0], norms[0] = hidden, c, n
            sources = (gates, to_f, wins, hiddens[1:], cells[1:], norms[1:])
            for gates_t, to_f_t, wins_t, hidden_t, c_t, n_t in zip(
                *(s.unbind() for s in sources), strict=True
            ):
                gates_t.add_(torch.bmm(hidden.to(weight.dtype), weight))
                z, i, f, o = gates_t.chunk(4, 2)
                kept = F.logsigmoid(f)
                torch.neg(f, out=to_f_t).sigmoid_()
                kept.add_(m)
                torch.gt(i, kept, out=wins_t)
                m = torch.maximum(kept, i)
                z.tanh_()
                i.sub_(m).exp_()
                torch.sub(kept, m, out=f).exp_()
                o.sigmoid_()
                torch.mul(f, c, out=c_t).addcmul_(i, z)
                torch.mul(f, n, out=n_t).add_(i)
                torch.div(c_t, n_t, out=hidden_t).mul_(o)
                hidden, c, n = hidden_t, c_t, n_t
        outputs = (hiddens[1:], hiddens[-1].clone(), cells[-1].clone(), norms[-1].clone(), m)
        return outputs, (gates, to_f, wins, hiddens, cells, norms, weight)

    @staticmethod
    def gradient(ctx: Any, kept: Sequence[Any], *grads: Tensor) -> tuple[Tensor | None, ...]:
        d_output, d_hidden, d_c, d_n, d_m = grads
        gates, to_f, wins, hiddens, cells, norms, weight = kept
        time, heads, batch, size = to_f.shape
        with without_autocast(gates.device):
            d_gates = torch.empty_like(gates)  # of the layout of `gates`
            transposed = weight.transpose(1, 2)
            for block in blocks_backward(time, heads * batch * size):
                z, i, f, o = gates[block].chunk(4, 3)
                to_z, _, _, to_o = d_gates[block].chunk(4, 3)
                to_c = o / norms[1:][block]  # d h / d c
                ratio = cells[1:][block] / norms[1:][block]
                torch.ops.aten.sigmoid_backward.grad_input(ratio, o, grad_input=to_o)
                torch.ops.aten.tanh_backward.grad_input(i, z, grad_input=to_z)
                kept_c, kept_n, new_c = f * cells[:-1][block], f * norms[:-1][block], i * z
                sources = (
                    d_output[block],
                    to_c,
                    ratio,
                    to_f[block],
                    kept_c,
                    kept_n,
                    new_c,
                    i,
                    f,
                    wins[block],
                )
                steps = zip(
                    *(source.unbind() for source in sources), d_gates[block].unbind(), strict=True
                )
                for (
                    d_output_t,
                    to_c_t,
                    ratio_t,
                    to_f_t,
                    c_t,
                    n_t,
                    new_t,
                    i_t,
                    f_t,
                    win,
                    d_t,
                ) in reversed(list(steps)):
                    d_z, d_i, d_f, d_o = d_t.chunk(4, 2)
                    d_hidden = d_hidden + d_output_t
                    d_o.mul_(d_hidden)
                    through = d_hidden * to_c_t
                    d_c = d_c + through
                    d_n = torch.addcmul(d_n, through, ratio_t, value=-1.0)
                    d_z.mul_(d_c)
                    # i' and f' both contain m, which is i~ or log f + m_{t-1}: what m is gets the
                    # rest of d_m.
                    d_new = (d_c * new_t).addcmul_(d_n, i_t)
                    d_kept = (d_c * c_t).addcmul_(d_n, n_t)
                    torch.where(win, d_m - d_kept, d_new, out=d_i)
                    d_m = torch.where(win, d_kept, d_m - d_new)
                    torch.mul(d_m, to_f_t, out=d_f)
                    d_c, d_n = d_c * f_t, d_n * f_t
                    d_hidden = torch.bmm(d_t.to(weight.dtype), transposed).to(d_c.dtype)
            rows = hiddens[:-1].permute(1, 3, 0, 2).flatten(2)  # (N, S, T * B)
            d_weight = torch.bmm(
                rows.to(weight.dtype), d_gates.to(weight.dtype).transpose(0, 1).flatten(1, 2)
            )
        return d_gates, d_hidden, d_c, d_n, d_m, d_weight


def check_heads(owner: str, hidden_size: int, num_heads: int) -> None:
    """Raises ValueError where heads can't share the units evenly.

    Args:
        owner: The class that was given the sizes.
        hidden_size: H.
        num_heads: N.
    """
    if hidden_size < 1:
        raise ValueError(f"{owner}: hidden_size is {hidden_size}; sizes are at least 1")
    if num_heads < 1 or hidden_size % num_heads:
        raise ValueError(
            f"{owner}: num_heads is {num_heads}; it is at least 1 and divides hidden_size, which is {hidden_size}"
        )
