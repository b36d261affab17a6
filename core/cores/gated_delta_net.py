"""Gated DeltaNet: a memory that forgets, and that corrects what it holds of a key.

Shapes: B batch, T time, D input, H output, N heads, K numbers of a key, V numbers of a value, C
chunks of L steps, G = B * N.
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
_LEAST = 1e-6  # of a key's squared length


class GatedDeltaNetState(NamedTuple):
    """What a Gated DeltaNet layer carries from step to step.

    Attributes:
        memory: S (B, N, V, K), values by keys.
        previous: The last inputs of the convolution, (B, taps - 1, N * (2K + V)).
    """

    memory: Tensor
    previous: Tensor


class GatedDeltaNet(ChunkedCore):
    r"""Gated DeltaNet layer, parallel.

    Yang et al., 2025 (https://arxiv.org/abs/2412.06464), section 3, equation 10. In each head:

        q~_t, k~_t, v~_t, g_t, a~_t, b~_t = W x_t
        q_t, k_t, v_t = SiLU(conv(q~, k~, v~)_t)        over the last steps of each channel
        q_t = q_t / (|q_t| sqrt(K)),  k_t = k_t / |k_t|
        alpha_t = exp(-exp(A) softplus(a~_t + b_A))     how much stays
        beta_t = sigmoid(b~_t)                          how much is corrected
        S_t = S_{t-1} (alpha_t (I - beta_t k_t k_t^T)) + beta_t v_t k_t^T
        y_t = W_o (w * rms_norm(S_t q_t) * SiLU(g_t))   norm of each head, epsilon 1e-5

    alpha, beta, A and b_A are one number a head; |k| is sqrt(k^T k + 1e-6). The initial state is
    zero. Within a chunk the products of (I - beta k k^T) are one triangular system (section 3.3,
    the WY representation), from one to the next the recurrence goes on by the state; the numbers
    are those of the recurrence, and time and memory are linear in T.

    The layer is the whole of the paper's as in the authors' code (flash-linear-attention), with its
    names: `weight` (N (2K + 2V + 2), D) is q_proj, k_proj, v_proj, g_proj, a_proj and b_proj one
    below the other, each head by head; `convolution` (N (2K + V), taps) q_conv1d, k_conv1d and
    v_conv1d, without bias; `rate` (N,) A_log, `bias_rate` (N,) dt_bias; `weight_norm` (V,) o_norm;
    `weight_out` (H, N V) o_proj. Initialised as there: the matrices as `nn.Linear`, the convolution
    as `nn.Conv1d`, exp(A) uniform up to 16, softplus(b_A) log-uniform within 0.001 and 0.1, w ones.
    There K is a free choice; here it is H / N.

    Args:
        input_size: D, size of one step's input.
        hidden_size: H, size of the output.
        num_heads: N, number of memories; divides H. The authors' heads have 128 or 256 keys.
        expand: V / K; the authors' 2.
        taps: Steps that the convolution sees; at least 1.
        chunk_size: L, steps that run at once, which changes the time taken and nothing else.

    Examples:
        >>> core = GatedDeltaNet(3, 8)
        >>> output, state = core(torch.randn(2, 5, 3))
        >>> output.shape, state.memory.shape, state.previous.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 2, 8, 4]), torch.Size([2, 3, 32]))
    """

    state_type = GatedDeltaNetState

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int = 2,
        expand: int = 2,
        taps: int = 4,
        chunk_size: int = 32,
    ) -> None:
        super().__init__(input_size, hidden_size, num_heads, chunk_size)
        if expand < 1 or taps < 1:
            raise ValueError(
                f"GatedDeltaNet: expand is {expand} and taps is {taps}; both are at least 1"
            )
        self.expand = expand
        self.value_size = expand * self.head_size
        inner = expand * hidden_size  # N * V
        self.weight = nn.Parameter(
            torch.empty(2 * hidden_size + 2 * inner + 2 * num_heads, input_size)
        )
        self.convolution = ShortConvolution(2 * hidden_size + inner, taps, bias=False)
        self.rate = nn.Parameter(torch.empty(num_heads))
        self.bias_rate = nn.Parameter(torch.empty(num_heads))
        self.weight_norm = nn.Parameter(torch.empty(self.value_size))
        self.weight_out = nn.Parameter(torch.empty(hidden_size, inner))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters as the class says."""
        draw_linear(self.weight, self.weight_out)
        self.convolution.reset_parameters()
        draw_decay(self.rate, self.bias_rate, 1e-4)
        nn.init.ones_(self.weight_norm)

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of S and of the convolution's last inputs."""
        channels, taps = self.convolution.weight.shape
        return {
            "memory": (self.num_heads, self.value_size, self.head_size),
            "previous": (taps - 1, channels),
        }

    def _project(self, x: Tensor, dtype: torch.dtype) -> list[Tensor]:
        """Return q, k, v as they come and g (..., N * size), log alpha and beta (..., N)."""
        keys, values, heads = self.hidden_size, self.expand * self.hidden_size, self.num_heads
        sizes = (keys, keys, values, values, heads, heads)
        *parts, a, b = products(x, self.weight, sizes, dtype)
        a = F.softplus(a + self.bias_rate.to(dtype))
        return [*parts, -torch.exp(self.rate.to(dtype)) * a, torch.sigmoid(b)]

    def _normalized(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
        """Give q, k, v (..., N * size) heads, and q and k their lengths."""
        q, k, v = (part.unflatten(-1, (self.num_heads, -1)) for part in (q, k, v))
        q = q * torch.rsqrt((q.square().sum(-1, keepdim=True) + _LEAST) * self.head_size)
        return q, k * torch.rsqrt(k.square().sum(-1, keepdim=True) + _LEAST), v

    def _finish(self, y: Tensor, g: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the output (..., H) of what was read (..., N, V) and g (..., N * V)."""
        y = (rms_norm(y, _EPSILON).flatten(-2) * F.silu(g)).to(dtype)
        return project(
            y, self.weight_out * self.weight_norm.repeat(self.num_heads), None, dtype=dtype
        )

    def step(self, x: Tensor, state: GatedDeltaNetState) -> tuple[Tensor, GatedDeltaNetState]:
        """Advance one step; see `RecurrentCore.step`."""
        memory, previous = state
        q, k, v, g, log_alpha, beta = self._project(x, memory.dtype)
        mixed, previous = self.convolution.step(torch.cat((q, k, v), 1), previous)
        sizes = (self.hidden_size, self.hidden_size, self.expand * self.hidden_size)
        q, k, v = self._normalized(*mixed.split(sizes, 1))  # (B, N, size)
        memory = log_alpha.exp()[:, :, None, None] * memory
        held = (memory * k.unsqueeze(2)).sum(3)  # (B, N, V), what it holds of this key
        memory = memory + (beta.unsqueeze(2) * (v - held)).unsqueeze(3) * k.unsqueeze(2)
        y = (memory * q.unsqueeze(2)).sum(3)
        return self._finish(y, g, x.dtype), GatedDeltaNetState(memory, previous)

    def _run(
        self, x: Tensor, state: GatedDeltaNetState, rows: Rows
    ) -> tuple[Tensor, GatedDeltaNetState]:
        memory, previous = state
        *mixed, g, log_alpha, beta = self._project(x, memory.dtype)
        if rows.padding is not None:  # nothing enters, nothing is forgotten
            padding = rows.padding.unsqueeze(2)
            log_alpha, beta = log_alpha.masked_fill(padding, 0.0), beta.masked_fill(padding, 0.0)
        if rows.reset is not None:
            log_alpha = log_alpha.masked_fill(rows.reset.unsqueeze(2), -torch.inf)
        with without_autocast(x.device):
            mixed, previous = self.convolution(mixed, previous, rows)
            parts = [
                in_chunks(part, self.chunk_size).transpose(2, 3).transpose(0, 1).flatten(1, 2)
                for part in (*self._normalized(*mixed), log_alpha, beta)
            ]  # (C, N * B, L, ...) each
            y, memory = _scan(parts, memory.flatten(0, 1))
            y = y.unflatten(1, (-1, self.num_heads)).permute(1, 0, 3, 2, 4)  # (B, C, L, N, V)
            y = y.flatten(1, 2)[:, : x.shape[1]]
            memory = memory.unflatten(0, (-1, self.num_heads))
        return self._finish(y, g, x.dtype), GatedDeltaNetState(memory, previous)

    def extra_repr(self) -> str:
        """Show the options in the module's representation."""
        more = f"expand={self.expand}, taps={self.convolution.taps}"
        return f"{super().extra_repr()}, {more}"


def _scan(parts: Sequence[Tensor], memory: Tensor) -> tuple[Tensor, Tensor]:
    """Run all chunks.

    With S_t = alpha_t S_{t-1} + u_t k_t^T and d_ts what is left at t of what was written at s,

        u_t + beta_t sum over s < t of d_ts (k_t k_s) u_s = beta_t (v_t - d_t S_0 k_t)

    is a triangular system for the u of a chunk. The memory before it, S_0, enters linearly.

    Args:
        parts: q and k (C, G, L, K), v (C, G, L, V), log alpha and beta (C, G, L).
        memory: S before the first chunk (G, V, K).

    Returns:
        S_t q_t (C, G, L, V) and S after the last chunk.
    """
    q, k, v, log_alpha, beta = parts
    between, before = pairwise_decay(log_alpha)  # (C, G, L, L), (C, G, L)
    system = (k @ k.mT) * (between * beta.unsqueeze(3))  # below its diagonal, which is ones
    eye = torch.eye(q.shape[2], dtype=q.dtype, device=q.device).expand_as(system)
    inverse = torch.linalg.solve_triangular(system, eye, upper=False, unitriangular=True)
    inverse = inverse * beta.unsqueeze(2)
    new = inverse @ v  # (C, G, L, V)
    old = (inverse * before.unsqueeze(2)) @ k  # (C, G, L, K)
    kept = k * between[:, :, -1].unsqueeze(3)
    last = before[:, :, -1:].unsqueeze(3)  # (C, G, 1, 1)
    states, written = [], []
    for fresh, stale, key, left in zip(*(t.unbind() for t in (new, old, kept, last)), strict=True):
        states.append(memory)
        u = torch.baddbmm(fresh, stale, memory.mT, alpha=-1.0)  # (G, L, V)
        memory = torch.baddbmm(left * memory, u.mT, key)
        written.append(u)
    read = ((q @ k.mT) * between) @ torch.stack(written)
    carried = (q * before.unsqueeze(3)) @ torch.stack(states).mT
    return read + carried, memory
