"""Data sets of the `datasets` library: from a folder, a file, or the hub."""

from __future__ import annotations

from collections.abc import Iterator
from logging import CRITICAL
from pathlib import Path
from typing import Any

from ...errors import DataError, quoted

JSON_LINES = (".jsonl", ".ndjson")
COLUMNAR = {".parquet": "parquet", ".arrow": "arrow", ".feather": "arrow"}
"""Builders of the `datasets` library, by the ends of files' names."""

_BUILDERS = {  # of the `datasets` library, by the ends of files' names
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "text",
    **dict.fromkeys(JSON_LINES, "json"),
    **COLUMNAR,
}


def load_dataset(
    name: str,
    config: str | None,
    split: str | None,
    *,
    label: str,
    streaming: bool = False,
    option: str = "dataset_split",
) -> Any:
    """Return the rows of a data set of the `datasets` library.

    Args:
        name: A data set's name, a folder it was saved to, or a file.
        config: The configuration's name, for data sets that have several.
        split: The split; None for all of them by name, or for the rows where there are no splits.
        label: What messages call it.
        streaming: Don't keep the data set itself on disk.
        option: The flag that names the split.

    Raises:
        DataError: There is no such data set or split.
    """
    import datasets  # takes a second to import

    local, files = Path(name).expanduser(), None
    form: dict[str, Any] = {}
    verbosity = datasets.logging.get_verbosity()
    datasets.logging.set_verbosity(CRITICAL)  # what is wrong is told in the error
    try:
        if (local / "state.json").exists() or (local / "dataset_dict.json").exists():
            loaded = datasets.load_from_disk(str(local))
            if split is not None and isinstance(loaded, datasets.DatasetDict):
                if split not in loaded:
                    raise DataError(
                        f"it has no split '{split}', only {', '.join(loaded)}: set --data.{option}"
                    )
                loaded = loaded[split]
            return loaded.to_iterable_dataset() if streaming else loaded
        if local.is_file():
            if local.suffix not in _BUILDERS:
                raise DataError(
                    f"its name ends in none of {', '.join(_BUILDERS)}; --data.path reads a text "
                    "file"
                )
            # with tabs, a quote is a sign of the sentence
            form |= {"sep": "\t", "quoting": 3} if local.suffix == ".tsv" else {}
            name, config, files = _BUILDERS[local.suffix], None, str(local.absolute())
        if datasets.__version__.startswith("3."):  # which would ask whether to run a script
            form["trust_remote_code"] = False
        return datasets.load_dataset(
            name, config, data_files=files, split=split, streaming=streaming, **form
        )
    except Exception as error:  # a stranger's folder can make the library raise anything
        raise DataError(f"{label} can't be loaded: {_reason(error)}.") from error
    finally:
        datasets.logging.set_verbosity(verbosity)


def batches(rows: Any, label: str, *, size: int = 1024) -> Iterator[dict[str, list[Any]]]:
    """Yield the columns of some rows at a time.

    Args:
        rows: Rows of a data set.
        label: What messages call it.
        size: How many rows at a time.

    Raises:
        DataError: They are damaged.
    """
    found = rows.iter(batch_size=size)
    while True:
        try:
            batch = next(found, None)
        except Exception as error:  # as in loading
            raise DataError(f"{label} is damaged: {_reason(error)}.") from error
        if batch is None:
            return
        yield batch


def _reason(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return quoted(first.rstrip("."), 300)
