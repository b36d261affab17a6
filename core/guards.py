"""What lies between a core's own `step` and its caller: the look at the arguments, and the hooks.

`RecurrentCore` puts it around the methods of every subclass, so that a core holds its equations
alone.

Shapes: B batch, D input, H output.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.modules.module import _global_forward_hooks, _global_forward_pre_hooks

from .checks import Form, dense, fits, form_of, refuse_input, refuse_mixture, refuse_state, typed
from .gaps import check_gaps, passed_on
from .interop.names import TorchNamed
from .schedule import ONE_STEP
from .state import State


class Guarded(TorchNamed):
    """A module whose steps and states are looked at before they run."""

    input_size: int
    takes_gaps: bool
    initial_state: Callable[..., State]
    step: Callable[..., tuple[Tensor, State]]
    stepper: Callable[..., Callable[[Tensor, Any], tuple[Tensor, State]]]
    # `step` as the core defines it
    _bare_step: ClassVar[Callable[..., tuple[Tensor, Any]]]
    _form: Form | None = None  # of the state, once it was needed

    def _checked_step(
        self, x: Tensor, state: Any, gaps: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Look at one step's input and state, and run it."""
        state = self._accept_step(x, state)
        if gaps is None:
            return self._explained(self._bare_step, x, state)
        gaps = check_gaps(type(self).__name__, self.takes_gaps, x, gaps)
        return self._explained(functools.partial(self._bare_step, gaps=gaps), x, state)

    def _explained(
        self, run: Callable[..., tuple[Tensor, State]], x: Tensor, state: Any, *rest: Any
    ) -> tuple[Tensor, State]:
        """Run what has been checked; where torch finds two types or devices, say whose they are."""
        if torch.compiler.is_compiling():
            return run(x, state, *rest)
        try:
            return run(x, state, *rest)
        except RuntimeError as error:
            refuse_mixture(type(self).__name__, x, state, self.parameters(), error)
            raise

    def _accept_step(self, x: Tensor, state: Any) -> Any:
        """Check one step's input (B, D) and state; return the state, a plain tuple typed."""
        if dense(x):
            shape = x.shape
            if len(shape) == 2 and shape[1] == self.input_size and x.dtype.is_floating_point:
                # where two devices meet, torch says so at once
                return self._accept_state(state, shape[0], None)
        raise refuse_input(type(self).__name__, x, self.input_size, step=True)

    def _accept_state(self, state: Any, batch: int, device: torch.device | None) -> Any:
        """Check a state, leaves (B, ...); return it, a plain tuple typed."""
        form = self._form
        if form is not None and fits(state, form, batch, device):
            return state
        if form is not None and fits(plain := typed(state, form), form, batch, device):
            return plain
        # for the first time; or a layer may have been exchanged
        form = self._read_form()
        plain = typed(state, form)
        if not fits(plain, form, batch, device):
            raise refuse_state(type(self).__name__, state, form, batch, device)
        return plain

    def _read_form(self) -> Form:
        """Find out what the state looks like, and keep it."""
        with torch.no_grad():
            self._form = form_of(self.initial_state(1, device="meta", dtype=torch.float32))
        return self._form

    def _read_forms(self) -> None:
        """Find it out for all cores within, which change nothing more while a graph runs them."""
        for module in self.modules():
            if isinstance(module, Guarded) and module._form is None:
                module._read_form()

    def _hooked(self) -> bool:
        """Tell whether `__call__` does more than `forward`."""
        return bool(
            self._forward_pre_hooks
            or self._forward_hooks
            or self._backward_pre_hooks
            or self._backward_hooks
        ) or bool(_global_forward_pre_hooks or _global_forward_hooks)


def guarded_step(bare: Callable[..., tuple[Tensor, State]]) -> Callable[..., tuple[Tensor, State]]:
    """Make of a core's own step the one that is called from outside.

    Args:
        bare: The step as the core defines it.

    Returns:
        The step that looks at its arguments first, and runs as a module where the core has hooks.
    """

    @functools.wraps(bare)
    def step(
        self: Guarded, x: Tensor, state: Any, *, gaps: Tensor | None = None
    ) -> tuple[Tensor, State]:
        if type(self)._bare_step is not bare:  # from the step of a subclass, which has been here
            return bare(self, x, state, **passed_on(self, gaps))
        if self._hooked():
            return self(x, state, gaps=gaps, schedule=ONE_STEP)  # type: ignore[no-any-return]
        return self._checked_step(x, state, gaps)

    step.guarded = True  # type: ignore[attr-defined]
    # One of its own: torch.compile counts recompilations by code.
    step.__code__ = step.__code__.replace()  # type: ignore[attr-defined]
    return step


def guarded_stepper(bare: Callable[..., Any]) -> Callable[..., Any]:
    """Make of a core's own stepper the one that is called from outside.

    Args:
        bare: The stepper as the core defines it.

    Returns:
        The stepper whose functions look at their first arguments; of a core with hooks, which may
        make its weights anew at each call, it is the core's step.
    """

    @functools.wraps(bare)
    def stepper(self: Guarded) -> Callable[[Tensor, Any], tuple[Tensor, State]]:
        if type(self).stepper is not guarded:
            return bare(self)  # type: ignore[no-any-return]
        if self._hooked():
            return self.step
        run = bare(self)
        first = True

        def step(x: Tensor, state: Any, *, gaps: Tensor | None = None) -> tuple[Tensor, State]:
            nonlocal first
            if first:
                state = self._accept_step(x, state)
                first = False
            if gaps is not None:
                gaps = check_gaps(type(self).__name__, self.takes_gaps, x, gaps)
            return run(x, state, **passed_on(self, gaps))  # type: ignore[no-any-return]

        return step

    guarded = stepper
    stepper.guarded = True  # type: ignore[attr-defined]
    return stepper
