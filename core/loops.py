"""What cores share that run their loop over time outside of torch's graphs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch


def uncompiled(loop: Callable[..., Any]) -> Callable[..., Any]:
    """Keeps a loop over time out of compiled graphs: the compiler would unroll it, and take minutes for 100 steps.

    Args:
        loop: A kernel, or the `apply` of an autograd function.

    Returns:
        The same function, around which `torch.compile` breaks its graph.
    """
    return torch.compiler.disable(loop) if torch.compiler.is_compiling() else loop


def without_autocast(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Keeps dtypes as they are, on devices that have autocast; the meta device has none.

    Args:
        device: Where the loop runs.
    """
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return contextlib.nullcontext()
