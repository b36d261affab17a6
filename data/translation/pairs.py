"""Where pairs of sentences come from: two files, or a data set; `tables.py` has the others.

All are UTF-8, read as often as needed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ...errors import DataError, did_you_mean, some
from ..cache import stamps
from ..formats.folders import existing
from ..formats.hub import batches, load_dataset
from .markup import is_tagged, side_lines


@dataclass(frozen=True)
class Pairs:
    """Sentences and their translations.

    Attributes:
        sides: What messages call the source's and the target's place.
        identity: Plain data that changes whenever a sentence does: the key of the cache.
        read: Yields the pairs, always in the same order.
        unit: What messages call a pair's position.
        first: The first pair's position.
        told: What was understood of the file, as a sentence without its end; nothing where there
            was nothing to understand.
    """

    sides: tuple[str, str]
    identity: list[Any]
    read: Callable[[], Iterator[tuple[str, str]]]
    unit: str = "line"
    first: int = 1
    told: str = ""

    @property
    def name(self) -> str:
        """What messages call the pairs as a whole."""
        return self.sides[0] if self.sides[0] == self.sides[1] else " and ".join(self.sides)

    def where(self, numbers: list[int], count: int | None = None) -> str:
        """Return the positions of pairs, as `lines 3, 7, 9 and 2 more`.

        Args:
            numbers: Numbers of the pairs, from 0.
            count: How many there are, where these are the first of them only.
        """
        count = len(numbers) if count is None else count
        shown = ", ".join(str(number + self.first) for number in numbers[:3])
        more = f" and {count - 3:,} more" if count > 3 else ""
        return f"{self.unit}{'s' if count > 1 else ''} {shown}{more}"


def rereadable(path: str) -> Path:
    """Return the whole path of a file that can be read several times.

    Args:
        path: What was given.

    Raises:
        UsageError: It is an address.
        DataError: There is no such file, or it is a folder or a pipe.
    """
    folder = DataError(f"'{path}' is a folder, not a file; --data.root reads folders.")
    full = existing(path, folder)
    if not full.is_file():
        raise DataError(
            f"'{path}' is a pipe or a device, which can be read only once, and sentences are read "
            "several times: save them in a file (compressed ones are read as they are)."
        )
    return full


def file_pairs(source: str, target: str) -> Pairs:
    """Return the pairs of two files with one sentence a line.

    Args:
        source: The source sentences.
        target: Their translations, line by line.

    Raises:
        DataError: A file does not exist.
    """
    paths = rereadable(source), rereadable(target)
    tagged = [str(path) for path in paths if is_tagged(path)]
    told = f"lines about the talks are left out of {' and '.join(tagged)}" if tagged else ""
    read = partial(_zip, paths, (source, target))
    return Pairs((source, target), ["files", *stamps(*paths)], read, told=told)


def _zip(paths: tuple[Path, Path], labels: tuple[str, str]) -> Iterator[tuple[str, str]]:
    sides = [side_lines(path, label) for path, label in zip(paths, labels, strict=True)]
    yield from zipped(sides, labels)


def zipped(sides: list[Iterator[str]], labels: tuple[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the lines of two sides together.

    Args:
        sides: The lines of the source, and of the target.
        labels: What messages call them.

    Raises:
        DataError: One has more lines than the other.
    """
    for count, (source, target) in enumerate(itertools.zip_longest(*sides)):
        if source is None or target is None:
            longer = count + 1 + sum(1 for _ in sides[source is None])
            counts = (count, longer) if source is None else (longer, count)
            raise DataError(
                f"{labels[0]} has {counts[0]:,} lines and {labels[1]} {counts[1]:,}: line n of one "
                "has to be the translation of line n of the other."
            )
        yield source, target


def both(row: Any, source: str, target: str, where: str) -> tuple[str, str]:
    """Return the two sentences of a row, or of its `translation`.

    Args:
        row: An object.
        source: Name of its source sentence.
        target: Name of its target sentence.
        where: What messages call the row.

    Raises:
        DataError: It lacks one of them, or one is no text.
    """
    inner = row.get("translation", row) if isinstance(row, dict) else row
    if not isinstance(inner, dict):
        raise DataError(
            f"{where} holds {type(inner).__name__}; it has to be an object with '{source}' and "
            f"'{target}'."
        )
    for name in (source, target):
        if name not in inner:
            raise DataError(
                f"{where} has no '{name}', only {some(inner)}: name the two by "
                f"--data.source and --data.target.{did_you_mean(name, map(str, inner))}"
            )
        if not isinstance(inner[name], str):
            raise DataError(f"{where}: '{name}' holds {type(inner[name]).__name__}, not text.")
    return inner[source], inner[target]


def dataset_pairs(
    name: str, config: str | None, split: str, source: str, target: str, *, option: str
) -> Pairs:
    """Return the pairs of a data set of the `datasets` library.

    They are its `translation` feature, or two text columns.

    Args:
        name: A data set's name, a folder it was saved to, or a file.
        config: The configuration's name, for data sets that have several.
        split: The split.
        source: Name of the source language, or of its column.
        target: Name of the target language, or of its column.
        option: The flag that names the split.

    Raises:
        DataError: There is no such data set, split or column.
    """
    label = f"data set '{name}' ({split})"
    rows = load_dataset(name, config, split, label=label, option=option)
    for batch in batches(rows.select(range(min(len(rows), 1))), label):
        both({name: values[0] for name, values in batch.items()}, source, target, f"{label}, row 0")
    identity = ["dataset", rows._fingerprint, source, target]
    return Pairs(
        (label, label), identity, partial(_dataset_rows, rows, label, source, target), "row", 0
    )


def _dataset_rows(rows: Any, label: str, source: str, target: str) -> Iterator[tuple[str, str]]:
    number = 0
    for batch in batches(rows, label):
        names = list(batch)
        for values in zip(*batch.values(), strict=True):
            yield both(
                dict(zip(names, values, strict=True)), source, target, f"{label}, row {number}"
            )
            number += 1
