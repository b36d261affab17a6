"""A suite of recurrent networks: characters, translation, captions, video.

Importing this package imports neither torch nor Lightning; the names below are resolved at first
use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import core, data, plots, tasks
    from .loading import load

__all__ = ["__version__", "core", "data", "load", "plots", "tasks"]

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    if name in ("core", "data", "plots", "tasks"):
        return import_module(f".{name}", __name__)
    if name == "load":
        return import_module(".loading", __name__).load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
