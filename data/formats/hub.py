"""Data sets of the `datasets` library: from a folder, a file, or the hub."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from errno import EDQUOT, ENOSPC, EROFS
from logging import WARNING, Handler, LogRecord, getLogger
from pathlib import Path
from typing import Any

from ...errors import DataError, SetupError, quoted
from .folders import missing_file, path_of
from .saved import check_arrow, check_folder

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
        SetupError: The library's cache can't be written.
    """
    import datasets  # takes a second to import

    local, files = path_of(name), None
    form: dict[str, Any] = {}
    if not local.exists() and (local.suffix in _BUILDERS or _is_path(name)):
        # before the hub is asked for it
        raise DataError(f"{label} can't be loaded: {missing_file(local.absolute(), name)}")
    told, logger = _Told(), getLogger("datasets")
    level, handlers = logger.level, logger.handlers
    logger.setLevel(WARNING)
    logger.handlers = [told]  # what is wrong is told in the error
    try:
        if local.is_dir():
            check_folder(local)
        if (local / "state.json").exists() or (local / "dataset_dict.json").exists():
            loaded = datasets.load_from_disk(str(local)).with_format(None)
            if split is not None and isinstance(loaded, datasets.DatasetDict):
                if split not in loaded:
                    raise DataError(
                        f"it has no split '{split}', only {', '.join(loaded)}: set --data.{option}"
                    )
                loaded = loaded[split]
            if streaming:
                check_table(loaded)
                return loaded.to_iterable_dataset()
            return loaded
        if local.is_file():
            if local.suffix not in _BUILDERS:
                raise DataError(
                    f"its name ends in none of {', '.join(_BUILDERS)}; --data.path reads a text "
                    "file"
                )
            # with tabs, a quote is a sign of the sentence
            form |= {"sep": "\t", "quoting": 3} if local.suffix == ".tsv" else {}
            if not local.stat().st_size:
                raise DataError("it is empty")
            name, config, files = _BUILDERS[local.suffix], None, str(local.absolute())
            if name == "arrow":
                check_arrow(local)
        if datasets.__version__.startswith("3."):  # which would ask whether to run a script
            form["trust_remote_code"] = False
        loaded = datasets.load_dataset(
            name, config, data_files=files, split=split, streaming=streaming, **form
        )
        for line in told.lines:
            if "cached" in line:  # else than what there is now
                warnings.warn(f"{label}: {line}", stacklevel=2)
        return loaded
    except Exception as error:  # a stranger's folder can make the library raise anything
        _check_cache(error, str(datasets.config.HF_DATASETS_CACHE))
        nor = (
            ""
            if local.exists()
            else f", and there is no file or folder of that name in {Path.cwd()}"
        )
        raise DataError(f"{label} can't be loaded: {reason_of(error)}{nor}.") from error
    finally:
        logger.handlers = handlers
        logger.setLevel(level)


def _check_cache(error: BaseException | None, cache: str) -> None:
    """Refuse an error of the library that comes of its cache as the machine's fault."""
    while error is not None:
        if isinstance(error, OSError):
            named = str(error.filename or "").startswith(cache)
            if named or error.errno in (ENOSPC, EDQUOT, EROFS):
                raise SetupError(
                    f"The cache of the datasets library can't be written: {cache}: "
                    f"{error.strerror or error}.\nName another folder by the environment variable "
                    "HF_DATASETS_CACHE."
                ) from error
        error = error.__cause__ or error.__context__


class _Told(Handler):
    """What the library says by the way, a line each."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: LogRecord) -> None:
        self.lines.append(quoted(record.getMessage().strip(), 300))


def _is_path(name: str) -> bool:
    """Say whether a name can only be a path: data sets of the hub are `NAME` or `USER/NAME`."""
    return name.startswith((".", "/", "~", "\\")) or name.endswith("/") or name.count("/") > 1


def check_table(rows: Any) -> None:
    """Refuse rows whose texts and lists don't lie where their Arrow file says.

    pyarrow takes it for granted, and reading them would end the process.

    Args:
        rows: Rows of a data set that are not streamed.

    Raises:
        ValueError: They are damaged (pyarrow's ArrowInvalid is one).
    """
    rows.data.validate(full=True)


def batches(rows: Any, label: str, *, size: int = 1024) -> Iterator[dict[str, list[Any]]]:
    """Yield the columns of some rows at a time.

    Images, sounds and other media stay the bytes or the path that they are: the library's decoders
    start programs and fetch addresses.

    Args:
        rows: Rows of a data set.
        label: What messages call it.
        size: How many rows at a time.

    Raises:
        DataError: They are damaged.
    """
    features = undecoded(rows.features)
    found = rows.with_format("arrow").iter(batch_size=size)
    while True:
        try:
            table = next(found, None)
            if table is None:
                return
            table.validate(full=True)
            batch = table.to_pydict()
            batch = batch if features is None else features.decode_batch(batch)
        except Exception as error:  # as in loading
            raise DataError(f"{label} is damaged: {reason_of(error)}.") from error
        yield batch


def undecoded(features: Any) -> Any:
    """Return the types of columns with media that are not decoded.

    Args:
        features: Types of columns, or of one; None where they are not known.
    """
    if isinstance(features, dict):
        inner = {name: undecoded(one) for name, one in features.items()}
        return type(features)(inner)
    if isinstance(features, list | tuple):
        return [undecoded(one) for one in features]
    changed = copy.copy(features)
    if hasattr(changed, "feature"):  # a list's
        changed.feature = undecoded(changed.feature)
    # JSON inside of JSON lines is no medium
    if getattr(changed, "decode", False) and type(changed).__name__ != "Json":
        changed.decode = False
    return changed


def reason_of(error: Exception) -> str:
    """Return what an error of the library says, in one line.

    Args:
        error: The error.
    """
    while type(error).__name__ == "DatasetGenerationError" and isinstance(
        error.__cause__, Exception
    ):
        error = error.__cause__  # it says nothing itself
    said = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, IndexError | KeyError | TypeError | AttributeError) or not said:
        # what a program says to itself
        return f"it is damaged, or of another version ({type(error).__name__}: {quoted(said, 200)})"
    if "corresponds to no data" in said:
        return "it has no rows"
    return quoted(said.rstrip(".!"), 300)
