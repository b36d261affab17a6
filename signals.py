"""SIGTERM, a closed terminal, Ctrl-C: what is begun is cleared away before the program ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

NAMES = {
    getattr(signal, name): said
    for name, said in [("SIGTERM", "SIGTERM"), ("SIGINT", "Ctrl-C"), ("SIGHUP", "SIGHUP")]
    if hasattr(signal, name)  # Windows has no SIGHUP
}
"""What the signals are called that ask a program to stop."""

_DEFAULT = (signal.SIG_DFL, signal.default_int_handler)


class Stopped(BaseException):
    """The program was asked to stop.

    No Exception, which a reader takes for a fault of its file, and no KeyboardInterrupt, at which
    Lightning ends the process with another exit code.

    Args:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"asked to stop ({NAMES[signal.Signals(number)]})")
        self.number = number
        self.exit_code = 128 + number
        """A shell's for the signal."""


@contextmanager
def stopping() -> Iterator[None]:
    """Raise `Stopped` where a signal would end the process, so that temporary files are removed.

    What is handled otherwise, or switched off by `nohup` or a shell's `&`, stays so. The second
    signal of a kind does what it always did.
    """
    own, former = os.getpid(), {number: signal.getsignal(number) for number in NAMES}

    def stop(number: int, _: Any) -> None:
        signal.signal(number, former[signal.Signals(number)])
        if os.getpid() != own:  # a process that was forked ends as it would have
            os.kill(os.getpid(), number)
            return
        raise Stopped(number)

    taken = []
    with suppress(ValueError):  # signals belong to the main thread
        for number in NAMES:
            if former[number] in _DEFAULT:
                signal.signal(number, stop)
                taken.append(number)
    try:
        yield
    finally:
        for number in taken:
            if signal.getsignal(number) is stop:
                signal.signal(number, former[number])
