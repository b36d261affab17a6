"""The matrix LSTM of the xLSTM.

Shapes: B batch, T time, D input, H hidden, N heads, S = H / N units of a head, L steps of a chunk.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..families.chunked import ChunkedCore
from ..families.short_convolution import Rows
from ..kernels.loops import without_autocast


class MLSTMState(NamedTuple):
    """What an mLSTM carries from step to step.

    The paper's memory is exp(m) * memory, its normaliser likewise.

    Attributes:
        memory: C (B, N, S, S), values by keys.
        normalizer: n (B, N, S), the weighted sum of the keys.
        stabilizer: m (B, N), the logarithm of the scale of the others.
    """

    memory: Tensor
    normalizer: Tensor
    stabilizer: Tensor


class MLSTM(ChunkedCore):
    r"""mLSTM, the xLSTM's matrix memory with exponential gates, parallel.

    Beck et al., 2024 (https://arxiv.org/abs/2405.04517), equations 19 to 27, stabilised as there
    (15 to 17). In each head, of size S:

        q_t = W_q x_t + b_q                                 query
        k_t = W_k x_t / sqrt(S) + b_k                       key
        v_t = W_v x_t + b_v                                 value
        o_t = sigmoid(W_o x_t + b_o)                        output gate
        i~_t = w_i x_t + b_i                                input gate, i_t = exp(i~_t)
        f~_t = w_f x_t + b_f                                forget gate, f_t = sigmoid(f~_t)
        m_t = max(log f_t + m_{t-1}, i~_t)                  stabiliser
        i'_t = exp(i~_t - m_t),  f'_t = exp(log f_t + m_{t-1} - m_t)
        C_t = f'_t C_{t-1} + i'_t v_t k_t^T
        n_t = f'_t n_{t-1} + i'_t k_t
        h_t = o_t * C_t q_t / max(|n_t^T q_t|, exp(-m_t))

    i and f are one number a head. The lower bound exp(-m_t) is the paper's 1 for the unscaled n_t.
    The forget gate is the paper's sigmoid, not its exponential. The initial state is zero; h does
    not depend on m_0.

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

    Examples:
        >>> core = MLSTM(3, 8, num_heads=2)
        >>> output, state = core(torch.randn(2, 5, 3))
        >>> output.shape, state.memory.shape, state.stabilizer.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 2, 4, 4]), torch.Size([2, 2]))
    """

    state_type = MLSTMState

    def __init__(
        self, input_size: int, hidden_size: int, *, num_heads: int = 4, chunk_size: int = 64
    ) -> None:
        super().__init__(input_size, hidden_size, num_heads, chunk_size)
        self.weight = nn.Parameter(torch.empty(4 * hidden_size + 2 * num_heads, input_size))
        self.bias = nn.Parameter(torch.empty(4 * hidden_size + 2 * num_heads))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw everything uniformly within 1 / sqrt(D), but b_f."""
        bound = 1.0 / math.sqrt(self.input_size)
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)
        with torch.no_grad():
            torch.linspace(3.0, 6.0, self.num_heads, out=self.bias[-self.num_heads :])

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of C, n and m."""
        heads, size = self.num_heads, self.head_size
        return {
            "memory": (heads, size, size),
            "normalizer": (heads, size),
            "stabilizer": (heads,),
        }

    def step(self, x: Tensor, state: MLSTMState) -> tuple[Tensor, MLSTMState]:
        """Advance one step; see `RecurrentCore.step`."""
        memory, normalizer, m = state
        wide, gates = self._project(x, m.dtype)
        q, k, v, o = wide.unbind(1)  # (B, N, S) each
        i, f = gates.chunk(2, 1)  # (B, N) each
        kept = F.logsigmoid(f) + m
        m = torch.maximum(kept, i)
        i, f = torch.exp(i - m).unsqueeze(2), torch.exp(kept - m).unsqueeze(2)  # (B, N, 1)
        memory = f.unsqueeze(3) * memory + (i * v).unsqueeze(3) * k.unsqueeze(2)
        normalizer = f * normalizer + i * k
        total = (normalizer * q).sum(2).abs()  # (B, N)
        read = (memory * q.unsqueeze(2)).sum(3)  # (B, N, S)
        output = torch.sigmoid(o) * (read / torch.maximum(total, _floor(m)).unsqueeze(2))
        return output.flatten(1).to(x.dtype), MLSTMState(memory, normalizer, m)  # (B, H)

    def _project(self, x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Turn x (..., D) into q, k, v, o (..., 4, N, S) and i~, f~ (..., 2N)."""
        heads, size = self.num_heads, self.head_size
        # k is divided before its bias is added.
        scale = torch.ones_like(self.bias)
        scale[self.hidden_size : 2 * self.hidden_size] = 1.0 / math.sqrt(size)
        projected = F.linear(x, self.weight * scale.unsqueeze(1), self.bias).to(dtype)
        wide, gates = projected.split((4 * self.hidden_size, 2 * heads), -1)
        return wide.unflatten(-1, (4, heads, size)), gates

    def _run(self, x: Tensor, state: MLSTMState, rows: Rows) -> tuple[Tensor, MLSTMState]:
        wide, gates = self._project(x, state.stabilizer.dtype)
        q, k, v, o = wide.permute(2, 0, 3, 1, 4).contiguous().unbind()  # (B, N, T, S) each
        i, f = gates.transpose(1, 2).chunk(2, 1)  # (B, N, T) each
        f = F.logsigmoid(f)
        if rows.padding is not None:  # nothing enters, nothing is forgotten
            padding = rows.padding.unsqueeze(1)
            i, f = i.masked_fill(padding, -torch.inf), f.masked_fill(padding, 0.0)
        outputs = []
        with without_autocast(x.device):
            chunks = [part.split(self.chunk_size, 2) for part in (q, k, v, i, f)]
            resets: Sequence[Tensor | None] = [None] * len(chunks[0])
            if rows.reset is not None:
                resets = rows.reset.split(self.chunk_size, 1)
            for chunk, reset in zip(zip(*chunks, strict=True), resets, strict=True):
                output, state = _chunk(chunk, state, reset)
                outputs.append(output)  # (B, N, L, S)
            output = torch.cat(outputs, 2) if len(outputs) > 1 else outputs[0]
            output = torch.sigmoid(o) * output  # (B, N, T, S)
        return output.transpose(1, 2).flatten(2).to(x.dtype), state  # (B, T, H)


