"""What the extra `export` brings, imported when it is needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ...errors import SetupError


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
        package = name.partition(".")[0]
        raise SetupError(
            f"This needs {package}, which is not installed: pip install 'unrolled[export]'"
        ) from error
