"""A bound on what is allocated while a network is made: its sizes may come from anybody's file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_MAKERS = frozenset(
    (
        torch.arange,
        torch.empty,
        torch.empty_strided,
        torch.eye,
        torch.full,
        torch.linspace,
        torch.ones,
        torch.rand,
        torch.randint,
        torch.randn,
        torch.randperm,
        torch.zeros,
    )
)
_MOST_TENSORS = 20_000  # a model of a thousand layers has some thousands


class Bounded(TorchFunctionMode):
    """Within it tensors are made up to a bound, and what would go beyond is refused before.

    Args:
        limit: Bytes of all that are made; None: the machine's memory.
        reason: Why there is such a bound, for the message.

    Raises:
        ValueError: More is asked for, or more than 20,000 tensors.

    Example:
        >>> with Bounded(1_000, "is left"):
        ...     torch.nn.Linear(1_000_000, 1_000_000)
        Traceback (most recent call last):
            ...
        ValueError: a tensor of 1000000 x 1000000 needs 4,000.0 GB, and 0.0 GB is left
    """

    def __init__(self, limit: int | None = None, reason: str = "is this machine's memory") -> None:
        super().__init__()
        self._left = memory() if limit is None else limit
        self._total = self._left
        self._reason = reason
        self._made = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Count a tensor before it is made; see `torch.overrides.TorchFunctionMode`."""
        kwargs = kwargs or {}
        if func in _MAKERS:
            self._count(func, args, kwargs)
        return func(*args, **kwargs)

    def _count(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._made += 1
        if self._made > _MOST_TENSORS:
            raise ValueError(f"the network has more than {_MOST_TENSORS:,} tensors")
        # a generator belongs to a device
        free = {k: v for k, v in kwargs.items() if k not in ("generator", "pin_memory", "out")}
        try:
            sketch = func(*args, **{**free, "device": "meta"})
        except RuntimeError as error:
            if "overflow" in str(error):
                raise ValueError(
                    f"a tensor of a network has more numbers than there are: {error}"
                ) from error
            return  # the call itself says what is wrong with it
        self._left -= sketch.nbytes
        if self._left < 0:
            shape = " x ".join(map(str, sketch.shape)) or "1"
            raise ValueError(
                f"a tensor of {shape} needs {sketch.nbytes / 1e9:,.1f} GB, and "
                f"{self._total / 1e9:,.1f} GB {self._reason}"
            )


def memory() -> int:
    """Return how many bytes of memory this machine has, or this process may use."""
    try:
        found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on every system
        found = 1 << 40
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return found
    return min(found, int(limit)) if limit.isdigit() else found
