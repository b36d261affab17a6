"""The closed-form continuous-time network.

Shapes: B batch, T time, D input, H hidden, U units of the backbone.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..gaps import apart
from ..kernels.loops import uncompiled, unroll
from ..recurrent import RecurrentCore
from ..state import HiddenState

CfCState = HiddenState


class CfC(RecurrentCore):
    r"""Closed-form continuous-time network, for steps that lie unequally far apart; sequential.

    Hasani et al., 2022 (https://arxiv.org/abs/2106.13898), equation 10 with the backbone of figure
    3, as in the authors' code:

        u_t = phi(W_x x_t + W_h h_{t-1} + b), phi(v) = 1.7159 tanh(0.666 v)     backbone
        g_t = tanh(W_g u_t + b_g),  k_t = tanh(W_k u_t + b_k)                   heads
        s_t = sigmoid((W_a u_t + b_a) * d_t + W_b u_t + b_b)                    time gate
        h_t = (1 - s_t) * g_t + s_t * k_t

    where d_t is the time between step t - 1 and step t: `gaps`, 1 where not given. (The paper's h
    with its head is k here, its f is -(W_a u + b_a); the code adds W_b u + b_b.) Deeper backbones
    apply phi(W u + b) again.

    `weight_ih` (U, D), `weight_hh` (U, H) and `bias` (U,) of the backbone, `deeper` its further
    layers; of the heads, in the order g, k, a, b, `weight_heads` (4H, U) and `bias_heads` (4H,).
    Initialised as in that code: matrices uniform within sqrt(6 / (fan in + fan out)), where the
    backbone's is one for x and h and each head has its own, biases uniform within 1 / sqrt(fan in),
    torch's default. The initial state is zero.

    Args:
        input_size: D, size of one step's input.
        hidden_size: H, size of the hidden state and of the output.
        backbone_size: U.
        backbone_layers: Layers of the backbone, at least 1.

    Examples:
        >>> core = CfC(3, 8, backbone_size=16)
        >>> output, state = core(torch.randn(2, 5, 3), gaps=torch.rand(2, 5))
        >>> output.shape, state.hidden.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 8]))
    """

    takes_gaps = True
    recurrent_weights = ("weight_hh",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        backbone_size: int = 128,
        backbone_layers: int = 1,
    ) -> None:
        super().__init__(input_size, hidden_size)
        for name, value in (
            ("backbone_size", backbone_size),
            ("backbone_layers", backbone_layers),
        ):
            if value < 1:
                raise ValueError(f"CfC: {name} is {value}; it is at least 1")
        self.hidden_size = hidden_size
        self.weight_ih = nn.Parameter(torch.empty(backbone_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(backbone_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(backbone_size))
        self.deeper = nn.ModuleList(
            nn.Linear(backbone_size, backbone_size) for _ in range(backbone_layers - 1)
        )
        self.weight_heads = nn.Parameter(torch.empty(4 * hidden_size, backbone_size))
        self.bias_heads = nn.Parameter(torch.empty(4 * hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters as the class says."""
        units, inputs = self.weight_ih.shape
        seen = inputs + self.hidden_size
        first, head = (6 / (units + seen)) ** 0.5, (6 / (units + self.hidden_size)) ** 0.5
        for parameter, bound in (
            (self.weight_ih, first),
            (self.weight_hh, first),
            (self.bias, seen**-0.5),
            (self.weight_heads, head),
            (self.bias_heads, units**-0.5),
        ):
            nn.init.uniform_(parameter, -bound, bound)
        for layer in self._deeper():
            nn.init.xavier_uniform_(layer.weight)
            nn.init.uniform_(layer.bias, -(units**-0.5), units**-0.5)

    def step(
        self, x: Tensor, state: CfCState, *, gaps: Tensor | None = None
    ) -> tuple[Tensor, CfCState]:
        """Advance one step; see `RecurrentCore.step`.

        Args:
            x: Input (B, D).
            state: The state before the step.
            gaps: The time since the step before (B,), in any unit; 1 where not given.

        Returns:
            Output (B, H) and the state after the step.
        """
        dtype = state.hidden.dtype
        projected = F.linear(x, self.weight_ih, self.bias)  # (B, U)
        gap = torch.ones_like(projected[:, :1]) if gaps is None else gaps.unsqueeze(1)
        joined = torch.cat((projected.to(dtype), gap.to(dtype)), 1)  # (B, U + 1)
        (hidden,) = _step(joined, state.hidden, *self._recurrent())
        return hidden.to(x.dtype), CfCState(hidden)

    def _sequence(self, x: Tensor, state: CfCState) -> tuple[Tensor, CfCState]:
        dtype = state.hidden.dtype
        values, gaps = apart(x, self.input_size)  # (B, T, D) and (B, T)
        projected = F.linear(values.transpose(0, 1), self.weight_ih, self.bias).to(dtype)
        gap = torch.ones_like(projected[..., :1])  # (T, B, 1)
        if gaps is not None:
            gap = gaps.t().unsqueeze(2).to(dtype)
        joined = torch.cat((projected, gap), 2)  # (T, B, U + 1)
        output, hidden = uncompiled(unroll)(_step, joined, tuple(state), *self._recurrent())
        return output.transpose(0, 1).to(x.dtype), CfCState(hidden)  # (B, T, H)

    def _recurrent(self) -> tuple[Tensor, ...]:
        """Return the weights of a step but for those of x, those of deeper layers last."""
        deeper = [part for layer in self._deeper() for part in (layer.weight, layer.bias)]
        return self.weight_hh, self.weight_heads, self.bias_heads, *deeper

    def _deeper(self) -> list[nn.Linear]:
        return cast("list[nn.Linear]", list(self.deeper))

    def extra_repr(self) -> str:
        """Show the sizes in the module's representation."""
        return f"{self.input_size}, {self.hidden_size}, backbone_size={len(self.bias)}"


def _step(
    joined: Tensor,  # W_x x_t + b and d_t, side by side (B, U + 1)
    hidden: Tensor,
    weight_hh: Tensor,
    weight_heads: Tensor,
    bias_heads: Tensor,
    *deeper: Tensor,
) -> tuple[Tensor]:
    projected, gap = joined[:, :-1], joined[:, -1:]
    u = _phi(projected + F.linear(hidden.to(weight_hh.dtype), weight_hh))  # (B, U)
    for weight, bias in zip(deeper[::2], deeper[1::2], strict=True):
        u = _phi(F.linear(u.to(weight.dtype), weight, bias))
    heads = F.linear(u.to(weight_heads.dtype), weight_heads, bias_heads).to(hidden.dtype)
    g, k, a, b = heads.chunk(4, 1)  # (B, H) each
    gate = torch.sigmoid(a * gap + b)
    return (torch.lerp(torch.tanh(g), torch.tanh(k), gate),)


def _phi(v: Tensor) -> Tensor:
    """Compute LeCun's tanh, scaled as in the authors' code."""
    return 1.7159 * torch.tanh(0.666 * v)
