"""What of a checkpoint can be read back without code of its own: plain data and tensors."""

from __future__ import annotations

import io
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ....tasks.plain import name_of, plain_scalar
from ..progress import tell
from .disk import replacing, writing

_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes})
# Without these a run can't go on.
_NEEDED = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "hyper_parameters")


class _CodeNeeded(Exception):
    """Carries the name of a class that only its own code could make again."""


def readable(checkpoint: dict[str, Any], told: set[str]) -> dict[str, Any]:
    """Return a checkpoint without the states that no command would read back, and say what lacks.

    Callbacks and tasks of one's own may save anything, and a checkpoint with an object in it is
    refused as a whole. Numbers of numpy and of enumerations become plain ones.

    Args:
        checkpoint: As Lightning makes it.
        told: What has been said already; what is said now is added.
    """
    found = dict(checkpoint)
    lines = set()
    for key in checkpoint.keys() - {"state_dict", "callbacks"}:
        try:
            found[key] = _plain(checkpoint[key])
        except _CodeNeeded as error:
            if key in _NEEDED:
                lines.add(f"'{key}' holds {error}, no plain data: no command will load this file")
                continue
            del found[key]
            lines.add(_left_out(f"'{key}', which a hook has added,", error))
    if isinstance(states := checkpoint.get("callbacks"), dict):
        found["callbacks"] = kept = dict(states)
        for key, state in states.items():
            try:
                kept[key] = _plain(state)
            except _CodeNeeded as error:
                del kept[key]
                lines.add(_left_out(f"the state of {key}", error))
    for line in sorted(lines - told):
        tell(f"checkpoint: {line}")
    told |= lines
    return found


def save(content: dict[str, Any], place: Path, remedy: str = "") -> None:
    """Write plain data and tensors as a checkpoint, whole or not at all.

    Args:
        content: All of the checkpoint.
        place: The file; one that is there is replaced as a whole.
        remedy: What to do where the disk takes no more.

    Raises:
        SetupError: The disk is full, or the file can't be written.
    """
    with writing(place, remedy):
        place.parent.mkdir(parents=True, exist_ok=True)
        with replacing(place) as file:
            torch.save(content, file)


def _left_out(what: str, error: _CodeNeeded) -> str:
    return (
        f"{what} is left out, since {error} is no plain data: it begins anew in a resumed run. "
        "Save numbers, text, lists, dicts and tensors"
    )


def _plain(value: Any, depth: int = 0) -> Any:
    """Return the value as `torch.load(weights_only=True)` reads it."""
    kind = type(value)
    if kind in _PLAIN or kind is Tensor:
        return value
    if depth > 100:  # it holds itself, or may as well
        raise _CodeNeeded(f"a nest of more than 100 {name_of(kind)}")
    if kind is dict or kind is OrderedDict:
        return kind((_plain(k, depth + 1), _plain(v, depth + 1)) for k, v in value.items())
    if kind is list or kind is tuple:
        return kind(_plain(item, depth + 1) for item in value)
    if kind.__module__ == "numpy" and getattr(value, "shape", None) == ():
        value = value.item()
    if (scalar := plain_scalar(value)) is not None:
        return scalar
    try:
        torch.save(value, file := io.BytesIO())
        file.seek(0)
        torch.load(file, weights_only=True)
    except Exception as error:  # of pickle, or of the class itself
        raise _CodeNeeded(name_of(kind)) from error
    return value
