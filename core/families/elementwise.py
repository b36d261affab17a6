"""Cores whose state enters elementwise only: every matrix product runs over all steps at once.

Shapes: B batch, T time, D input, H output, K columns of a weight.
"""

from __future__ import annotations

import inspect
import sys
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ParamSpec, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..kernels.loops import transformed, whole_graph
from ..kernels.scan import linear_recurrence
from ..recurrent import RecurrentCore
from ..schedule import Schedule
from ..state import HiddenState, State, leaves, map_state

P = ParamSpec("P")
R = TypeVar("R")


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
        super().__init__(input_size, hidden_size)
        if chunk is not None and chunk < 1:
            raise ValueError(
                f"{type(self).__name__}: chunk is {chunk}; it is at least 1 step, or None"
            )
        self.hidden_size = hidden_size
        self.chunk = chunk

    @abstractmethod
    def _run(self, x: Tensor, state: Any, reset: Tensor | None) -> tuple[Tensor, State]:
        """Run rows of one length, time first.

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
        x = x.transpose(0, 1)  # (T, B, D)
        time = x.shape[0]
        reset = padding = lengths = None
        if schedule is not None:
            if schedule.reset is not None:
                reset = schedule.reset.to(x.device, non_blocking=True).t()  # (T, B)
            if min(schedule.lengths) < time:
                padding = ~schedule.valid().t().unsqueeze(2)  # (T, B, 1)
                x = x.masked_fill(padding, 0.0)
                lengths = torch.tensor(schedule.lengths).to(x.device, non_blocking=True)
        # neither transforms nor graphs without breaks pass a checkpoint
        if transformed() or whole_graph() or self.chunk is None or self.chunk >= time:
            output, state = self._piece(self._run, x, state, reset, lengths)
        else:
            output, state = self._pieces(x, state, reset, lengths, self.chunk)
        output = output.to(x.dtype)
        if padding is not None:
            output = output.masked_fill(padding, 0.0)
        return output.transpose(0, 1), state  # (B, T, H)

    def _pieces(
        self, x: Tensor, state: State, reset: Tensor | None, lengths: Tensor | None, chunk: int
    ) -> tuple[Tensor, State]:
        """Run `chunk` steps at a time, which the backward pass runs again."""
        held = _Held(self)
        run = partial(type(self)._run, cast("ElementwiseCore", held))
        outputs = []
        parts = x.split(chunk)  # one split: its gradient is one concatenation
        resets = [None] * len(parts) if reset is None else reset.split(chunk)
        for i, (part, part_reset) in enumerate(zip(parts, resets, strict=True)):
            left = None if lengths is None else (lengths - i * chunk).clamp(0, len(part))
            given = [part, *leaves(state), *held.weights()]
            output, state = checkpoint(
                _unchanged(self._piece, given), run, part, state, part_reset, left,
                use_reentrant=False, preserve_rng_state=False,
            )  # fmt: skip
            outputs.append(output)  # (chunk, B, H)
        return torch.cat(outputs), state  # (T, B, H)

    @staticmethod
    def _piece(
        run: Callable[..., tuple[Tensor, State]],
        x: Tensor,
        state: State,
        reset: Tensor | None,
        lengths: Tensor | None,
    ) -> tuple[Tensor, State]:
        """Run steps by `_run` and look up each row's state at its length."""
        output, states = run(x, state, reset)
        if lengths is None:
            # a copy: a view would keep every step
            return output, map_state(lambda leaf: leaf[-1].clone(), states)  # (B, ...)
        index = (lengths - 1).clamp(min=0)
        rows = torch.arange(len(index), device=x.device)
        ended = (lengths == 0).unsqueeze(1)  # (B, 1)
        return output, map_state(
            lambda leaf, before: torch.where(ended, before, leaf[index, rows]), states, state
        )


class LinearCore(ElementwiseCore):
    """A core that is h_t = a_t * h_{t-1} + b_t with a and b of the input alone: parallel.

    Its state is h, which is the output.
    """

    parallel = True

    @abstractmethod
    def _factors(self, x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Compute the recurrence, of one step or of all.

        Args:
            x: Input (..., D).
            dtype: The state's.

        Returns:
            a and b, each (..., H) of that dtype.
        """

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, State]:
        """Advance one step; see `RecurrentCore.step`."""
        a, b = self._factors(x, state.hidden.dtype)
        hidden = a * state.hidden + b
        return hidden.to(x.dtype), HiddenState(hidden)

    def _run(self, x: Tensor, state: Any, reset: Tensor | None) -> tuple[Tensor, State]:
        a, b = self._factors(x, state.hidden.dtype)
        hidden = linear_recurrence(a, b, state.hidden, reset)  # (T, B, H)
        return hidden, HiddenState(hidden)


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

    def weights(self) -> list[Tensor]:
        """Return the weights of now."""
        return [value for value in vars(self).values() if isinstance(value, Tensor)]

    def __getattr__(self, name: str) -> Any:
        method = getattr(type(self._core), name, None)
        if inspect.isfunction(method):  # which reads weights, too
            return partial(method, self)
        return getattr(self._core, name)


def _unchanged(run: Callable[P, R], given: Sequence[Tensor]) -> Callable[P, R]:
    """Let a function that runs again in the backward pass raise where its tensors were overwritten.

    What torch keeps for a gradient it looks at itself; of what `checkpoint` keeps it does not.

    Args:
        run: The function.
        given: All that it reads.
    """
    if not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return run
    versions = [tensor._version for tensor in given]

    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        if [tensor._version for tensor in given] != versions:
            raise RuntimeError(
                "one of the variables needed for gradient computation has been modified by an "
                "inplace operation: with `chunk` a core reads its input, state and weights again "
                "in the backward pass"
            )
        return run(*args, **kwargs)

    return checked


def project(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, dtype: torch.dtype | None = None
) -> Tensor:
    """Multiply every step's input by one matrix.

    Args:
        x: Input (..., D).
        weight: Matrix (K, D).
        bias: (K,), or None.
        dtype: The result's; the product's when not given.

    Returns:
        (..., K).
    """
    if x.dim() == 2:
        return F.linear(x, weight, bias).to(dtype)
    # flat: the bias joins the product
    return project(x.flatten(0, -2), weight, bias, dtype=dtype).view(*x.shape[:-1], len(weight))
