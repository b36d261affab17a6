"""Where pairs of sentences come from: two files, a table, or a data set.

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
from ..sources import load_dataset, missing_file, plain_name, read_blocks
from ..tables import csv_rows, json_rows, lines

TABLES = (".tsv", ".csv", ".jsonl")


@dataclass(frozen=True)
class Pairs:
    """Sentences and their translations.

    Attributes:
        sides: What messages call the source's and the target's place.
        identity: Plain data that changes whenever a sentence does: the key of the cache.
        read: Yields the pairs, always in the same order.
        unit: What messages call a pair's position.
        first: The first pair's position.
    """

    sides: tuple[str, str]
    identity: list[Any]
    read: Callable[[], Iterator[tuple[str, str]]]
    unit: str = "line"
    first: int = 1

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


def existing(path: str) -> Path:
    """Return the whole path of a file.

    Args:
        path: What was given.

    Raises:
        DataError: There is no such file; it names the nearest.
    """
    full = Path(path).expanduser().absolute()
    if full.is_dir():
        raise DataError(f"'{path}' is a folder, not a file; --data.root reads folders.")
    if not full.exists():
        raise DataError(missing_file(full, path))
    return full


def _rereadable(path: str) -> Path:
    full = existing(path)
    if not full.is_file():
        raise DataError(
            f"'{path}' is a pipe or a device, which can be read only once, and sentences are read "
            "several times: save them in a file (.gz and .xz are read as they are)."
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
    paths = _rereadable(source), _rereadable(target)
    return Pairs(
        (source, target), ["files", *stamps(*paths)], partial(_zip, paths, (source, target))
    )


def _zip(paths: tuple[Path, Path], labels: tuple[str, str]) -> Iterator[tuple[str, str]]:
    sides = [
        lines(read_blocks(path, label), label) for path, label in zip(paths, labels, strict=True)
    ]
    for count, (source, target) in enumerate(itertools.zip_longest(*sides)):
        if source is None or target is None:
            longer = count + 1 + sum(1 for _ in sides[source is None])
            counts = (count, longer) if source is None else (longer, count)
            raise DataError(
                f"{labels[0]} has {counts[0]:,} lines and {labels[1]} {counts[1]:,}: line n of one "
                "has to be the translation of line n of the other."
            )
        yield source, target


def table_pairs(path: str, source: str, target: str) -> Pairs:
    """Return the pairs of a table: `.tsv`, `.csv` or `.jsonl`.

    Args:
        path: The file. Where its first row holds both names, it is a header; otherwise its first
            two columns are taken. A line of JSON is an object with both names, or one that has such
            an object as `translation`.
        source: Name of the column with the source sentences.
        target: Name of the column with their translations.

    Raises:
        DataError: There is no such file, or it is no such table.
    """
    full, suffix = _rereadable(path), Path(plain_name(Path(path))).suffix
    if suffix not in TABLES:
        raise DataError(
            f"'{path}' ends in none of {', '.join(TABLES)}. Two files with a sentence a line are "
            "named by --data.train_source and --data.train_target (val_, test_)."
        )
    identity = ["table", source, target, *stamps(full)]
    if suffix == ".jsonl":
        return Pairs((path, path), identity, partial(_objects, full, path, source, target))
    first = next(_rows(full, path, suffix), None)
    header = first is not None and source in first and target in first
    if first is not None and not header and len(first) < 2:
        raise DataError(
            f"{path}, row 1 has {len(first)} column: a row has to hold a sentence and its "
            "translation."
        )
    columns = (first.index(source), first.index(target)) if first is not None and header else (0, 1)
    read = partial(_columns, full, path, suffix, columns, header)
    return Pairs((path, path), identity, read, "row", 1 + header)


def _rows(path: Path, label: str, suffix: str) -> Iterator[list[str]]:
    if suffix == ".tsv":
        yield from (line.split("\t") for line in lines(read_blocks(path, label), label))
        return
    text = lines(read_blocks(path, label), label)
    yield from (row for _, row in csv_rows(text, label, strict=True))


def _columns(
    path: Path, label: str, suffix: str, columns: tuple[int, int], header: bool
) -> Iterator[tuple[str, str]]:
    for number, row in enumerate(
        itertools.islice(_rows(path, label, suffix), int(header), None), 1 + header
    ):
        if row in ([], [""]):
            yield "", ""
            continue
        if len(row) <= max(columns):
            what = "tabs between them" if suffix == ".tsv" else "commas between them"
            raise DataError(
                f"{label}, row {number} has {len(row)} columns; there have to be "
                f"{max(columns) + 1}, {what}."
            )
        yield row[columns[0]], row[columns[1]]


def _objects(path: Path, label: str, source: str, target: str) -> Iterator[tuple[str, str]]:
    for number, line, row in json_rows(lines(read_blocks(path, label), label), label):
        yield _both(row, source, target, f"{label}, line {number}") if line.strip() else ("", "")


def _both(row: Any, source: str, target: str, where: str) -> tuple[str, str]:
    """Return the two sentences of a row, or of its `translation`."""
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
    if len(rows):
        _both(rows[0], source, target, f"{label}, row 0")
    identity = ["dataset", rows._fingerprint, source, target]
    return Pairs(
        (label, label), identity, partial(_dataset_rows, rows, label, source, target), "row", 0
    )


def _dataset_rows(rows: Any, label: str, source: str, target: str) -> Iterator[tuple[str, str]]:
    number = 0
    for batch in rows.iter(batch_size=1024):
        names = list(batch)
        for values in zip(*batch.values(), strict=True):
            yield _both(
                dict(zip(names, values, strict=True)), source, target, f"{label}, row {number}"
            )
            number += 1
