"""The tasks, a room each: a model, and the LightningModule that trains it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import Task
    from .captioning.model import CaptioningModel
    from .captioning.task import Captioning
    from .char_lm.model import CharModel
    from .char_lm.task import CharLM
    from .model import Model
    from .translation.model import TranslationModel
    from .translation.task import Translation
    from .video.model import VideoModel
    from .video.task import VideoLabelling

__all__ = [
    "Captioning",
    "CaptioningModel",
    "CharLM",
    "CharModel",
    "Model",
    "Task",
    "Translation",
    "TranslationModel",
    "VideoLabelling",
    "VideoModel",
]

_HOMES = {
    "Captioning": "captioning.task",
    "CaptioningModel": "captioning.model",
    "CharLM": "char_lm.task",
    "CharModel": "char_lm.model",
    "Model": "model",
    "Task": "base",
    "Translation": "translation.task",
    "TranslationModel": "translation.model",
    "VideoLabelling": "video.task",
    "VideoModel": "video.model",
}


def __getattr__(name: str) -> Any:
    # Lazily: `unrolled list` and a wrong path on the command line are answered without Lightning.
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
