"""Whether autocast is there, and at work, on a kind of device; torch 2.3 asks otherwise."""

from __future__ import annotations

import torch

_ASKS = hasattr(torch.amp, "is_autocast_available")  # since torch 2.4
_BEFORE = ("cpu", "cuda")


def autocast_available(device: str) -> bool:
    """Tell whether a kind of device has autocast; the meta device has none.

    Args:
        device: Its name, as `cuda`.
    """
    return torch.amp.is_autocast_available(device) if _ASKS else device in _BEFORE


def autocast_enabled(device: str) -> bool:
    """Tell whether operations on a kind of device change their dtype now.

    Args:
        device: Its name, as `cuda`.
    """
    if _ASKS:
        return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    if device == "cuda":
        return torch.is_autocast_enabled()
    return device == "cpu" and torch.is_autocast_cpu_enabled()
