"""What is kept for each visitor, and for no more of them than there is room for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from .limits import SESSIONS

Kept = TypeVar("Kept")


class Sessions(Generic[Kept]):
    """What is kept for each visitor by the name of the session; who came first is forgotten first.

    Args:
        make: Makes what is kept for a new one.
    """

    def __init__(self, make: Callable[[], Kept]) -> None:
        self.make = make
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> Kept:
        with self._lock:
            if name not in self._kept:
                self._kept[name] = self.make()
            self._kept.move_to_end(name)
            while len(self._kept) > SESSIONS:
                self._kept.popitem(last=False)
            return self._kept[name]

    def forget(self, name: str) -> None:
        """Begin anew for a visitor.

        Args:
            name: The name of the session.
        """
        with self._lock:
            self._kept.pop(name, None)
