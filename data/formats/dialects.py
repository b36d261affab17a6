"""What separates the columns of a table, found out from its first lines.

Tabs, bars, semicolons or commas, and Moses' three bars. With commas and semicolons quotes have
their meaning always; with tabs and bars only where the lines show it, for sentences begin and end
with quotes of their own.
"""

from __future__ import annotations

import csv
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ..tables import MAX_LINE, csv_rows

SAMPLE = 1000  # lines that are looked at
_AGREEING = 0.9  # share of the lines that have to have as many columns as most
_ALWAYS_QUOTED = (",", ";")
_BY_SUFFIX = {".tsv": "\t", ".tab": "\t", ".csv": ",", ".psv": "|"}
SEPARATORS = {"\t": "tabs", "|||": "|||", "|": "bars", ";": "semicolons", ",": "commas"}
"""What may stand between columns, by what messages call it."""


class Dialect(NamedTuple):
    """How lines are split into columns.

    Attributes:
        separator: What stands between columns.
        quoted: Whether quotes hold a column together and are no part of it.
        spaced: Whether a blank comes before a quote.
    """

    separator: str
    quoted: bool
    spaced: bool = False

    def rows(
        self, lines: Iterable[str], label: str, *, longest: int = MAX_LINE, strict: bool = False
    ) -> Iterator[tuple[int, list[str]]]:
        """Yield rows, each with the number of the line it ends in.

        Args:
            lines: The lines, without their ends.
            label: What messages call the table.
            longest: Bytes of a column at most.
            strict: Whether a quote that stands wrong is an error.

        Raises:
            DataError: A row is no such row.
        """
        if not self.quoted:
            for number, line in enumerate(lines, 1):
                yield number, line.split(self.separator) if line else []
            return
        yield from csv_rows(
            lines,
            label,
            longest=longest,
            strict=strict,
            delimiter=self.separator,
            skipinitialspace=self.spaced,
        )


def dialects(lines: Sequence[str], suffix: str) -> list[Dialect]:
    """Return how a table may be split, the likeliest first.

    Args:
        lines: Its first lines.
        suffix: How its name ends.
    """
    usual = _BY_SUFFIX.get(suffix)
    shares: list[tuple[float, bool, int, Dialect]] = []
    for order, separator in enumerate(SEPARATORS):
        quoted = separator in _ALWAYS_QUOTED or _has_quotes(lines, separator)
        spaced = any(f'{separator} "' in line for line in lines)
        dialect = Dialect(separator, quoted, spaced)
        share = _agreement(lines, dialect)
        if share or separator == usual:
            clear = share >= _AGREEING
            shares.append((-clear, separator != usual, order, dialect))
    return [dialect for *_, dialect in sorted(shares)]


def _agreement(lines: Sequence[str], dialect: Dialect) -> float:
    """Return the share of the lines that have as many columns as most; 0 where that is one."""
    if not any(dialect.separator in line for line in lines):
        return 0.0
    try:
        rows = [row for _, row in dialect.rows(lines, "") if any(map(str.strip, row))]
    except ValueError:
        return 0.0
    counts = Counter(map(len, rows))
    width, count = counts.most_common(1)[0] if counts else (1, 0)
    return count / len(rows) if width > 1 else 0.0


def _has_quotes(lines: Sequence[str], separator: str) -> bool:
    """Say whether quotes have their meaning: all that begin a column end it, as programs write."""
    if len(separator) > 1:
        return False
    begun = [
        one
        for line in itertools.islice(lines, SAMPLE)
        for one in map(str.strip, line.split(separator))
        if one.startswith('"')
    ]
    if not begun:
        return False
    try:
        rows = list(csv.reader(lines, delimiter=separator, strict=True))
    except csv.Error:
        return False
    if len({len(row) for row in rows if row}) != 1:
        return False
    # a quote within is written twice; or the whole column is in quotes, as some programs write all
    inner = [one[1:-1] for one in begun]
    twice = any('""' in one for one in inner)
    alone = any('"' in one.replace('""', "") for one in inner)
    columns = zip(*(line.split(separator) for line in lines if line), strict=False)
    whole = any(all(one.strip()[:1] == '"' for one in column) for column in columns)
    return not alone and (twice or whole)
