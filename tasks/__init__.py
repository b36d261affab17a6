"""The LightningModules, one file a task, and what they share."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import Task
    from .captioning.task import Captioning
    from .char_lm.task import CharLM
    from .translation.task import Translation
    from .video.task import VideoLabelling

__all__ = ["Captioning", "CharLM", "Task", "Translation", "VideoLabelling"]

_HOMES = {
    "Captioning": "captioning.task",
    "CharLM": "char_lm.task",
    "Task": "base",
    "Translation": "translation.task",
    "VideoLabelling": "video.task",
}


def __getattr__(name: str) -> Any:
    # Lazily: `unrolled list` and a wrong path on the command line are answered without Lightning.
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
