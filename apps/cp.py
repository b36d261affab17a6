"""Copy a shipped configuration to a file of your own."""

from __future__ import annotations

from pathlib import Path

from ..errors import UsageError, typed
from .shell.shipped import find_config, is_overlay


def cp(config: str = "", file: str = "") -> None:
    """Copy a shipped configuration to a file of your own.

    Then: unrolled fit FILE.yaml

    Args:
        config: TASK, TASK/VARIANT or trainer/NAME, as `unrolled list` has them.
        file: The YAML file to write, or a folder to write it in.
    """
    if not file:
        raise UsageError("Say what to copy and where to: unrolled cp TASK[/VARIANT] FILE.yaml")
    source = find_config(config)
    path = Path(file)
    if path.is_dir():
        path = path / f"{config.replace('/', '_')}.yaml"
    if not path.parent.is_dir():
        raise UsageError(f"There is no folder '{path.parent}' to write '{path.name}' in.")
    try:
        with path.open("x", encoding="utf-8") as target:
            target.write(source.read_text(encoding="utf-8"))
    except FileExistsError:
        raise UsageError(
            f"'{path}' exists already, and is not overwritten: name another file."
        ) from None
    follows = f"TASK --config {typed(path)}" if is_overlay(config) else typed(path)
    print(f"{path}\nNext: unrolled fit {follows}")
