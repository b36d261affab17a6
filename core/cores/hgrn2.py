"""HGRN2: a gated linear recurrence whose state is an outer product.

Shapes: B batch, T time, D input, H hidden, N heads, S = H / N units of a head, C chunks of L steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..families.chunked import ChunkedCore, draw_linear, in_chunks, products
from ..families.elementwise import project
from ..families.short_convolution import Rows
from ..kernels.loops import without_autocast


class HGRN2State(NamedTuple):
    """What an HGRN2 layer carries from step to step.

    Attributes:
        memory: h (B, N, S, S), forget gates' units by inputs' units.
    """

    memory: Tensor


class HGRN2(ChunkedCore):
    r"""HGRN2 layer, parallel.

    Qin et al., 2024 (https://arxiv.org/abs/2404.07904), section 3. In each head:

        i_t = SiLU(W_i x_t + b_i)                           input
        o_t = sigmoid(W_o x_t + b_o)                        output gate
        f_t = g + (1 - g) sigmoid(W_f x_t + b_f)            forget gate, with its lower bound g
        h_t = diag(f_t) h_{t-1} + (1 - f_t) i_t^T
        y_t = W_y layer_norm(h_t^T o_t) + b_y               over all H units

    The initial state is zero. A sequence runs in chunks: within one by products of matrices, from
    one to the next through h. Two steps of a chunk meet where one is in the first and the other in
    the second half of a block of steps, and both decays are taken to the block's middle: no decay
    is divided by another.

    In the paper g is learnt, for all layers of a model at once: it rises from 0 in the lowest to
    almost 1. Here it is a number that is given to each layer.

    `weight` (3H, D) and `bias` (3H,) hold i, o, f, as the authors' `in_proj` does; `weight_norm`,
    `bias_norm` (H,); `weight_out` (H, H), `bias_out` (H,). Everything is initialised as `nn.Linear`
    and `nn.LayerNorm` do, as there.

    The layer of flash-linear-attention has SiLU at o and none at i, the root mean square as norm
    and no biases.

    Args:
        input_size: D, size of one step's input.
        hidden_size: H, size of the output.
        num_heads: N, number of memories; divides H. The paper's heads have 128 units.
        lower_bound: g, from 0 up to but not including 1.
        chunk_size: L, steps that run at once, a power of two, which changes the time taken and
            nothing else.

    Examples:
        >>> core = HGRN2(3, 8, num_heads=2)
        >>> output, state = core(torch.randn(2, 5, 3))
        >>> output.shape, state.memory.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 2, 4, 4]))
    """

    state_type = HGRN2State

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int = 4,
        lower_bound: float = 0.0,
        chunk_size: int = 32,
    ) -> None:
        super().__init__(input_size, hidden_size, num_heads, chunk_size)
        if not 0.0 <= lower_bound < 1.0:
            raise ValueError(
                f"HGRN2: lower_bound is {lower_bound}; it is from 0 up to but not including 1"
            )
        if chunk_size & (chunk_size - 1):
            raise ValueError(f"HGRN2: chunk_size is {chunk_size}; it is a power of two")
        self.lower_bound = lower_bound
        self.weight = nn.Parameter(torch.empty(3 * hidden_size, input_size))
        self.bias = nn.Parameter(torch.empty(3 * hidden_size))
        self.weight_norm = nn.Parameter(torch.empty(hidden_size))
        self.bias_norm = nn.Parameter(torch.empty(hidden_size))
        self.weight_out = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.bias_out = nn.Parameter(torch.empty(hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters as the class says."""
        draw_linear(self.weight, self.weight_out)
        nn.init.uniform_(self.bias, -(self.input_size**-0.5), self.input_size**-0.5)
        nn.init.uniform_(self.bias_out, -(self.hidden_size**-0.5), self.hidden_size**-0.5)
        nn.init.ones_(self.weight_norm)
        nn.init.zeros_(self.bias_norm)

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of h."""
        return {"memory": (self.num_heads, self.head_size, self.head_size)}

    def _project(self, x: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Return i, o, 1 - f and f, (..., H) each."""
        i, o, f = products(x, self.weight, (self.hidden_size,) * 3, dtype, self.bias)
        free = 1.0 - self.lower_bound
        # each by itself: a difference from 1 has few digits
        left, f = free * torch.sigmoid(-f), self.lower_bound + free * torch.sigmoid(f)
        return F.silu(i), torch.sigmoid(o), left, f

    def _finish(self, y: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the output of what was read (..., H)."""
        y = F.layer_norm(y, y.shape[-1:], self.weight_norm.to(y.dtype), self.bias_norm.to(y.dtype))
        return project(y.to(dtype), self.weight_out, self.bias_out, dtype=dtype)

    def step(self, x: Tensor, state: HGRN2State) -> tuple[Tensor, HGRN2State]:
        """Advance one step; see `RecurrentCore.step`."""
        (memory,) = state
        i, o, left, f = (
            part.unflatten(1, (self.num_heads, -1)) for part in self._project(x, memory.dtype)
        )  # (B, N, S)
        memory = f.unsqueeze(3) * memory + left.unsqueeze(3) * i.unsqueeze(2)
        y = (memory * o.unsqueeze(3)).sum(2).flatten(1)  # (B, H)
        return self._finish(y, x.dtype), HGRN2State(memory)

    def _run(self, x: Tensor, state: HGRN2State, rows: Rows) -> tuple[Tensor, HGRN2State]:
        i, o, left, f = self._project(x, state.memory.dtype)
        if rows.padding is not None:  # nothing enters, nothing is forgotten
            padding = rows.padding.unsqueeze(2)
            left, f = left.masked_fill(padding, 0.0), f.masked_fill(padding, 1.0)
        if rows.reset is not None:
            f = f.masked_fill(rows.reset.unsqueeze(2), 0.0)
        length = min(1 << (x.shape[1] - 1).bit_length(), self.chunk_size)  # a power of two
        with without_autocast(x.device):
            parts = [
                in_chunks(
                    part.unflatten(2, (self.num_heads, -1)), length, exactly=True, value=value
                )
                .transpose(2, 3)
                .transpose(0, 1)
                .flatten(1, 2)
                for part, value in ((o, 0.0), (left, 0.0), (i, 0.0), (f, 1.0))
            ]  # (C, B * N, L, S) each
            y, memory = _scan(parts, state.memory.flatten(0, 1))
            y = y.unflatten(1, (-1, self.num_heads)).permute(1, 0, 3, 2, 4)  # (B, C, L, N, S)
            y = y.flatten(3).flatten(1, 2)[:, : x.shape[1]]  # (B, T, H)
            memory = memory.unflatten(0, (-1, self.num_heads))
        return self._finish(y, x.dtype), HGRN2State(memory)

    def extra_repr(self) -> str:
        """Show the options in the module's representation."""
        return f"{super().extra_repr()}, lower_bound={self.lower_bound}"


def _scan(parts: Sequence[Tensor], memory: Tensor) -> tuple[Tensor, Tensor]:
    """Run all chunks.

    Args:
        parts: o, 1 - f, i and f (C, G, L, S), where G = B * N.
        memory: h before the first chunk (G, S, S).

    Returns:
        h_t^T o_t (C, G, L, S) and h after the last chunk.
    """
    o, left, i, f = parts
    scores, o, left, last = _within(o, left, f)
    written = left.mT @ i  # (C, G, S, S)
    states = []
    for kept, new in zip(last.mT.unbind(), written.unbind(), strict=True):
        states.append(memory)
        memory = torch.addcmul(new, kept, memory)
    return scores @ i + o @ torch.stack(states), memory


def _within(o: Tensor, left: Tensor, f: Tensor) -> tuple[Tensor, ...]:
    """Let the steps of a chunk meet, in blocks of 2, 4, ... steps.

    Args:
        o: (C, G, L, S).
        left: 1 - f (C, G, L, S).
        f: (C, G, L, S).

    Returns:
        How much step t reads of what step s wrote (C, G, L, L); o times what is left at its step
        of what was there before the chunk, and 1 - f times what is left of it at the chunk's end,
        (C, G, L, S) each; and what is left of anything after the chunk, (C, G, 1, S).
    """
    length = o.shape[2]
    scores = (o * left).sum(3)[..., None, None]  # (C, G, blocks, steps, steps)
    total = f.unsqueeze(3)  # of each block, (C, G, blocks, 1, S)
    o, left = (o * f).unsqueeze(3), left.unsqueeze(3)  # (C, G, blocks, steps, S)
    half = 1
    while half < length:
        pairs = (length // half // 2, 2)
        first, second = total.unflatten(2, pairs).unbind(3)  # (C, G, pairs, 1, S)
        (_, later), (earlier, _) = (part.unflatten(2, pairs).unbind(3) for part in (o, left))
        across = later @ earlier.mT  # (C, G, pairs, half, half), both taken to the middle
        upper, lower = scores.unflatten(2, pairs).unbind(3)
        scores = torch.cat(
            (F.pad(upper, (0, half)), torch.cat((across, lower), 4)), 3
        )  # (C, G, pairs, 2 half, 2 half)
        # what is before and after the block lies beyond the other half
        one = torch.ones_like(first)
        o = o.unflatten(2, pairs) * torch.stack((one, first), 3)
        left = left.unflatten(2, pairs) * torch.stack((second, one), 3)
        o, left, total = o.flatten(3, 4), left.flatten(3, 4), first * second
        half *= 2
    return scores.squeeze(2), o.squeeze(2), left.squeeze(2), total.squeeze(2)
