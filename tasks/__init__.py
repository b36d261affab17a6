"""The LightningModules, one file a task, and what they share."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import Task
    from .char_lm import CharLM
    from .translation import Translation

__all__ = ["CharLM", "Task", "Translation"]

_HOMES = {"CharLM": "char_lm", "Task": "base", "Translation": "translation"}


def __getattr__(name: str) -> Any:
    # Lazily: `unrolled list` and a wrong path on the command line are answered without Lightning.
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
