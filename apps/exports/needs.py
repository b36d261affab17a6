"""What the extra `export` brings, imported when it is needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ...errors import not_installed


def needed(name: str) -> Any:
    """Return a module of the extra `export`.

    Args:
        name: The module.

    Raises:
        SetupError: It is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise not_installed(name.partition(".")[0], "export") from error
