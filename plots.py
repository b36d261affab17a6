"""Pictures of networks, texts and runs, as functions: what `unrolled plot` draws.

Each returns a figure of matplotlib, which a notebook shows and `savefig` writes:

    from unrolled import plots

    figure = plots.surprise("runs/char_lm", "To be, or not to be")
    figure.savefig("surprise.svg")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .apps.plots import files

if TYPE_CHECKING:
    from .apps.plots.alignment import alignment as alignment
    from .apps.plots.attention import attention as attention
    from .apps.plots.curves import curves as curves
    from .apps.plots.memory import memory as memory
    from .apps.plots.neurons import neurons as neurons
    from .apps.plots.surprise import surprise as surprise
    from .apps.plots.timeline import timeline as timeline
    from .apps.plots.unrolled import unrolled as unrolled

__all__ = [*files()]  # found by being there, so that a new one is exported, too


def __getattr__(name: str) -> Any:
    if name in files():
        return getattr(import_module(f".apps.plots.{name}", __package__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(files())
