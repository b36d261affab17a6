"""Names that a package offers and imports at their first use."""

from __future__ import annotations

import ast
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


def lazy_names(
    package: str, file: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return the `__getattr__`, the `__dir__` and the `__all__` of a package.

    What the package's `if TYPE_CHECKING:` imports, as type checkers read it, is what it offers:
    `from .module import Name as Name`. So a name is written in one line only.

    Args:
        package: The package's `__name__`.
        file: Its `__file__`.
    """
    homes = {
        alias.name: f".{node.module}"
        for block in ast.parse(Path(file).read_text(encoding="utf-8")).body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    def find(name: str) -> Any:
        if name in homes:
            return getattr(import_module(homes[name], package), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    names = sorted(homes)
    return find, lambda: names, names
