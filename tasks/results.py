"""What a test leaves besides its scores: tables, and what other programs read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias


class Records(NamedTuple):
    """Records of the same fields.

    Attributes:
        columns: The names of the fields, in their order.
        records: The records.
    """

    columns: Sequence[str]
    records: Sequence[Mapping[str, Any]]


Results: TypeAlias = dict[str, Any]
"""Tables and plain data by the names of their files, folders in front; the name says the format."""