def _chunk(
    parts: Sequence[Tensor], state: MLSTMState, reset: Tensor | None
) -> tuple[Tensor, MLSTMState]:
    """Run one chunk, all its steps at once.

    With F_t = log f_1 + ... + log f_t and g_s = i~_s - F_s, the recurrence of m unrolls to m_t =
    F_t + p_t where p_t = max(m_0, g_1, ..., g_t). At step t, step s weighs exp(g_s - p_t) and the
    state before the chunk exp(m_0 - p_t). After a reset the same holds of the steps from there on,
    with m_0 = 0 and nothing before them. Outputs don't depend on p, nor have they a gradient by it.

    Args:
        parts: q, k, v (B, N, L, S), i~ and log f (B, N, L).
        state: The state before the chunk.
        reset: Bool (B, L), True where a row starts anew; None where no row does.

    Returns:
        C_t q_t / max(|n_t^T q_t|, exp(-m_t)) (B, N, L, S) and the state after the chunk.
    """
    q, k, v, i, f = parts
    memory, normalizer, m = state
    # how much each step weighs at each
    unseen = torch.full((f.shape[2],) * 2, -torch.inf, dtype=f.dtype, device=f.device).triu(1)
    start = m.unsqueeze(2)  # (B, N, 1)
    if reset is None:
        total = f.cumsum(2)  # F_t, (B, N, L) as all that follows
        gain = i - total
        peak = torch.maximum(gain.detach().cummax(2).values, start.detach())
        carried = torch.exp(start - peak)
    else:
        document = reset.cumsum(1).unsqueeze(1)  # (B, 1, L)
        others = document.unsqueeze(3) != document.unsqueeze(2)  # (B, 1, L, L)
        unseen = unseen.masked_fill(others, -torch.inf)
        # of its own document alone: a difference of sums would have the digits of the others
        total = ((unseen == 0).to(f.dtype) @ f.unsqueeze(3)).squeeze(3)
        gain = i - total
        start = start.masked_fill(document > 0, 0.0)  # (B, N, L)
        peak = (gain.detach().unsqueeze(2) + unseen).amax(3)
        peak = torch.maximum(peak, start.detach())
        carried = torch.exp(start - peak).masked_fill(document > 0, 0.0)
    weights = torch.exp(gain.unsqueeze(2) + (unseen - peak.unsqueeze(3)))  # (B, N, L, L)

    # what is read within the chunk, and from the memory before it
    scores = q @ k.transpose(2, 3) * weights  # (B, N, L, L)
    sums = scores.sum(3) + carried * (q @ normalizer.unsqueeze(3)).squeeze(3)  # (B, N, L)
    read = scores @ v + carried.unsqueeze(3) * (q @ memory.transpose(2, 3))  # (B, N, L, S)
    output = read / torch.maximum(sums.abs(), _floor(total + peak)).unsqueeze(3)

    # what is written into it, where the scale is a part of the state
    gain = gain + unseen[..., -1, :]
    last = torch.maximum(gain.amax(2, keepdim=True), start[:, :, -1:])  # (B, N, 1)
    kept = torch.exp(start[:, :, -1:] - last)
    if reset is not None:
        kept = kept.masked_fill(document[:, :, -1:] > 0, 0.0)
    written = torch.exp(gain - last).unsqueeze(3) * k  # (B, N, L, S)
    memory = kept.unsqueeze(3) * memory + v.transpose(2, 3) @ written  # (B, N, S, S)
    normalizer = kept * normalizer + written.sum(2)
    return output, MLSTMState(memory, normalizer, total[:, :, -1] + last.squeeze(2))


def _floor(m: Tensor) -> Tensor:
    """Compute exp(-m), bounded to stay finite: what is divided by it is nothing long before."""
    return torch.exp(-m.clamp(min=-80.0))
