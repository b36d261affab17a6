"""What a row of a caption file says, whatever the file: a table, JSON, JSON lines, Parquet."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ...errors import DataError, quoted, some
from ..formats.objects import objects
from ..formats.table import Field, Table
from ..images import SUFFIXES
from ..splits import Part

_FIELD_BYTES = 1 << 17  # of a caption at most
PART_NAMES: dict[str, Part] = {
    "train": "train",
    "training": "train",
    # Karpathy's: the images of COCO's validation part that he left for training
    "restval": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
FIELDS = (
    Field(
        "image",
        (
            "image",
            "file_name",
            "filename",
            "image_name",
            "path",
            "image_path",
            "filepath",
            "img",
            "file",
            "image_file",
            "photo",
            "image_id",
        ),
    ),
    Field(
        "caption",
        (
            "caption",
            "captions",
            "text",
            "sentences",
            "sentence",
            "comment",
            "description",
            "raw",
            "caption_str",  # TextCaps
            *("caption_0", "caption0", "caption_1", "caption1"),
        ),
    ),
    Field("split", ("split", "part", "set", "set_name"), required=False),
)
# Several captions of an image, a column each.
_MORE = tuple(
    Field(f"caption {number}", (f"caption_{number}", f"caption{number}"), required=False)
    for number in range(1, 10)
)


class Entry(NamedTuple):
    """What a file says of one image.

    Attributes:
        image: The image's name; it may have folders in front.
        captions: Its captions.
        part: The part it belongs to; None where the file does not say.
        id: The data set's number of it, or its own name for it; None where it has none.
    """

    image: str
    captions: tuple[str, ...]
    part: Part | None
    id: int | str | None = None


def part_named(name: Any, where: Callable[[str], DataError]) -> Part | None:
    """Return the part that a file names; None where it names none.

    Args:
        name: What it says.
        where: Makes the error, of what was expected.

    Raises:
        DataError: There is no such part.
    """
    if name is None or name == "":
        return None
    if not isinstance(name, str) or name.lower() not in PART_NAMES:
        raise where(f"a split among {', '.join(PART_NAMES)}, not '{quoted(name)}'")
    return PART_NAMES[name.lower()]


def table_entries(
    path: Path, columns: Mapping[str, str], told: list[str], named: Part | None
) -> Iterator[Entry]:
    """Yield what the rows of a table say.

    Args:
        path: The table.
        columns: What the user says of its columns.
        told: Hears what was understood of it.
        named: The part that the file's own name says.
    """
    table = Table(
        path,
        (*FIELDS, *_MORE),
        label=f"'{path}'",
        columns=columns,
        guess=_guess,
        longest=_FIELD_BYTES,
        joined="caption",
    )
    told.append(table.told)
    for line, row in table.rows():
        if row is None:
            continue

        def where(expected: str, line: int = line) -> DataError:
            return DataError(f"'{path}', line {line}: expected {expected}.")

        image, caption, split, *others = row
        captions = _listed(caption or "")
        for field, other in zip(_MORE, others, strict=True):
            if other and table.places[field.name] != table.places["caption"]:
                captions += _listed(other)
        yield Entry(image or "", captions, part_named(split, where) or named)


def _listed(caption: str) -> tuple[str, ...]:
    """Return the captions in a column: one, or a list of them as JSON."""
    if caption.startswith('["'):
        try:
            texts = json.loads(caption)
        except ValueError:
            return (caption,)
        if all(isinstance(text, str) for text in texts):
            return tuple(texts)
    return (caption,)


def _guess(rows: list[list[str]]) -> dict[str, int] | None:
    """Say which column names images and which has the captions, by what is in them."""
    width = min(map(len, rows))
    images = [
        number
        for number in range(width)
        if all(PurePosixPath(row[number]).suffix.lower() in SUFFIXES for row in rows)
    ]
    if len(images) != 1:
        return None
    lengths = {
        number: sum(len(row[number]) for row in rows)
        for number in range(width)
        if number not in images and not all(row[number].isdigit() for row in rows)
    }
    if not lengths:
        return None
    return {"image": images[0], "caption": max(lengths, key=lambda number: lengths[number])}


def object_entries(
    rows: Iterable[tuple[str, Any]], columns: Mapping[str, str], named: Part | None
) -> Iterator[Entry]:
    """Yield what objects say, each of them of an image.

    Args:
        rows: The objects, with the words by which a message finds them.
        columns: What the user says of their names.
        named: The part that the file's own name says.
    """
    image_keys, caption_keys, split_keys = (
        (columns[field.name],) if field.name in columns else field.names for field in FIELDS
    )
    for place, row in rows:

        def where(expected: str, place: str = place) -> DataError:
            return DataError(f"{place}: expected {expected}.")

        one = row if isinstance(row, dict) else {}
        image = next((one[key] for key in image_keys if key in one), None)
        if isinstance(image, dict):  # as the `datasets` library writes them
            image = image.get("path")
        key = next((key for key in caption_keys if key in one), None)
        captions = texts_in(one.get(key)) if key else None
        for more in (name for field in _MORE for name in field.names if name in one):
            if captions is not None and more != key:
                found = texts_in(one[more] or [])
                captions = captions + found if found is not None else None
        if not isinstance(image, str) or captions is None:
            raise where(
                f'\'{{"image": ..., "caption": ...}}\' (text, or a list of texts), found '
                f"'{_shown(row)}'"
            )
        split = next((one[key] for key in split_keys if key in one), None)
        yield Entry(image, captions, part_named(split, where) or named)


def _shown(row: Any) -> str:
    return quoted(json.dumps(row, ensure_ascii=False)) if isinstance(row, dict) else quoted(row)


def texts_in(value: Any) -> tuple[str, ...] | None:
    """Return the captions in a value: a text, a list of texts, or of objects that hold one.

    Args:
        value: Plain data.

    Returns:
        The captions; None where it holds something else.
    """
    found = [_text_in(one) for one in (value if isinstance(value, list) else [value])]
    return None if None in found else tuple(text for text in found if text is not None)


def _text_in(value: Any) -> str | None:
    if isinstance(value, dict):
        for key in ("raw", *FIELDS[1].names):
            if isinstance(value.get(key), str):
                return str(value[key])
        tokens = value.get("tokens")
        if isinstance(tokens, list) and all(isinstance(token, str) for token in tokens):
            return " ".join(tokens)
        return None
    return value if isinstance(value, str) else None


def json_entries(
    content: Any, label: str, columns: Mapping[str, str], named: Part | None
) -> Iterator[Entry] | None:
    """Return what a JSON file of no official layout says; None where that is not known.

    A list of objects; an object with a list of them; an object of image names with their captions;
    any of these for each part.

    Args:
        content: What the file holds.
        label: What messages call it.
        columns: What the user says of the names in its objects.
        named: The part that the file's own name says.
    """
    if isinstance(content, list):
        return _list_entries(content, label, columns, named)
    if not isinstance(content, dict) or not content:
        return None
    if all(isinstance(key, str) and key.lower() in PART_NAMES for key in content):
        parts = [
            json_entries(value, f"{label}, {key}", columns, PART_NAMES[key.lower()])
            for key, value in content.items()
        ]
        if None in parts:
            return None
        return (entry for part in parts if part is not None for entry in part)
    lists = [value for value in content.values() if isinstance(value, list)]
    rows = [value for value in lists if value and all(isinstance(row, dict) for row in value)]
    if len(rows) == 1 and any(_names_image(row, columns) for row in rows[0][:1]):
        return _list_entries(rows[0], label, columns, named)
    captions = {name: _captions_of(value) for name, value in content.items()}
    if None in captions.values():
        return None
    return (Entry(name, texts, named) for name, texts in captions.items() if texts is not None)


def _captions_of(value: Any) -> tuple[str, ...] | None:
    if isinstance(value, dict):
        return next((texts_in(value[key]) for key in FIELDS[1].names if key in value), None)
    return texts_in(value)


def _names_image(row: Any, columns: Mapping[str, str]) -> bool:
    keys = (columns["image"],) if "image" in columns else FIELDS[0].names
    return isinstance(row, dict) and any(key in row for key in keys)


def _list_entries(
    rows: list[Any], label: str, columns: Mapping[str, str], named: Part | None
) -> Iterator[Entry] | None:
    if not rows or not all(_names_image(row, columns) for row in rows[:1]):
        return None
    places = ((f"{label}, row {number}", row) for number, row in enumerate(rows, 1))
    return object_entries(places, columns, named)


def file_entries(path: Path, columns: Mapping[str, str], named: Part | None) -> Iterator[Entry]:
    """Yield what JSON lines, Parquet and Arrow files say.

    Args:
        path: The file.
        columns: What the user says of the names in it.
        named: The part that the file's own name says.
    """
    return object_entries(objects(path, f"'{path}'"), columns, named)


def unknown_json(path: Path, content: Any) -> DataError:
    """Return the error of a JSON file whose layout is not known.

    Args:
        path: The file.
        content: What it holds.
    """
    holds = f"the keys {some(content)}" if isinstance(content, dict) else "a list"
    return DataError(
        f"'{path}' is JSON of an unknown layout: it has {holds}.\n"
        "Known are COCO's (images, annotations), Karpathy's (images with sentences and split), a "
        "list of objects with image and caption, and an object of image names with their captions."
    )
