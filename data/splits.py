"""The parts of a data set, and how they are carved from it where it does not say them itself."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Literal, TypeVar, get_args

import numpy as np

from ..errors import UsageError

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = get_args(Part)
Item = TypeVar("Item")


def shares(
    val_fraction: float, test_fraction: float, *, all_of_it: bool = True
) -> dict[Part, Decimal]:
    """Return the share of each part, and refuse what is none.

    Args:
        val_fraction: Share for validation.
        test_fraction: Share for the test.
        all_of_it: Whether nothing may be left to train on.

    Raises:
        UsageError: One is below 0, or their sum is too large.
    """
    val, test = Decimal(str(val_fraction)), Decimal(str(test_fraction))
    if min(val, test) < 0 or val + test > 1 or (val + test == 1 and not all_of_it):
        raise UsageError(
            f"val_fraction {val_fraction} and test_fraction {test_fraction} have to be at least 0, "
            f"and their sum {'at most' if all_of_it else 'below'} 1."
        )
    return {"train": 1 - val - test, "val": val, "test": test}


def cut(length: int, shares: Mapping[Part, Decimal]) -> dict[Part, tuple[int, int]]:
    """Return where each part of something continuous begins and ends: training, validation, test.

    Args:
        length: How long it is.
        shares: The share of each part.
    """
    train_end, val_end = int(length * shares["train"]), int(length * (1 - shares["test"]))
    return {"train": (0, train_end), "val": (train_end, val_end), "test": (val_end, length)}


def carve(
    items: Sequence[Item], counts: Mapping[Part, int], order: Iterable[int]
) -> dict[Part, list[Item]]:
    """Share items out by an order: its first ones for the first part of `counts`, and so on.

    Args:
        items: The items.
        counts: How many each part gets; training gets the rest.
        order: The items' numbers.

    Returns:
        The items of each part, in their own order.
    """
    rest, parts = iter(order), dict[int, Part]()
    for part, count in counts.items():
        parts |= dict.fromkeys(itertools.islice(rest, count), part)
    return {
        part: [item for number, item in enumerate(items) if parts.get(number, "train") == part]
        for part in PARTS
    }


def draw(items: Sequence[Item], fraction: float, *seed: int) -> tuple[list[Item], list[Item]]:
    """Draw a share of items at random.

    Args:
        items: The items.
        fraction: The share; one at least where it is not 0 and there are two.
        seed: Start of the pseudo-random numbers.

    Returns:
        What is left, and what was drawn, both in their own order.
    """
    most = max(0, len(items) - 1)
    count = min(max(1, round(fraction * len(items))), most) if fraction else 0
    order = np.random.default_rng(list(seed)).permutation(len(items)).tolist()
    parts = carve(items, {"val": count}, order)
    return parts["train"], parts["val"]
