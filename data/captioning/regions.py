"""Arrays of features as rows, whatever their axes are.

Shapes: P places (regions, or those of a grid row by row), D features, h and w of a grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ...errors import DataError
from ..arrays import Array


def arranged(shape: Sequence[int], size: int | None = None) -> tuple[int, int, bool]:
    """Return P, D, and whether D comes first: (D,), (P, D), (h, w, D) or (D, h, w).

    Of a grid D is the axis of the known size, else the largest.

    Args:
        shape: The array's; one of four axes whose first is 1 is a grid.
        size: D, where it is known.

    Raises:
        ValueError: It is none of these.
    """
    kept = list(shape)
    if len(kept) == 4 and kept[0] == 1:
        kept = kept[1:]
    if not 1 <= len(kept) <= 3 or 0 in kept:
        raise ValueError(
            f"has the shape {tuple(shape)}: expected (D,), (regions, D), (h, w, D) or (D, h, w)"
        )
    first = False
    if len(kept) == 3:
        known = max(kept) if size is None else size
        ends = kept[0] == known, kept[2] == known
        if ends == (True, True):
            raise ValueError(
                f"has the shape {tuple(shape)}, (h, w, D) or (D, h, w): save it as (h * w, D)"
            )
        first = ends[0]
        if ends == (False, False) and size is None:
            raise ValueError(
                f"has the shape {tuple(shape)}: the features are the first or the last axis of a "
                "grid, and the largest"
            )
    found = kept[0] if first else kept[-1]
    if size is not None and found != size:
        raise ValueError(
            f"has {found:,} features a region, in the shape {tuple(shape)}, not {size:,}"
        )
    return int(np.prod(kept)) // found, found, first


def rows_of(array: Array, size: int | None, label: str) -> Tensor:
    """Return features as rows (P, D) float32.

    Args:
        array: As `arranged` says.
        size: D, where it is known.
        label: What messages call it.

    Raises:
        DataError: It is none of these forms, or holds what is no finite number.
    """
    if array.dtype.kind not in "fiu":
        raise DataError(f"{label} holds {array.dtype}, no numbers.")
    try:
        places, found, first = arranged(array.shape, size)
    except ValueError as error:
        raise DataError(f"{label} {error}.") from error
    rows = array.reshape(found, places).T if first else array.reshape(places, found)
    with np.errstate(over="ignore"):  # what is too large for float32 is found to be infinite
        values = np.array(rows, dtype=np.float32)  # a copy in memory, row after row
    if not np.isfinite(values).all():
        raise DataError(f"{label} has a feature that is not finite (NaN, infinity).")
    return torch.from_numpy(values)
