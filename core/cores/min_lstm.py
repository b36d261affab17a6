"""The minimal LSTM.

Shapes: D input, H hidden.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..families.minimal import MinimalCore
from ..state import HiddenState

MinLSTMState = HiddenState


class MinLSTM(MinimalCore):
    r"""Minimal LSTM whose gates read the input only and are normalised, parallel.

    Feng et al., 2024, "Were RNNs all we needed?" (https://arxiv.org/abs/2410.01201):

        f_t = sigmoid(W_f x_t + b_f)                    forget gate
        i_t = sigmoid(W_i x_t + b_i)                    input gate
        n_t = g(W_n x_t + b_n)                          candidate (the paper's h with a tilde)
        h_t = f_t / (f_t + i_t) * h_{t-1} + i_t / (f_t + i_t) * n_t

    g is the paper's: g(v) = v in section 3.2, or the positive function of appendix B; see `MinGRU`.
    The shares are computed as sigmoid(log f_t - log i_t), which stays right where both gates are
    shut.

    Gate order f, i, n: `weight` (3H, D), `bias` (3H,). Initialised uniformly within 1 / sqrt(D), as
    `nn.Linear` does. The initial state is zero.

    Args:
        input_size: D, size of one step's input.
        hidden_size: H, size of the hidden state and of the output.
        candidate: "positive" for the g of appendix B, "linear" for g(v) = v.
        bias: Whether there are biases.
        chunk: Steps at a time, computed again for the gradient to save memory; see
            `ElementwiseCore`.

    Examples:
        >>> core = MinLSTM(3, 8)
        >>> output, state = core(torch.randn(2, 5, 3))
        >>> output.shape, state.hidden.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 8]))
    """

    gates = 3

    def _gates(self, projected: Tensor) -> tuple[Tensor, Tensor]:
        f, i, n = self._parts(projected)
        share = torch.sigmoid(F.logsigmoid(f) - F.logsigmoid(i))
        return share, (1 - share) * n
