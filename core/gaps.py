"""The time between steps, for cores that take it: on its way it is one more feature of the input.

So whatever cuts, sorts or reverses an input does the same to it.

Shapes: B batch, T time, D input.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .checks import describe


def check_gaps(name: str, takes: bool, x: Tensor, gaps: Any) -> Tensor:
    """Return gaps in the dtype of an input.

    Args:
        name: The core's class.
        takes: Whether the core takes gaps.
        x: Input (B, T, D), or of one step (B, D).
        gaps: Numbers (B, T), or of one step (B,).

    Raises:
        ValueError: They are anything else, or the core takes none.
    """
    if not takes:
        raise ValueError(
            f"{name} takes no gaps: its steps lie equally far apart; take a core that does (CfC), "
            "or give the times as features of x"
        )
    shape = tuple(x.shape[:-1])
    number = isinstance(gaps, Tensor) and gaps.dtype != torch.bool and not gaps.is_complex()
    if not number or gaps.shape != shape:
        remedy = "" if isinstance(gaps, Tensor) else ": torch.as_tensor makes one of numbers"
        raise ValueError(
            f"{name}: gaps is {describe(gaps)}; it must be a tensor of numbers {shape}, of every "
            f"step the time since the one before{remedy}"
        )
    if gaps.device != x.device:
        raise ValueError(
            f"{name}: gaps are on {gaps.device} and x is on {x.device}; move one to the other"
        )
    converted: Tensor = gaps.to(x.dtype)
    return converted


def apart(x: Tensor, size: int) -> tuple[Tensor, Tensor | None]:
    """Take an input and its gaps apart.

    Args:
        x: Input (..., D), with the gap as the last feature (..., D + 1) where there are gaps.
        size: D.

    Returns:
        Input (..., D) and gaps (...), None where there are none.
    """
    if x.shape[-1] == size:
        return x, None
    return x[..., :size], x[..., size]


def passed_on(core: Any, gaps: Tensor | None) -> dict[str, Tensor]:
    """Return what to hand on to a core within another: the gaps, if it takes them."""
    return {"gaps": gaps} if gaps is not None and core.takes_gaps else {}
