"""Long lists in messages: their beginning, and a file with all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..cache import cached, key_of

_MOST = 10


def listing(lines: Sequence[str], folder: Path) -> str:
    """Return lines for a message: at most ten, then how many more there are and where all are.

    Args:
        lines: The lines.
        folder: Where a file with all of them is kept.
    """
    shown = [f"  {line}" for line in lines[:_MOST]]
    if len(lines) > _MOST:
        text = "".join(f"{line}\n" for line in lines)
        path = folder / f"list-{key_of(text)}.txt"
        cached(path, lambda place: place.write_text(text, encoding="utf-8", errors="replace"))
        shown.append(f"  and {len(lines) - _MOST:,} more, all of them in {path}")
    return "\n".join(shown)
