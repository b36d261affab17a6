"""Mamba-2: the selective state space by its duality with attention.

Shapes: B batch, T time, D input, H output, I = 2H inner units, N heads, P = I / N units of a head,
S numbers of the state for each unit, K taps, C chunks of L steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..families.chunked import (
    ChunkedCore,
    draw_decay,
    draw_linear,
    in_chunks,
    pairwise_decay,
    products,
    rms_norm,
)
from ..families.elementwise import project
from ..families.short_convolution import Rows, ShortConvolution
from ..kernels.loops import without_autocast

_EPSILON = 1e-5  # of the norm


class Mamba2State(NamedTuple):
    """What a Mamba-2 layer carries from step to step.

    Attributes:
        memory: h (B, N, P, S).
        previous: The last K - 1 inputs of the convolution, (B, K - 1, I + 2S).
    """

    memory: Tensor
    previous: Tensor


class Mamba2(ChunkedCore):
    r"""Mamba-2 layer, parallel.

    Dao and Gu, 2024 (https://arxiv.org/abs/2405.21060), sections 6 and 7, with the input u_t:

        z_t, x~_t, B~_t, C~_t, d_t = W u_t
        x_t, B_t, C_t = SiLU(conv(x~, B~, C~)_t)        over the last K steps of each channel
        D_t = softplus(d_t + b_D)                       the paper's capital delta, the step size
        a_t = exp(-exp(A) D_t)                          decay
        h_t = a_t h_{t-1} + D_t x_t B_t^T               in each head
        y_t = h_t C_t + skip x_t
        o_t = W_o (w * rms_norm(y_t * SiLU(z_t)))       over all I units, epsilon 1e-5

    a, D, A and skip are one number a head; B and C, of size S, are shared by the heads. The initial
    state is zero. Within a chunk the recurrence is a product of matrices (section 6), from one to
    the next it goes on by the state; the numbers are those of the recurrence, and time and memory
    are linear in T. Sums of log-decays are not differences of sums: see `pairwise_decay`.

    The layer is the whole of the paper's, the authors' `Mamba2` with one group: `weight` (2I + 2S +
    N, D) is their `in_proj`, in the order z, x, B, C, d; `convolution` theirs (I + 2S, K), with a
    bias; `bias_step` (N,) their `dt_bias`, `rate` (N,) their `A_log`, `skip` (N,) their `D`;
    `weight_norm` (I,); `weight_out` (H, I) their `out_proj`. Initialised as there: the matrices as
    `nn.Linear`, the convolution as `nn.Conv1d`, exp(A) uniform within 1 and 16, softplus(b_D)
    log-uniform within 0.001 and 0.1, skip and w ones.

    Args:
        input_size: D, size of one step's input.
        hidden_size: H, size of the output.
        num_heads: N, number of memories; divides H.
        state_size: S, numbers of the state for each unit. The authors use 64 and 128.
        taps: K, steps that the convolution sees; at least 1.
        chunk_size: L, steps that run at once, which changes the time taken and nothing else.

    Examples:
        >>> core = Mamba2(3, 8, num_heads=2, state_size=16)
        >>> output, state = core(torch.randn(2, 5, 3))
        >>> output.shape, state.memory.shape, state.previous.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 2, 8, 16]), torch.Size([2, 3, 48]))
    """

    state_type = Mamba2State

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int = 4,
        state_size: int = 64,
        taps: int = 4,
        chunk_size: int = 64,
    ) -> None:
        super().__init__(input_size, hidden_size, num_heads, chunk_size)
        if state_size < 1 or taps < 1:
            raise ValueError(
                f"Mamba2: state_size is {state_size} and taps is {taps}; both are at least 1"
            )
        self.state_size = state_size
        self.inner_size = 2 * hidden_size
        channels = self.inner_size + 2 * state_size
        self.weight = nn.Parameter(torch.empty(self.inner_size + channels + num_heads, input_size))
        self.convolution = ShortConvolution(channels, taps, bias=True)
        self.bias_step = nn.Parameter(torch.empty(num_heads))
        self.rate = nn.Parameter(torch.empty(num_heads))
        self.skip = nn.Parameter(torch.empty(num_heads))
        self.weight_norm = nn.Parameter(torch.empty(self.inner_size))
        self.weight_out = nn.Parameter(torch.empty(hidden_size, self.inner_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters as the class says."""
        draw_linear(self.weight, self.weight_out)
        self.convolution.reset_parameters()
        draw_decay(self.rate, self.bias_step, 1.0)
        nn.init.ones_(self.skip)
        nn.init.ones_(self.weight_norm)

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of h and of the convolution's last inputs."""
        return {
            "memory": (self.num_heads, self.inner_size // self.num_heads, self.state_size),
            "previous": (self.convolution.taps - 1, self.inner_size + 2 * self.state_size),
        }

    def _project(self, x: Tensor, dtype: torch.dtype) -> list[Tensor]:
        """Return z, x (..., I), B, C (..., S), delta and log a (..., N); x, B, C as they come."""
        inner, size = self.inner_size, self.state_size
        sizes = (inner, inner, size, size, self.num_heads)
        *parts, step = products(x, self.weight, sizes, dtype)
        step = F.softplus(step + self.bias_step.to(dtype))
        return [*parts, step, -torch.exp(self.rate.to(dtype)) * step]

    def _finish(self, y: Tensor, z: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the output (..., H) of y and z (..., I)."""
        y = rms_norm(y * F.silu(z), _EPSILON).to(dtype)
        return project(y, self.weight_out * self.weight_norm, None, dtype=dtype)

    def step(self, x: Tensor, state: Mamba2State) -> tuple[Tensor, Mamba2State]:
        """Advance one step; see `RecurrentCore.step`."""
        memory, previous = state
        z, v, key, query, step, log_decay = self._project(x, memory.dtype)
        mixed, previous = self.convolution.step(torch.cat((v, key, query), 1), previous)
        v, key, query = mixed.split((self.inner_size, self.state_size, self.state_size), 1)
        v = v.unflatten(1, (self.num_heads, -1))  # (B, N, P)
        written = (step.unsqueeze(2) * v).unsqueeze(3) * key[:, None, None]  # (B, N, P, S)
        memory = log_decay.exp()[:, :, None, None] * memory + written
        y = (memory * query[:, None, None]).sum(3) + self.skip.to(v.dtype).unsqueeze(1) * v
        return self._finish(y.flatten(1), z, x.dtype), Mamba2State(memory, previous)

    def _run(self, x: Tensor, state: Mamba2State, rows: Rows) -> tuple[Tensor, Mamba2State]:
        memory, previous = state
        z, *mixed, step, log_decay = self._project(x, memory.dtype)
        if rows.padding is not None:  # nothing enters, nothing is forgotten
            padding = rows.padding.unsqueeze(2)
            step, log_decay = step.masked_fill(padding, 0.0), log_decay.masked_fill(padding, 0.0)
        if rows.reset is not None:
            log_decay = log_decay.masked_fill(rows.reset.unsqueeze(2), -torch.inf)
        with without_autocast(x.device):
            (v, key, query), previous = self.convolution(mixed, previous, rows)
            v = v.unflatten(2, (self.num_heads, -1))  # (B, T, N, P)
            chunks = [in_chunks(part, self.chunk_size) for part in (query, key, v, step, log_decay)]
            y, memory = _scan(chunks, memory)
            y = torch.addcmul(
                y.flatten(1, 2)[:, : x.shape[1]], self.skip.to(v.dtype).unsqueeze(1), v
            )
            y = y.flatten(2)  # (B, T, I)
        return self._finish(y, z, x.dtype), Mamba2State(memory, previous)

    def extra_repr(self) -> str:
        """Show the options in the module's representation."""
        more = f"state_size={self.state_size}, taps={self.convolution.taps}"
        return f"{super().extra_repr()}, {more}"


def _scan(parts: Sequence[Tensor], memory: Tensor) -> tuple[Tensor, Tensor]:
    """Run all chunks.

    Args:
        parts: C and B (B, C, L, S), x (B, C, L, N, P), delta and log a (B, C, L, N).
        memory: h before the first chunk (B, N, P, S).

    Returns:
        h_t C_t (B, C, L, N, P) and h after the last chunk.
    """
    query, key, v, step, log_decay = parts
    heads = v.shape[3:]
    between, before = pairwise_decay(log_decay.transpose(2, 3))  # (B, C, N, L, L), (B, C, N, L)
    weights = between * step.transpose(2, 3).unsqueeze(3)
    # what each chunk adds to the memory, and the memory before each chunk
    kept = weights[..., -1, :].transpose(2, 3).unsqueeze(4) * v  # (B, C, L, N, P)
    written = kept.flatten(3).mT @ key  # (B, C, N * P, S)
    last = before[..., -1].repeat_interleave(heads[1], 2).unsqueeze(3)  # (B, C, N * P, 1)
    state, states = memory.flatten(1, 2), []
    for left, new in zip(last.unbind(1), written.unbind(1), strict=True):
        states.append(state)
        state = torch.addcmul(new, left, state)
    # what is read within a chunk, and from before it
    scores = (query @ key.mT).unsqueeze(2) * weights  # (B, C, N, L, L)
    y = (scores @ v.transpose(2, 3)).transpose(2, 3)  # (B, C, L, N, P)
    carried = (query @ torch.stack(states, 1).mT).unflatten(3, heads)
    y = torch.addcmul(y, before.transpose(2, 3).unsqueeze(4), carried)
    return y, state.unflatten(1, heads)
