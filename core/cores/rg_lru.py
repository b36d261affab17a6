"""The real-gated linear recurrent unit.

Shapes: B batch, T time, D input, H hidden, N heads, S = H / N units of a head.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..families.elementwise import LinearCore, project
from ..kernels.scan import linear_recurrence
from ..state import HiddenState, State

_POWER = 8.0  # the paper's c
_LEAST = 1e-30  # of 1 - a^2: its root has no slope at 0, where the recurrence gate underflows

# What the weights of a layer are called: by DeepMind's code, and by the transformers package.
_RELEASED = (
    ("a_param", "a_gate.w", "a_gate.b", "input_gate.w", "input_gate.b"),
    (
        "recurrent_param",
        "recurrent_gate_weight",
        "recurrent_gate_bias",
        "input_gate_weight",
        "input_gate_bias",
    ),
)

RGLRUState = HiddenState


class RGLRUStartedState(NamedTuple):
    """What an RGLRU with `unscaled_start` carries from step to step.

    Attributes:
        hidden: h (B, H), the last output.
        started: (B, 1), 0 before the first step and 1 from then on.
    """

    hidden: Tensor
    started: Tensor


class RGLRU(LinearCore):
    r"""Real-gated linear recurrent unit of Griffin, with its input projection, parallel.

    De et al., 2024 (https://arxiv.org/abs/2402.19427), section 2.4, on a projected input u_t:

        u_t = W_u x_t + b_u                             input projection
        r_t = sigmoid(W_r u_t + b_r)                    recurrence gate
        i_t = sigmoid(W_i u_t + b_i)                    input gate
        a_t = a^(c r_t), a = sigmoid(lambda), c = 8
        h_t = a_t * h_{t-1} + sqrt(1 - a_t^2) * (i_t * u_t)

    computed as log a_t = -c r_t softplus(-lambda). With several heads W_r and W_i are
    block-diagonal: a gate's unit sees the units of its head. The equations hold at the first step
    and after a reset, too, where h_{t-1} is zero; DeepMind's code leaves the root out there, and so
    does `unscaled_start`. Griffin's block has a short convolution before and a gated branch beside
    this layer, which belong to the model around it; `from_recurrent_gemma` reads the layer of a
    released model, whose input projection lies before the convolution.

    `weight_in` (H, D), `bias_in` (H,), both absent without `projection`; gate order r, i:
    `weight_gates` (2H, S), within a gate the rows of the first head first, `bias_gates` (2H,);
    `decay` (H,), the paper's capital lambda. Initialised as in the paper: weights normal with
    variance 1 / fan-in (LeCun), biases zero, `decay` such that a^c is uniform within 0.9 and 0.999.
    The initial state is zero.

    Args:
        input_size: D, size of one step's input.
        hidden_size: H, size of the hidden state and of the output.
        num_heads: N, blocks of the gates' weights; divides H.
        projection: Whether there is the input projection; else u_t = x_t, and D is H.
        unscaled_start: Leave sqrt(1 - a_t^2) out where nothing has been seen: at the first step
            from the initial state and after a reset. The state is `RGLRUStartedState` then.
        chunk: Steps at a time, computed again for the gradient to save memory; see
            `ElementwiseCore`.

    Examples:
        >>> core = RGLRU(3, 8, chunk=4)
        >>> output, state = core(torch.randn(2, 5, 3))
        >>> output.shape, state.hidden.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 8]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int = 1,
        projection: bool = True,
        unscaled_start: bool = False,
        chunk: int | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, chunk=chunk)
        if num_heads < 1 or hidden_size % num_heads:
            raise ValueError(
                f"RGLRU: num_heads is {num_heads}; it is at least 1 and divides hidden_size, "
                f"which is {hidden_size}"
            )
        if not projection and input_size != hidden_size:
            raise ValueError(
                f"RGLRU: without projection input_size, {input_size}, must be hidden_size, "
                f"{hidden_size}"
            )
        self.num_heads = num_heads
        self.unscaled_start = unscaled_start
        size = hidden_size // num_heads
        self.weight_in = nn.Parameter(torch.empty(hidden_size, input_size)) if projection else None
        self.bias_in = nn.Parameter(torch.empty(hidden_size)) if projection else None
        self.weight_gates = nn.Parameter(torch.empty(2 * hidden_size, size))
        self.bias_gates = nn.Parameter(torch.empty(2 * hidden_size))
        self.decay = nn.Parameter(torch.empty(hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters as the class says."""
        if self.weight_in is not None and self.bias_in is not None:
            nn.init.normal_(self.weight_in, 0.0, self.input_size**-0.5)
            nn.init.zeros_(self.bias_in)
        nn.init.normal_(self.weight_gates, 0.0, self.weight_gates.shape[1] ** -0.5)
        nn.init.zeros_(self.bias_gates)
        with torch.no_grad():
            a = self.decay.uniform_(0.9, 0.999).pow_(1 / _POWER)
            self.decay.copy_(torch.log(a / (1 - a)))

    @classmethod
    def from_recurrent_gemma(
        cls, weights: Mapping[str, Tensor], *, prefix: str = "", chunk: int | None = None
    ) -> Self:
        """Copy the RG-LRU of a released RecurrentGemma or Griffin.

        Args:
            weights: A state dict of DeepMind's PyTorch code, `...rg_lru.a_param` and the like, or
                of the transformers package, `...rg_lru.recurrent_param`.
            prefix: What stands before the names of one layer, with its dot.
            chunk: See the class.

        Returns:
            The layer with as many heads, on the weights' device and of their dtype: without an
            input projection and with `unscaled_start`, as it was trained.

        Raises:
            ValueError: There is no such layer, or its shapes don't agree.
        """
        name = "RGLRU.from_recurrent_gemma"
        for names in _RELEASED:
            if all(prefix + key in weights for key in names):
                decay, w_r, b_r, w_i, b_i = (weights[prefix + key] for key in names)
                break
        else:
            ends = [names[0] for names in _RELEASED]
            there = sorted(
                key.removesuffix(end) for key in weights for end in ends if key.endswith(end)
            )
            remedy = (
                f"prefix is one of {', '.join(map(repr, there[:4]))}"
                if there
                else ("it has no RG-LRU")
            )
            raise ValueError(
                f"{name}: prefix is {prefix!r}, and the state dict lacks "
                f"{' or '.join(repr(prefix + end) for end in ends)} and what belongs to it: "
                f"{remedy}"
            )
        heads = w_r.shape[0] if w_r.dim() == 3 else 0
        size = decay.numel() // max(heads, 1)
        shapes = [(heads * size,), *[(heads, size, size), (heads, size)] * 2]
        found = [tuple(part.shape) for part in (decay, w_r, b_r, w_i, b_i)]
        if found != shapes:
            raise ValueError(f"{name}: the weights under {prefix!r} are {found}, not {shapes}")
        core = cls(
            heads * size, heads * size,
            num_heads=heads, projection=False, unscaled_start=True, chunk=chunk,
        ).to(device=decay.device, dtype=decay.dtype)  # fmt: skip
        with torch.no_grad():
            core.decay.copy_(-decay)  # they take softplus of a parameter, the paper of its negative
            # rows are outputs here, columns there
            core.weight_gates.copy_(torch.cat((w_r, w_i)).mT.flatten(0, 1))
            core.bias_gates.copy_(torch.cat((b_r, b_i)).flatten())
        return core

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        """Return zeros; see `RecurrentCore.initial_state`."""
        state = super().initial_state(batch_size, device=device, dtype=dtype)
        if not self.unscaled_start:
            return state
        (hidden,) = cast("RGLRUState", state)
        return RGLRUStartedState(hidden, hidden.new_zeros(batch_size, 1))

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, State]:
        """Advance one step; see `RecurrentCore.step`."""
        if not self.unscaled_start:
            return super().step(x, state)
        hidden, started = state
        a, root, gated = self._parts(x, hidden.dtype)
        hidden = a * hidden + (root * started + (1 - started)) * gated
        return hidden.to(x.dtype), RGLRUStartedState(hidden, torch.ones_like(started))

    def _run(self, x: Tensor, state: Any, reset: Tensor | None) -> tuple[Tensor, State]:
        if not self.unscaled_start:
            return LinearCore._run(self, x, state, reset)
        hidden, first = state
        a, root, gated = self._parts(x, hidden.dtype)
        later = first.new_ones(x.shape[0], first.shape[0], 1)  # (T, B, 1)
        begins = torch.arange(x.shape[0], device=x.device).view(-1, 1, 1) == 0  # (T, 1, 1)
        started = torch.where(begins, first, later)
        if reset is not None:
            started = started.masked_fill(reset.unsqueeze(2), 0.0)
        hidden = linear_recurrence(a, (root * started + (1 - started)) * gated, hidden, reset)
        return hidden, RGLRUStartedState(hidden, later)

    def _factors(self, x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        a, root, gated = self._parts(x, dtype)
        return a, root * gated

    def _parts(self, x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Compute a_t, sqrt(1 - a_t^2) and i_t * u_t, each (..., H)."""
        u = x if self.weight_in is None else project(x, self.weight_in, self.bias_in)  # (..., H)
        r, i = torch.sigmoid(self._gates(u).to(dtype)).chunk(2, -1)
        log_a = r * (-_POWER * F.softplus(-self.decay.to(dtype)))
        root = torch.sqrt(torch.expm1(2 * log_a).neg().clamp(min=_LEAST))
        return torch.exp(log_a), root, i * u.to(dtype)

    def _gates(self, u: Tensor) -> Tensor:
        """Compute both gates before their sigmoid, (..., 2H)."""
        if self.num_heads == 1:
            return project(u, self.weight_gates, self.bias_gates)
        heads = self.num_heads
        by_head = u.flatten(0, -2).unflatten(1, (heads, -1)).transpose(0, 1)  # (N, ..., S)
        weight = self.weight_gates.unflatten(0, (2, heads, -1))  # (2, N, S, S)
        found = by_head @ weight.mT  # (2, N, ..., S)
        flat: Tensor = found.permute(2, 0, 1, 3).reshape(*u.shape[:-1], 2 * self.hidden_size)
        return flat + self.bias_gates

    def extra_repr(self) -> str:
        """Show the options in the module's representation."""
        heads = f", num_heads={self.num_heads}" if self.num_heads > 1 else ""
        projection = "" if self.weight_in is not None else ", projection=False"
        start = ", unscaled_start=True" if self.unscaled_start else ""
        sizes = f"{self.input_size}, {self.hidden_size}"
        return f"{sizes}{heads}{projection}{start}, chunk={self.chunk}"
