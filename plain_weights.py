"""Weights in a file that can hold nothing else, and the JSON beside it that says of what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .checkpoints import CONFIG
from .data.tables import json_value
from .errors import DataError, not_installed, quoted

_LARGEST = 100_000_000  # bytes of JSON


def read_weights(file: Path) -> dict[str, Any]:
    """Return what an exported folder holds, in the form of a checkpoint's content.

    Args:
        file: Its weights.

    Raises:
        DataError: A part is missing, or is not what it should be.
        SetupError: safetensors is not installed.
    """
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise not_installed("safetensors", "export") from error
    beside = file.with_name(CONFIG)
    try:
        if beside.stat().st_size > _LARGEST:
            raise DataError(f"'{beside}' has more than {_LARGEST:,} bytes.")
        content = json_value(beside.read_bytes(), f"'{beside}'")
    except OSError as error:
        raise DataError(
            f"'{beside}' can't be read ({error.strerror}); it belongs to '{file}'."
        ) from error
    try:
        weights = load_file(str(file))
    except Exception as error:  # the library has errors of its own
        raise DataError(f"'{file}' is no file of weights: {quoted(str(error), 200)}.") from error
    return {**content, "state_dict": weights} if isinstance(content, dict) else {}
