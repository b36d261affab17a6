"""What the description of an exported folder may say, which anybody may have written."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ...core.seq2seq.search import check_length_penalty
from ...errors import a, quoted

_SIDE = 10_000  # pixels of a picture: more is no picture that was trained on


def _whole(least: int, most: int = 1_000_000) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _truth(value: Any) -> bool:
    return isinstance(value, bool)


def _grid(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_whole(1, _SIDE), value))


def _penalty(value: Any) -> bool:
    try:
        check_length_penalty(value)
    except ValueError:
        return False
    return True


_SEARCH = {"settings.beam_size": _whole(1, 10_000), "settings.length_penalty": _penalty}
_RULES: Mapping[str, Mapping[str, Callable[[Any], bool]]] = {
    "char_lm": {},
    "translation": _SEARCH,
    "captioning": {
        **_SEARCH,
        "settings.max_length": _whole(1, 100_000),
        "settings.grid": _grid,
        "settings.grid_shift": _number,
        "spec.image_size": _whole(1, _SIDE),
    },
    "video": {
        "spec.classes": lambda value: _names(value) and len(set(value)) == len(value) > 0,
        "spec.image_size": _whole(0, _SIDE),
        "spec.feature_size": _whole(0),
        "spec.stride": _whole(1),
        "settings.background": _names,
        "settings.median": lambda value: _whole(1)(value) and value % 2 == 1,
        "settings.min_length": _whole(1),
        "settings.causal": _truth,
        "settings.thresholds": lambda value: (
            value is None or (isinstance(value, list) and all(map(_number, value)))
        ),
    },
}
_LATER = {"settings.grid_shift": 0.0}  # what earlier versions did not write


def check(task: str, description: Mapping[str, Any]) -> None:
    """Refuse a description of which a value is not of its kind, or without measure.

    Args:
        task: The task that it names.
        description: What `model.json` says.

    Raises:
        ValueError: Names the value.
        KeyError: One is missing.
    """
    for place, rule in _RULES[task].items():
        part, _, name = place.partition(".")
        if not isinstance(values := description[part], dict):
            raise ValueError(f"{part} is {a(type(values))}")
        value = values.get(name, _LATER[place]) if place in _LATER else values[name]
        if not rule(value):
            raise ValueError(f"{place} can't be {quoted(value)}")
