"""What `unrolled test` left in a run's folder: scores, and tables of what the model said."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ...data.formats.packed import read_blocks
from ...data.tables import csv_rows, json_value, lines
from ...errors import DataError, quoted
from ..run.folder.folders import leads_out

if TYPE_CHECKING:
    from ...loading import CheckedCheckpoint

RESULTS, SCORES = "results", "scores.json"
_LARGEST = 1 << 24  # bytes of scores
_CELL = 2000  # characters
_ESCAPE = re.compile(r"\\([\\tnr])")
_MEANT = {"\\": "\\", "t": "\t", "n": "\n", "r": "\r"}

Row = dict[str, str]


class Tested(NamedTuple):
    """What a test found.

    Attributes:
        folder: Where it lies.
        scores: The scores; None is one that is no finite number.
        signatures: What has to be said with them.
        stale: A sentence where they are of another checkpoint or step than the report; else empty.
    """

    folder: Path
    scores: dict[str, float | None]
    signatures: dict[str, str]
    stale: str

    def table(self, name: str) -> Iterator[Row]:
        """Yield the rows of a table, by the names of its columns; none where it is not there.

        Args:
            name: The file's name, `.tsv` or `.csv`.

        Raises:
            DataError: It can't be read, or lies elsewhere.
        """
        path = self.folder / name
        if not path.is_file():
            return
        if leads_out(path, self.folder):
            raise DataError(f"'{path}' leads out of the run's folder.")
        label = f"'{path}'"
        found = lines(read_blocks(path, label), label)
        if path.suffix == ".tsv":
            rows: Iterator[list[str]] = (_cells(line) for line in found)
        else:
            rows = (row for _, row in csv_rows(found, label))
        head = next(rows, [])
        for row in rows:
            yield dict(zip(head, (cell[:_CELL] for cell in row), strict=False))


def _cells(line: str) -> list[str]:
    return [_ESCAPE.sub(lambda found: _MEANT[found[1]], cell) for cell in line.split("\t")]


def tested_of(run: Path, checkpoint: CheckedCheckpoint | None) -> Tested | None:
    """Return what the test of a checkpoint found, or else the latest test of its run.

    Args:
        run: The run's folder.
        checkpoint: The checkpoint.

    Returns:
        None where nothing was tested.

    Raises:
        DataError: The scores can't be read.
    """
    own = run / RESULTS / checkpoint.path.stem / SCORES if checkpoint else None
    others = sorted(run.glob(f"{RESULTS}/*/{SCORES}"), key=lambda path: path.stat().st_mtime_ns)
    path = own if own and own.is_file() else others[-1] if others else None
    if path is None:
        return None
    if leads_out(path, run):
        raise DataError(f"'{path}' leads out of the run's folder.")
    try:
        if (size := path.stat().st_size) > _LARGEST:
            raise DataError(f"'{path}' has {size:,} bytes; no more than {_LARGEST:,} are read.")
        content = json_value(path.read_bytes(), f"'{path}'")
    except OSError as error:
        raise DataError(f"'{path}' can't be read: {error.strerror}.") from error
    if not isinstance(content, dict):
        raise DataError(f"'{path}' holds no scores.")
    scores = {name: _finite(value) for name, value in _mapping(content, "scores").items()}
    signatures = {n: v for n, v in _mapping(content, "signatures").items() if isinstance(v, str)}
    stale = ""
    step = checkpoint.content.get("global_step") if checkpoint else None
    if checkpoint and path != own:
        stale = f"The scores are of {path.parent.name}.ckpt, the report of {checkpoint.path.name}."
    elif checkpoint and content.get("step") != step:
        stale = (
            f"The scores are of step {quoted(content.get('step'))}, the checkpoint of step {step}: "
            "test it again."
        )
    return Tested(path.parent, scores, signatures, stale)


def _finite(value: Any) -> float | None:
    try:
        number = math.nan if isinstance(value, str) else float(value)
    except (TypeError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _mapping(content: dict[str, Any], name: str) -> dict[str, Any]:
    found = content.get(name)
    return found if isinstance(found, dict) else {}
