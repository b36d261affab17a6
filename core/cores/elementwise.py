"""What cores share whose state enters elementwise only: every matrix product runs over all steps at once.

Shapes: B batch, T time, D input, H output.
"""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..kernels.loops import transformed
from ..recurrent import RecurrentCore
from ..schedule import Schedule
from ..state import State, map_state


class ElementwiseCore(RecurrentCore):
    """A core without hidden-to-hidden matrices.

    The sequence runs time first, resets are taken inside the recurrence, and steps past a row's
    length run on zeros.

    Args:
        input_size: D, size of one step's input.
        hidden_size: H, size of the output.
        chunk: Run this many steps at a time and compute them again for the gradient, instead of
            keeping what every step needs: slower by one forward, with memory for one chunk and the
            states between chunks. Off when not given.
    """

    _slack = sys.maxsize  # a cut would cut the matrix products

    def __init__(self, input_size: int, hidden_size: int, *, chunk: int | None = None) -> None:
        if hidden_size < 1:
            raise ValueError(
                f"{type(self).__name__}: hidden_size is {hidden_size}; sizes are at least 1"
            )
        if chunk is not None and chunk < 1:
            raise ValueError(
                f"{type(self).__name__}: chunk is {chunk}; it is at least 1 step, or None"
            )
        super().__init__(input_size, hidden_size)
        self.hidden_size = hidden_size
        self.chunk = chunk

    @abstractmethod
    def _run(self, x: Tensor, state: Any, reset: Tensor | None) -> tuple[Tensor, State]:
        """Runs rows of one length, time first.

        Args:
            x: Input (T, B, D), at least one row and one step.
            state: The state before the first step, of the boundary's dtype.
            reset: Bool (T, B), True where a row starts anew, or None.

        Returns:
            Output (T, B, H) and the states after every step, leaves (T, B, ...) of the boundary's
            dtype.
        """

    def _unroll(self, x: Tensor, state: State, schedule: Schedule | None) -> tuple[Tensor, State]:
        if self._idle(x, schedule):
            return self._nothing(x, state)
        x = x.transpose(0, 1)
        time = x.shape[0]
        reset = padding = lengths = None
        if schedule is not None:
            if schedule.reset is not None:
                reset = schedule.reset.to(x.device, non_blocking=True).t()
            if min(schedule.lengths) < time:
                padding = ~schedule.valid().t().unsqueeze(2)
                x = x.masked_fill(padding, 0.0)
                lengths = torch.tensor(schedule.lengths).to(x.device, non_blocking=True)
        # transforms pass no checkpoint
        if self.chunk is None or self.chunk >= time or transformed():
            output, state = self._piece(self._run, x, state, reset, lengths)
        else:
            output, state = self._pieces(x, state, reset, lengths, self.chunk)
        output = output.to(x.dtype)
        return (output if padding is None else output.masked_fill(padding, 0.0)).transpose(
            0, 1
        ), state

    def _pieces(
        self, x: Tensor, state: State, reset: Tensor | None, lengths: Tensor | None, chunk: int
    ) -> tuple[Tensor, State]:
        run = partial(type(self)._run, cast("ElementwiseCore", _Held(self)))
        outputs = []
        parts = x.split(chunk)  # one split: its gradient is one concatenation
        resets = [None] * len(parts) if reset is None else reset.split(chunk)
        for i, (part, part_reset) in enumerate(zip(parts, resets, strict=True)):
            left = None if lengths is None else (lengths - i * chunk).clamp(0, len(part))
            output, state = checkpoint(
                self._piece,
                run,
                part,
                state,
                part_reset,
                left,
                use_reentrant=False,
                preserve_rng_state=False,
            )
            outputs.append(output)
        return torch.cat(outputs), state

    @staticmethod
    def _piece(
        run: Callable[..., tuple[Tensor, State]],
        x: Tensor,
        state: State,
        reset: Tensor | None,
        lengths: Tensor | None,
    ) -> tuple[Tensor, State]:
        """Runs steps by `_run` and looks up each row's state at its length."""
        output, states = run(x, state, reset)
        if lengths is None:
            # a copy: a view would keep every step
            return output, map_state(lambda leaf: leaf[-1].clone(), states)
        index = (lengths - 1).clamp(min=0)
        rows = torch.arange(len(index), device=x.device)
        ended = (lengths == 0).unsqueeze(1)
        return output, map_state(
            lambda leaf, before: torch.where(ended, before, leaf[index, rows]), states, state
        )


class _Held:
    """A core with the weights of now: what runs again in the backward pass must not find others.

    Dropped weights would be drawn anew there, and those of `torch.func.functional_call` would be
    gone.
    """

    def __init__(self, core: ElementwiseCore) -> None:
        self._core = core
        names = [
            name.removeprefix("parametrizations.").partition(".")[0]
            for name, _ in core.named_parameters()
        ]
        for name in names:
            setattr(self, name, getattr(core, name))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)


def project(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Multiplies every step's input by one matrix.

    Args:
        x: Input (T, B, D).
        weight: Matrix (K, D).
        bias: (K,), or None.

    Returns:
        (T, B, K).
    """
    # flat: the bias joins the product
    return F.linear(x.reshape(-1, x.shape[2]), weight, bias).view(*x.shape[:2], -1)
