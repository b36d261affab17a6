"""Which features are an image's: those called like it, or by its number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from ...errors import DataError, quoted, some
from .entries import Entry
from .features import FeatureSource


class Matched(NamedTuple):
    """Which features belong to which images.

    Attributes:
        keys: Of each image, None where it has none.
        wrong: What is wrong with those.
        told: How they were found, as a sentence without its end.
    """

    keys: list[str | None]
    wrong: dict[int, str]
    told: str


def match(source: FeatureSource, entries: Sequence[Entry], called: str) -> Matched:
    """Find the features of images: by their names; by their numbers where no name is known.

    Args:
        source: The features.
        entries: The images.
        called: What names the images, for messages.

    Raises:
        DataError: No image has features.
    """
    index: dict[str, set[str]] = {}
    for key in source.arrays:
        for form in _forms(key):
            index.setdefault(form, set()).add(key)
    how, found = "names", [_found(index, _names(entry)) for entry in entries]
    if not any(found):
        how, found = "numbers", [_found(index, _numbers(entry)) for entry in entries]
    if not any(found):
        first, key = entries[0].image if entries else "", next(iter(source.arrays))
        raise DataError(
            f"None of the {len(entries):,} images that {called} names, as '{quoted(first)}', has "
            f"features in '{source.path}', whose are called '{quoted(key)}' and so on."
        )
    keys = [next(iter(one)) if len(one) == 1 else None for one in found]
    wrong = {
        number: f"may be {some(sorted(one), 3)}" if one else "has no features"
        for number, one in enumerate(found)
        if len(one) != 1
    }
    first_of: dict[str, int] = {}
    for number, one in enumerate(keys):
        if one is not None and first_of.setdefault(one, number) != number:
            other = entries[first_of[one]].image
            wrong[number] = f"has no features of its own; '{quoted(one)}' are '{quoted(other)}'s"
            keys[number] = None
    told = f"Features in '{source.path}' are found by the images' {how}"
    if source.told:
        told = f"{source.told}. {told}"
    return Matched(keys, wrong, told)


def _forms(key: str) -> set[str]:
    """Return what an image may be called whose features have a key: `coco/im1.npz` is im1's."""
    path = PurePosixPath(key.replace("\\", "/"))
    plain = path.with_suffix("") if path.suffix.lower() in (".npy", ".npz") else path
    return {key, path.name, str(plain), plain.name}


def _names(entry: Entry) -> list[str]:
    path = PurePosixPath(entry.image.replace("\\", "/").lstrip("/"))
    if not path.parts:
        return []
    return [str(path), str(path.with_suffix("")), path.name, path.stem]


def _numbers(entry: Entry) -> list[str]:
    if not isinstance(entry.id, int):
        return [] if entry.id is None else [entry.id]
    return [str(entry.id), f"{entry.id:012d}"]


def _found(index: Mapping[str, set[str]], forms: Sequence[str]) -> set[str]:
    return next((index[form] for form in forms if form in index), set())
