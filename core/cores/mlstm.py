"""The matrix LSTM of the xLSTM.

Shapes: B batch, T time, D input, H hidden, N heads, S = H / N units of a head, L steps of a chunk.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels.loops import without_autocast
from ..recurrent import RecurrentCore
from ..schedule import steps_before
from ..state import State
from .slstm import check_heads


class MLSTMState(NamedTuple):
    """What an mLSTM carries from step to step. The paper's memory is exp(m) * memory, its normaliser likewise.

    Attributes:
        memory: C (B, N, S, S), values by keys.
        normalizer: n (B, N, S), the weighted sum of the keys.
        stabilizer: m (B, N), the logarithm of the scale of the others.
    """

    memory: Tensor
    normalizer: Tensor
    stabilizer: Tensor


class MLSTM(RecurrentCore):
    r"""mLSTM, the xLSTM's matrix memory with exponential gates, parallel.

    Beck et al., 2024 (https://arxiv.org/abs/2405.04517), equations 19 to 27, stabilised as there
    (15 to 17). In each head, of size S:

        q_t = W_q x_t + b_q                                 query
        k_t = W_k x_t / sqrt(S) + b_k                       key
        v_t = W_v x_t + b_v                                 value
        o_t = sigmoid(W_o x_t + b_o)                        output gate
        i~_t = w_i x_t + b_i                                input gate, one number a head, i_t =
        exp(i~_t) f~_t = w_f x_t + b_f                                forget gate, one number a
        head, f_t = sigmoid(f~_t) m_t = max(log f_t + m_{t-1}, i~_t)                  stabiliser
        i'_t = exp(i~_t - m_t),  f'_t = exp(log f_t + m_{t-1} - m_t) C_t = f'_t C_{t-1} + i'_t v_t
        k_t^T n_t = f'_t n_{t-1} + i'_t k_t h_t = o_t * C_t q_t / max(|n_t^T q_t|, exp(-m_t))

    The lower bound exp(-m_t) is the paper's 1 for the unscaled n_t. The forget gate is the paper's
    sigmoid, not its exponential. The initial state is zero; h does not depend on m_0.

    A sequence runs in chunks: within one as attention with decay, from one to the next through the
    memory. The numbers are those of the recurrence; time and memory are linear in T.

    This is the cell with its input projections. The block around it (up-projection, convolution,
    group norm of each head, skip, residual) is not part of it: see `Stacked`.

    `weight` (4H + 2N, D) and `bias` (4H + 2N,) hold q, k, v, o, each head by head, then i and f.
    Initialised uniformly within 1 / sqrt(D), torch's default for a linear layer, except b_f, which
    runs from 3 to 6 over the heads as in the authors' code, so that heads forget at different
    rates.

    Args:
        input_size: D, size of one step's input.
        hidden_size: H, size of the output.
        num_heads: N, number of memories; divides H. The paper uses 4.
        chunk_size: L, steps that run at once, which changes the time taken and nothing else; 64 is
            near the best on CPUs for heads of 64 to 128 units.
    """

    parallel = True
    _slack = 64  # measured on CPUs: a cut costs about as much as this many steps of one row

    def __init__(
        self, input_size: int, hidden_size: int, *, num_heads: int = 4, chunk_size: int = 64
    ) -> None:
        check_heads("MLSTM", hidden_size, num_heads)
        super().__init__(input_size, hidden_size)
        if chunk_size < 1:
            raise ValueError(f"MLSTM: chunk_size is {chunk_size}; a chunk has at least 1 step")
        self.hidden_size = hidden_size
        self.num_heads = num_heads
        self.chunk_size = chunk_size
        self.weight = nn.Parameter(torch.empty(4 * hidden_size + 2 * num_heads, input_size))
        self.bias = nn.Parameter(torch.empty(4 * hidden_size + 2 * num_heads))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws everything uniformly within 1 / sqrt(D), but b_f."""
        bound = 1.0 / math.sqrt(self.input_size)
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)
        with torch.no_grad():
            torch.linspace(3.0, 6.0, self.num_heads, out=self.bias[-self.num_heads :])

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> MLSTMState:
        """Returns zeros; see `RecurrentCore.initial_state`."""
        heads, size = self.num_heads, self.hidden_size // self.num_heads
        memory = self._zeros(batch_size, heads * size * size, device, dtype).view(
            batch_size, heads, size, size
        )
        return MLSTMState(
            memory, torch.zeros_like(memory[..., 0]), torch.zeros_like(memory[..., 0, 0])
        )

    def step(self, x: Tensor, state: MLSTMState) -> tuple[Tensor, MLSTMState]:
        """Advances one step; see `RecurrentCore.step`."""
        memory, normalizer, m = state
        q, k, v, o, i, f = (part.squeeze(2) for part in self._project(x.unsqueeze(1), m.dtype))
        kept = F.logsigmoid(f) + m
        m = torch.maximum(kept, i)
        i, f = torch.exp(i - m).unsqueeze(2), torch.exp(kept - m).unsqueeze(2)
        memory = f.unsqueeze(3) * memory + (i * v).unsqueeze(3) * k.unsqueeze(2)
        normalizer = f * normalizer + i * k
        total = (normalizer * q).sum(2).abs()
        output = (memory * q.unsqueeze(2)).sum(3) / torch.maximum(total, _floor(m)).unsqueeze(2)
        output = torch.sigmoid(o) * output
        return output.flatten(1).to(x.dtype), MLSTMState(memory, normalizer, m)

    def _project(self, x: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Turns x (B, T, D) into q, k, v, o (B, N, T, S) and i~, f~ (B, N, T)."""
        heads, size = self.num_heads, self.hidden_size // self.num_heads
        # k is divided before its bias is added.
        scale = torch.ones_like(self.bias)
        scale[self.hidden_size : 2 * self.hidden_size] = 1.0 / math.sqrt(size)
        projected = F.linear(x, self.weight * scale.unsqueeze(1), self.bias).to(dtype)
        wide, gates = projected.split((4 * self.hidden_size, 2 * heads), 2)
        wide = wide.reshape(*wide.shape[:2], 4, heads, size).permute(2, 0, 3, 1, 4)
        return *wide.contiguous().unbind(), *gates.transpose(1, 2).split(heads, 1)

    def _sequence(self, x: Tensor, state: MLSTMState) -> tuple[Tensor, MLSTMState]:
        return self._run(x, state, None)

    def _ragged(self, x: Tensor, state: MLSTMState, lengths: list[int]) -> tuple[Tensor, State]:
        padding = ~steps_before(lengths, x.shape[1], x.device)
        output, after = self._run(x.masked_fill(padding.unsqueeze(2), 0.0), state, padding)
        return output.masked_fill(padding.unsqueeze(2), 0.0), after

    def _run(
        self, x: Tensor, state: MLSTMState, padding: Tensor | None
    ) -> tuple[Tensor, MLSTMState]:
        q, k, v, o, i, f = self._project(x, state.stabilizer.dtype)
        f = F.logsigmoid(f)
        if padding is not None:  # nothing enters, nothing is forgotten: the state stays as it is
            i = i.masked_fill(padding.unsqueeze(1), -torch.inf)
            f = f.masked_fill(padding.unsqueeze(1), 0.0)
        outputs = []
        with without_autocast(x.device):
            for chunk in zip(
                *(part.split(self.chunk_size, 2) for part in (q, k, v, i, f)), strict=True
            ):
                output, state = _chunk(chunk, state)
                outputs.append(output)
            output = torch.sigmoid(o) * (torch.cat(outputs, 2) if len(outputs) > 1 else outputs[0])
        return output.transpose(1, 2).flatten(2).to(x.dtype), state

    def extra_repr(self) -> str:
        """Shows the sizes in the module's representation."""
        return f"{self.input_size}, {self.hidden_size}, num_heads={self.num_heads}, chunk_size={self.chunk_size}"


def _chunk(parts: tuple[Tensor, ...], state: MLSTMState) -> tuple[Tensor, MLSTMState]:
    """Runs one chunk, all its steps at once.

    With F_t = log f_1 + ... + log f_t and g_s = i~_s - F_s, the recurrence of m unrolls to m_t =
    F_t + p_t where p_t = max(m_0, g_1, ..., g_t). At step t, step s weighs exp(g_s - p_t) and the
    state before the chunk exp(m_0 - p_t).

    Args:
        parts: q, k, v (B, N, L, S), i~ and log f (B, N, L).
        state: The state before the chunk.

    Returns:
        C_t q_t / max(|n_t^T q_t|, exp(-m_t)) (B, N, L, S) and the state after the chunk.
    """
    q, k, v, i, f = parts
    memory, normalizer, m = state
    total = f.cumsum(2)
    gain = i - total
    peak = torch.maximum(gain.cummax(2).values, m.unsqueeze(2))
    carried = torch.exp(m.unsqueeze(2) - peak)  # (B, N, L)
    future = torch.ones(f.shape[2], f.shape[2], dtype=torch.bool, device=f.device).triu(1)
    # (B, N, L, L)
    weights = torch.exp((gain.unsqueeze(2) - peak.unsqueeze(3)).masked_fill(future, -torch.inf))

    scores = q @ k.transpose(2, 3) * weights
    sums = scores.sum(3) + carried * (q @ normalizer.unsqueeze(3)).squeeze(3)
    read = scores @ v + carried.unsqueeze(3) * (q @ memory.transpose(2, 3))
    output = read / torch.maximum(sums.abs(), _floor(total + peak)).unsqueeze(3)

    last, kept = peak[:, :, -1:], carried[:, :, -1:]
    written = torch.exp(gain - last).unsqueeze(3) * k
    memory = kept.unsqueeze(3) * memory + v.transpose(2, 3) @ written
    normalizer = kept * normalizer + written.sum(2)
    return output, MLSTMState(memory, normalizer, total[:, :, -1] + last.squeeze(2))


def _floor(m: Tensor) -> Tensor:
    """exp(-m), bounded so that it stays finite: what is divided by it is nothing long before."""
    return torch.exp(-m.clamp(min=-80.0))
