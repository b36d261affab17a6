"""A network of leaky integrators.

Shapes: B batch, D input, H hidden.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from unrolled.core import RecurrentCore


class LeakyState(NamedTuple):
    """What a `Leaky` carries from step to step: the potentials v (B, H)."""

    potential: Tensor


class Leaky(RecurrentCore):
    """Leaky integrators (Jaeger et al. 2007, https://doi.org/10.1016/j.neunet.2007.04.016).

        v_t = (1 - a) * v_{t-1} + a * (W x_t + U tanh(v_{t-1}) + b),    y_t = tanh(v_t)

    Each unit learns how fast it leaks: a = sigmoid(r), 1/2 to begin with.
    """

    state_type = LeakyState

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.input = nn.Linear(input_size, hidden_size)
        self.recurrent = nn.Linear(hidden_size, hidden_size, bias=False)
        self.rate = nn.Parameter(torch.zeros(hidden_size))

    def step(self, x: Tensor, state: LeakyState) -> tuple[Tensor, LeakyState]:
        """Advance one step."""
        (v,) = state
        drive = self.input(x) + self.recurrent(v.tanh().to(x.dtype))  # (B, H)
        v = v + self.rate.sigmoid() * (drive - v)
        return v.tanh().to(x.dtype), LeakyState(v)
