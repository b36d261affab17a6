"""Arguments as plain data: what a checkpoint may hold."""

from __future__ import annotations

import functools
from enum import Enum
from typing import Any


def name_of(cls: type) -> str:
    """Return a class's name, as a configuration names it.

    Args:
        cls: The class.
    """
    return f"{cls.__module__}.{cls.__qualname__}"


def plain_scalar(value: Any) -> bool | int | float | str | None:
    """Return a number or a string without what a class of it adds, as numpy's and enumerations do.

    Args:
        value: Anything.

    Returns:
        The value, or nothing for what is neither.
    """
    value = value.value if isinstance(value, Enum) else value
    return next((kind(value) for kind in (bool, int, float, str) if isinstance(value, kind)), None)


def to_plain(value: Any) -> Any:
    """Return plain data that jsonargparse turns into the value again.

    Args:
        value: Numbers, strings, lists, dicts; a class; a `functools.partial` of a class.

    Returns:
        The same as numbers, strings, lists and dicts; classes as `{"class_path": ..., "init_args":
        ...}`.

    Raises:
        TypeError: For anything else.
    """
    scalar = plain_scalar(value)
    if value is None or scalar is not None:
        return scalar
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, functools.partial) and isinstance(value.func, type) and not value.args:
        return {**to_plain(value.func), "init_args": to_plain(value.keywords)}
    # in no function, in no other class
    if isinstance(value, type) and "." not in value.__qualname__:
        return {"class_path": name_of(value)}
    raise TypeError(f"{value!r} is no plain data")
