"""What lies between a core's own `step` and whoever calls it: the look at the arguments, and the hooks.

`RecurrentCore` puts it around the methods of every subclass, so that a core holds its equations
alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor

from .schedule import ONE_STEP
from .state import State

if TYPE_CHECKING:
    from .recurrent import RecurrentCore


def guarded_step(bare: Callable[..., tuple[Tensor, State]]) -> Callable[..., tuple[Tensor, State]]:
    """Makes of a core's own step the one that is called from outside.

    Args:
        bare: The step as the core defines it.

    Returns:
        The step that looks at its arguments first, and runs as a module where the core has hooks.
    """

    @functools.wraps(bare)
    def step(self: RecurrentCore, x: Tensor, state: Any) -> tuple[Tensor, State]:
        if type(self)._bare_step is not bare:  # from the step of a subclass, which has been here
            return bare(self, x, state)
        if self._hooked():
            return self(x, state, schedule=ONE_STEP)
        return self._checked_step(x, state)

    step.guarded = True  # type: ignore[attr-defined]
    # One of its own: torch.compile counts recompilations by code.
    step.__code__ = step.__code__.replace()  # type: ignore[attr-defined]
    return step


def guarded_stepper(bare: Callable[..., Any]) -> Callable[..., Any]:
    """Makes of a core's own stepper the one that is called from outside.

    Args:
        bare: The stepper as the core defines it.

    Returns:
        The stepper whose functions look at their first arguments; of a core with hooks, which may
        make its weights anew at each call, it is the core's step.
    """

    @functools.wraps(bare)
    def stepper(self: RecurrentCore) -> Callable[[Tensor, Any], tuple[Tensor, State]]:
        if type(self).stepper is not guarded:
            return bare(self)  # type: ignore[no-any-return]
        if self._hooked():
            return self.step
        run = bare(self)
        first = True

        def step(x: Tensor, state: Any) -> tuple[Tensor, State]:
            nonlocal first
            if first:
                state = self._accept_step(x, state)
                first = False
            return run(x, state)  # type: ignore[no-any-return]

        return step

    guarded = stepper
    stepper.guarded = True  # type: ignore[attr-defined]
    return stepper
