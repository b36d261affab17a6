"""What a folder or a file of the `datasets` library holds, looked at before the library reads it.

The library follows names that lead out of a folder, to other machines too, and takes the places of
texts in an Arrow file as they are written there: a damaged one ends the process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from ...errors import DataError, quoted
from ..tables import check_size


def check_folder(folder: Path) -> None:
    """Refuse a folder whose own lists of its files name others.

    Args:
        folder: A folder that `save_to_disk` wrote, or one of data files.

    Raises:
        DataError: A name leads out of it.
        ValueError: A list of files is damaged.
        OSError: It can't be read.
    """
    for list_of_files, name in _named(folder):
        parts = PurePosixPath(name.replace("\\", "/"))
        # a colon begins an address; a tilde, the home of somebody
        outside = ".." in parts.parts or parts.is_absolute() or name.startswith("~")
        if outside or ":" in name or PureWindowsPath(name).is_absolute():
            raise DataError(
                f"{list_of_files} names '{quoted(name)}', which lies elsewhere; a data set reads "
                "files of its own folder only"
            )


def check_arrow(path: Path) -> None:
    """Refuse an Arrow file whose texts and lists don't lie where it says.

    Args:
        path: The file.

    Raises:
        ValueError: It is damaged (pyarrow's ArrowInvalid is one).
        OSError: It can't be read.
    """
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        try:
            file = pa.ipc.open_file(source)
            found = (file.get_batch(number) for number in range(file.num_record_batches))
        except pa.ArrowInvalid:  # without a list at its end
            source.seek(0)
            found = iter(pa.ipc.open_stream(source))
        for batch in found:
            batch.validate(full=True)


def _named(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the names of files and folders that a folder's own lists hold, each with the list's."""
    for state in sorted([folder / "state.json", *folder.glob("*/state.json")]):
        if state.is_file():
            entries = _read(state)["_data_files"]
            if not entries and state.parent == folder:
                raise DataError("it has no rows")
            for entry in entries:
                yield state.relative_to(folder).as_posix(), str(entry["filename"])
    if (folder / "dataset_dict.json").is_file():
        for split in _read(folder / "dataset_dict.json")["splits"]:
            yield "dataset_dict.json", str(split)
    for name in ("README.md", ".huggingface.yaml"):
        if (folder / name).is_file():
            yield from ((name, found) for found in _configured(folder / name))


def _configured(card: Path) -> Iterator[str]:
    """Yield the data files that the configurations of a card name."""
    from datasets.load import DatasetCard
    from yaml import safe_load

    check_size(card)
    if card.suffix == ".md":
        said = DatasetCard.load(card).data.to_dict()
    else:
        said = safe_load(card.read_text(encoding="utf-8"))
    configs = said.get("configs") if isinstance(said, dict) else None
    for config in configs if isinstance(configs, list) else []:
        if isinstance(config, dict):
            for key in ("data_files", "data_dir"):
                yield from _texts(config.get(key), set())


def _texts(value: Any, seen: set[int]) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list) and id(value) not in seen:  # YAML's aliases can multiply
        seen.add(id(value))
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner, seen)


def _read(file: Path) -> Any:
    check_size(file)
    return json.loads(file.read_text(encoding="utf-8"))
