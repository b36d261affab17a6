"""Tables that pandas wrote to HDF5, as DeepLabCut does: read without pandas, nothing executed.

pandas stores columns either as plain arrays ("fixed") or, beside a "table", as a pickle in which
their names lie. Of that pickle, only the strings, tuples and lists are read.
"""

from __future__ import annotations

import itertools
import pickletools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ....errors import DataError

Columns = list[tuple[str, ...]]
Block = tuple[Columns, npt.NDArray[np.float64]]  # names, and (rows, columns)
ReadArray = Callable[[Any], npt.NDArray[Any]]


def is_pandas(file: Any) -> bool:
    """Say whether a file holds one table of pandas.

    Args:
        file: The open file.
    """
    return len(file) == 1 and b"frame" in bytes(_first(file).attrs.get("pandas_type", b""))


def read_blocks(path: Path, file: Any, read: ReadArray) -> list[Block]:
    """Return a table's columns and numbers, in the blocks in which they are stored.

    Args:
        path: The file, for messages.
        file: The open file.
        read: Reads one array, after a look at its size.

    Raises:
        DataError: The columns have no names that can be read.
    """
    group = _first(file)
    blocks = list(_of_table(path, group, read) if "table" in group else _of_fixed(group, read))
    for columns, values in blocks:
        if values.ndim != 2 or values.shape[1] != len(columns):
            raise DataError(
                f"'{path}' names {len(columns)} columns, and holds numbers of {values.shape}."
            )
    return blocks


def _first(file: Any) -> Any:
    return file[next(iter(file))]


def _of_table(path: Path, group: Any, read: ReadArray) -> Iterator[Block]:
    table = group["table"]
    rows = read(table)
    for number in itertools.count():
        name = f"values_block_{number}"
        if name not in (rows.dtype.names or ()):
            return
        names = _plain(path, bytes(table.attrs[f"{name}_kind"]))
        if not all(
            isinstance(one, tuple) and all(isinstance(x, str) for x in one) for one in names
        ):
            raise DataError(f"'{path}': the names of its columns are no plain text.")
        yield names, rows[name].astype(np.float64)


def _of_fixed(group: Any, read: ReadArray) -> Iterator[Block]:
    for number in range(int(group.attrs["nblocks"])):
        items = f"block{number}_items"
        levels = []
        for level in range(int(group.attrs[f"{items}_nlevels"])):
            names = [_text(name) for name in read(group[f"{items}_level{level}"]).tolist()]
            places = read(group[f"{items}_label{level}"]).tolist()
            levels.append([names[place] for place in places])
        values = read(group[f"block{number}_values"]).astype(np.float64)
        yield list(zip(*levels, strict=True)), values


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _plain(path: Path, pickled: bytes) -> list[Any]:
    """Return the list that a pickle of protocol 0 describes; what would call anything is refused.

    pickletools reads the codes one by one and executes none. PyTables writes protocol 0.
    """
    stack: list[Any] = []
    marks: list[int] = []
    kept: dict[Any, Any] = {}
    try:
        for code, value, _ in pickletools.genops(pickled):
            if code.name == "MARK":
                marks.append(len(stack))
            elif code.name in ("LIST", "TUPLE"):
                begin = marks.pop()
                inner = stack[begin:]
                stack[begin:] = [inner if code.name == "LIST" else tuple(inner)]
            elif code.name == "UNICODE":
                stack.append(value)
            elif code.name == "PUT":
                kept[int(value or 0)] = stack[-1]
            elif code.name == "GET":
                stack.append(kept[int(value or 0)])
            elif code.name == "APPEND":
                last = stack.pop()
                stack[-1].append(last)
            elif code.name == "STOP" and isinstance(stack[-1], list):
                return stack[-1]
            else:
                raise DataError(f"'{path}': the names of its columns are no plain text.")
    except (ValueError, LookupError, AttributeError, UnicodeError) as error:
        raise DataError(f"'{path}': the names of its columns are damaged.") from error
    raise DataError(f"'{path}': the names of its columns are cut short.")
