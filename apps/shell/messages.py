"""What the program says beside its results: warnings that a person can read."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ...errors import printable

# What Lightning and torch warn about and nobody who uses this suite can or need change.
_IGNORED = (
    # training's own, in validate and test
    r".*callbacks used to create the checkpoint need to be provided.*",
    # streams are cut from memory: workers cost more than they give
    r".*does not have many workers.*",
    r".*Checkpoint directory .* exists and is not empty.*",  # a resumed run's folder
    # the same; our logger keeps the old table
    r".*Experiment logs directory .* exists and is not empty.*",
    r".*all_gather is deprecated.*",  # Lightning's own use of torch
    r".*The number of training batches .* is smaller than the logging interval.*",  # small texts
    r".*Found \d+ module\(s\) in eval mode.*",  # a frozen backbone stays as it was trained
    r".*GPU available but not used.*",  # asked for by --trainer.accelerator cpu
    r".*`isinstance\(treespec, LeafSpec\)` is deprecated.*",  # Lightning's own use of torch
    r".*Starting from v1\.9\.0, `tensorboardX` has been removed.*",  # tensorboard is a dependency
)


@contextmanager
def readable_warnings(debug: bool) -> Iterator[None]:
    """Show warnings as a line each, and leave out those that are of no use.

    Args:
        debug: Show all of them, as Python does.
    """
    former = warnings.formatwarning
    with warnings.catch_warnings():
        if not debug:
            warnings.formatwarning = as_line
            for pattern in _IGNORED:
                warnings.filterwarnings("ignore", message=pattern)
        try:
            yield
        finally:
            warnings.formatwarning = former


def as_line(message: Warning | str, *_: Any, **__: Any) -> str:
    """Return a warning as a line, in the place of `warnings.formatwarning`.

    Args:
        message: The warning.
    """
    return f"warning: {printable(str(message))}\n"


def memory_full(error: Exception) -> str | None:
    """Say that the memory is full, where that is the error.

    Args:
        error: Any error; torch need not be there.
    """
    smaller = "try fewer at a time: a smaller --batch_size (--data.batch_size), beam or chunk."
    if type(error).__name__ == "OutOfMemoryError":  # torch's
        return f"The GPU's memory is full: {smaller}"
    said = str(error).partition("DefaultCPUAllocator: ")[2]
    if not isinstance(error, MemoryError) and "allocate memory" not in said:
        return None
    asked = said.partition("you tried to allocate ")[2].partition(".")[0] or str(error)
    return f"There is not enough memory{f' ({asked})' if asked else ''}: {smaller}"


def not_importable(error: Exception) -> str | None:
    """Say that a library is there and can't be loaded, where that is the error.

    Args:
        error: Any error.
    """
    if not isinstance(error, ImportError):
        return None
    said = str(error)
    if "failed to map segment" in said or "llocate memory" in said:
        return f"There is not enough memory to load a library ({said}): allow more (ulimit -v)."
    return f"A library can't be loaded ({said}): `unrolled doctor` looks at the installation."
