"""Long short-term memory.

Shapes: B batch, T time, D input, H hidden, P output: the projection's size, or H.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..families.torch_core import TorchCore, finish
from ..kernels.loops import transformed, uncompiled, unroll, whole_graph
from ..products import product
from ..schedule import steps_before
from ..state import LSTMState as LSTMState


class LSTM(TorchCore):
    r"""Long short-term memory with forget gates, sequential.

    Hochreiter and Schmidhuber, 1997 (https://doi.org/10.1162/neco.1997.9.8.1735); forget gates by
    Gers et al., 2000 (https://doi.org/10.1162/089976600300015015). As in `torch.nn.LSTM`:

        i_t = sigmoid(W_xi x_t + b_xi + W_hi h_{t-1} + b_hi)      input gate
        f_t = sigmoid(W_xf x_t + b_xf + W_hf h_{t-1} + b_hf)      forget gate
        g_t = tanh(W_xg x_t + b_xg + W_hg h_{t-1} + b_hg)         candidate
        o_t = sigmoid(W_xo x_t + b_xo + W_ho h_{t-1} + b_ho)      output gate
        c_t = f_t * c_{t-1} + i_t * g_t
        h_t = o_t * tanh(c_t)

    With `proj_size` (LSTMP; Sak et al., 2014, https://arxiv.org/abs/1402.1128) the hidden state is
    projected, h_t = W_hr (o_t * tanh(c_t)), as in torch. With `peepholes` (Gers et al., 2002,
    https://www.jmlr.org/papers/v3/gers02a.html) the gates see the cell: p_i * c_{t-1} is added
    within i_t, p_f * c_{t-1} within f_t, and p_o * c_t within o_t. torch has no kernel for that, so
    that it runs step by step.

    Gate order i, f, g, o: `weight_ih` (4H, D), `weight_hh` (4H, P), `bias_ih` (4H,), `bias_hh`
    (4H,); `weight_hr` (P, H) with `proj_size`, `weight_peephole` (3H,) of p_i, p_f, p_o with
    `peepholes`. P is H without a projection. Initialised uniformly within 1 / sqrt(H), torch's
    default (the forget bias is not raised). The initial state is zero: h (B, P) and c (B, H).

    Args:
        input_size: D, size of one step's input.
        hidden_size: H, size of the cell, and without a projection of hidden state and output.
        bias: Whether there are biases.
        proj_size: P, size of hidden state and output, less than H; 0 for no projection.
        peepholes: Whether the gates see the cell.

    Examples:
        >>> core = LSTM(3, 8)
        >>> output, state = core(torch.randn(2, 5, 3), lengths=torch.tensor([5, 2]))
        >>> output.shape, state.hidden.shape, state.cell.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 8]), torch.Size([2, 8]))
    """

    gates = 4
    torch_class = nn.LSTM
    state_type = LSTMState

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        proj_size: int = 0,
        peepholes: bool = False,
    ) -> None:
        super().__init__(input_size, hidden_size, bias=bias)
        if not 0 <= proj_size < hidden_size:
            raise ValueError(
                f"LSTM: proj_size is {proj_size}; it is 0 for no projection, or at least 1 and "
                f"less than hidden_size, which is {hidden_size}"
            )
        self.proj_size = proj_size
        self.peepholes = peepholes
        self.register_parameter("weight_hr", None)
        self.register_parameter("weight_peephole", None)
        if proj_size:
            self.output_size = proj_size
            self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, proj_size))
            self.weight_hr = nn.Parameter(torch.empty(proj_size, hidden_size))
        if peepholes:
            self._slack = 0  # no kernel is to be kept whole
            self.weight_peephole = nn.Parameter(torch.empty(3 * hidden_size))
        if proj_size or peepholes:
            self.reset_parameters()

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the hidden state and of the cell."""
        return {"hidden": (self.output_size,), "cell": (self.hidden_size,)}

    def step(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """Advance one step; see `RecurrentCore.step`."""
        projected = F.linear(x, self.weight_ih, self.bias_ih)  # (B, 4H)
        hidden, cell = _step(projected, state.hidden, state.cell, *self._recurrent())
        return hidden.to(x.dtype), LSTMState(hidden, cell)

    @torch.no_grad()
    def stepper(self) -> Callable[[Tensor, LSTMState], tuple[Tensor, LSTMState]]:
        """Make `step` ready: one matrix product and one sigmoid; see `RecurrentCore.stepper`."""
        if self.peepholes:
            return self.step
        size = self.hidden_size
        weight = torch.cat((self.weight_ih, self.weight_hh), 1)  # (4H, D + P)
        bias = weight.new_zeros(4 * size)
        if self.bias_ih is not None and self.bias_hh is not None:
            bias = self.bias_ih + self.bias_hh
        # tanh(g) = 2 sigmoid(2 g) - 1
        weight[2 * size : 3 * size] *= 2
        bias[2 * size : 3 * size] *= 2
        gated = product(weight, bias)
        projected = None if self.weight_hr is None else product(self.weight_hr)

        def step(x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
            hidden, cell = state
            joined = torch.cat((x, hidden.to(x.dtype)), 1)  # (B, D + P)
            gates = gated(joined).sigmoid().to(cell.dtype)  # (B, 4H)
            i, f, g, o = gates.view(-1, 4, size).unbind(1)  # (B, H) each
            cell = torch.addcmul(f * cell - i, i, g, value=2)
            hidden = o * cell.tanh()
            if projected is not None:
                hidden = projected(hidden.to(x.dtype)).to(cell.dtype)  # (B, P)
            return hidden.to(x.dtype), LSTMState(hidden, cell)

        return step

    def _sequence(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        if self.peepholes:
            return self._steps(x, state, self.weight_ih)
        if whole_graph() or (x.shape[1] <= 2 and not x.is_cuda):
            # oneDNN prepares the weights anew at each call, which takes longer than two steps
            # (measured: 4 ms of 5).
            return cast("tuple[Tensor, LSTMState]", super()._sequence(x, state))
        return self._run(x, state, self.weight_ih)

    def _ragged(self, x: Tensor, state: LSTMState, lengths: list[int]) -> tuple[Tensor, LSTMState]:
        # torch returns the cell at T only. One more feature, 1 past a row's end, shuts the input
        # gate and opens the forget gate there so far that the cell stays as it is, to the last bit.
        padding = ~steps_before(lengths, x.shape[1], x.device).unsqueeze(2)  # (B, T, 1)
        gate = self.weight_ih.new_zeros(4, self.hidden_size, 1)
        gate[0], gate[1] = -1e4, 1e4
        weight = torch.cat((self.weight_ih, gate.flatten(0, 1)), 1)  # (4H, D + 1)
        marked = torch.cat((x.masked_fill(padding, 0.0), padding.to(x.dtype)), 2)  # (B, T, D + 1)
        output, after = self._run(marked, state, weight)
        output, hidden = finish(output, padding, lengths, state[0])
        return output, LSTMState(hidden, after.cell)

    def _run(self, x: Tensor, state: LSTMState, weight_ih: Tensor) -> tuple[Tensor, LSTMState]:
        if transformed():
            return self._steps(x, state, weight_ih)
        hidden, cell = state
        hx = hidden.unsqueeze(0).to(x.dtype), cell.unsqueeze(0).to(x.dtype)  # (1, B, P) and H
        weights = [weight_ih, *self._weights()[1:]]
        if self.weight_hr is not None:
            weights.append(self.weight_hr)
        try:
            output, hidden_n, cell_n = self._kernel(torch.lstm, x, hx, weights)
        except RuntimeError as error:
            # oneDNN has no half-precision LSTM on older processors (bfloat16 needs AVX-512,
            # pytorch#88136).
            if x.is_cuda or "primitive" not in str(error):
                raise
            with torch.autocast("cpu", enabled=False):
                hx = hidden.unsqueeze(0), cell.unsqueeze(0)
                weights = [weight.float() for weight in weights]
                output, hidden_n, cell_n = self._kernel(torch.lstm, x.float(), hx, weights)
        return output.to(x.dtype), LSTMState(hidden_n[0].to(hidden.dtype), cell_n[0].to(cell.dtype))

    def _steps(self, x: Tensor, state: LSTMState, weight_ih: Tensor) -> tuple[Tensor, LSTMState]:
        """Run the formula."""
        projected = F.linear(x.transpose(0, 1), weight_ih, self.bias_ih)  # (T, B, 4H)
        output, *last = uncompiled(unroll)(_step, projected, state, *self._recurrent())
        return output.transpose(0, 1).to(x.dtype), LSTMState(*last)  # (B, T, P)

    def _recurrent(self) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
        return self.weight_hh, self.bias_hh, self.weight_hr, self.weight_peephole

    @classmethod
    def _options_of(cls, module: nn.RNNBase) -> dict[str, Any]:
        return {"proj_size": module.proj_size}

    def torch_options(self) -> dict[str, Any]:
        """Return the arguments of the torch module beyond its sizes.

        Raises:
            ValueError: There are peepholes, which torch's LSTM lacks.
        """
        if self.peepholes:
            raise ValueError("LSTM.to_torch: peepholes=True; nn.LSTM has no peepholes")
        return {**super().torch_options(), "proj_size": self.proj_size}

    def extra_repr(self) -> str:
        """Show the options in the module's representation."""
        projection = f", proj_size={self.proj_size}" if self.proj_size else ""
        return super().extra_repr() + projection + (", peepholes=True" if self.peepholes else "")


def _step(
    projected: Tensor,
    hidden: Tensor,
    cell: Tensor,
    weight_hh: Tensor,
    bias_hh: Tensor | None,
    weight_hr: Tensor | None,
    peephole: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Compute h_t (B, P) and c_t (B, H) of W_x x_t + b_x (B, 4H)."""
    recurrent = F.linear(hidden.to(weight_hh.dtype), weight_hh, bias_hh)
    i, f, g, o = (projected + recurrent).chunk(4, 1)  # (B, H) each
    if peephole is not None:
        p_i, p_f, p_o = peephole.to(cell.dtype).chunk(3)  # (H,) each
        i, f = i + p_i * cell, f + p_f * cell
    cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
    if peephole is not None:
        o = o + p_o * cell
    hidden = torch.sigmoid(o) * torch.tanh(cell)
    if weight_hr is not None:
        hidden = F.linear(hidden.to(weight_hr.dtype), weight_hr).to(cell.dtype)
    return hidden, cell
