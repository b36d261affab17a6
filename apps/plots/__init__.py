"""Pictures of networks, texts and runs: `unrolled plot WHAT`, and the same as functions.

A file in this folder is a picture, found by being there: its public function, which is called like
the file, returns a figure of matplotlib. Its positional arguments are words of the command line, its
keyword-only ones are flags.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .alignment import alignment as alignment
    from .attention import attention as attention
    from .curves import curves as curves
    from .memory import memory as memory
    from .neurons import neurons as neurons
    from .surprise import surprise as surprise
    from .timeline import timeline as timeline
    from .unrolled import unrolled as unrolled


def files() -> dict[str, Path]:
    """Return the file of each picture, by its name; none is imported."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("[!_]*.py"))}


def __getattr__(name: str) -> Callable[..., Figure]:
    """Find a picture's function; its module must not take the function's name here."""
    if name.startswith("_") or name not in files():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    function: Any = getattr(import_module(f".{name}", __name__), name)
    globals()[name] = function  # in the place of the module, which the import has put there
    return function  # type: ignore[no-any-return]


def __dir__() -> list[str]:
    return [*files(), "files"]


__all__ = list(files())  # noqa: PLE0604
