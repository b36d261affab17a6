"""The minimal gated recurrent unit.

Shapes: D input, H hidden.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from ..families.elementwise import LinearCore, project
from ..families.minimal import MinimalCore, positive
from ..kernels.min_gru import MinGRULoop
from ..state import HiddenState, State

MinGRUState = HiddenState


class MinGRU(MinimalCore):
    r"""Minimal gated recurrent unit whose gate reads the input only, parallel.

    Feng et al., 2024, "Were RNNs all we needed?" (https://arxiv.org/abs/2410.01201):

        z_t = sigmoid(W_z x_t + b_z)                    update gate
        n_t = g(W_n x_t + b_n)                          candidate (the paper's h with a tilde)
        h_t = (1 - z_t) * h_{t-1} + z_t * n_t

    The paper states it twice: with g(v) = v (section 3.1) and, for its computation in log space and
    its experiments, with g(v) = v + 0.5 where v >= 0 and sigmoid(v) elsewhere (appendix B), which
    keeps the state positive. `candidate` chooses; neither is computed in log space here, which
    would lose digits.

    Gate order z, n: `weight` (2H, D), `bias` (2H,). Initialised uniformly within 1 / sqrt(D), as
    `nn.Linear` does. The initial state is zero.

    Args:
        input_size: D, size of one step's input.
        hidden_size: H, size of the hidden state and of the output.
        candidate: "positive" for the g of appendix B, "linear" for g(v) = v.
        bias: Whether there are biases.
        chunk: Steps at a time, computed again for the gradient to save memory; see
            `ElementwiseCore`.

    Examples:
        >>> core = MinGRU(3, 8, candidate="linear")
        >>> output, state = core(torch.randn(2, 5, 3))
        >>> output.shape, state.hidden.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 8]))
    """

    gates = 2

    def _gates(self, projected: Tensor) -> tuple[Tensor, Tensor]:
        z, n = self._parts(projected)
        z = torch.sigmoid(z)
        return 1 - z, z * n

    def _run(self, x: Tensor, state: HiddenState, reset: Tensor | None) -> tuple[Tensor, State]:
        if x.device.type != "cpu":  # where tiles would be many small kernels
            return LinearCore._run(self, x, state, reset)
        (hidden,) = state
        output = MinGRULoop.call(
            self._gates, positive if self.candidate == "positive" else None, hidden, reset,
            source=partial(project, dtype=hidden.dtype), given=(x, self.weight, self.bias),
        )  # fmt: skip
        return output, HiddenState(output)  # (T, B, H)
