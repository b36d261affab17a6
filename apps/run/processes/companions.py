"""The processes of a run end together: none waits for one that is gone."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS = 2.0


@contextmanager
def ending_with(parent: int | None) -> Iterator[None]:
    """End this process when the one that has started it does.

    Lightning's launcher ends all processes when another than the first is killed; who looks after
    the first? A launcher of one's own (torchrun, SLURM) looks after all of them.

    Args:
        parent: The run's first process, where it has started this one.
    """
    if parent is None:
        yield
        return
    over = threading.Event()

    def watch() -> None:
        # also where the main thread waits for the others in C, where no signal handler runs
        while os.getppid() == parent:
            if over.wait(SECONDS):
                return
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True, name="watch-first-rank").start()
    try:
        yield
    finally:
        over.set()
