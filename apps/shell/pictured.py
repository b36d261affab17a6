"""What `caption` is given: pictures, features of pictures, folders of them, and lists."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from ...data.captioning.entries import Entry
from ...data.captioning.features import SUFFIXES as FEATURES
from ...data.captioning.features import (
    FeatureImages,
    FeatureSource,
    open_source,
    read_features,
    several,
)
from ...data.captioning.files import read_captions
from ...data.captioning.finding import ImageFinder
from ...data.captioning.matching import match
from ...data.formats.folders import files_in, is_pipe, refuse_address
from ...data.images import MAX_BYTES, SUFFIXES, is_image, open_image
from ...errors import DataError, UsageError, quoted, some
from ...tasks.captioning.model import CaptioningModel
from .outputs import left_out


class Item(NamedTuple):
    """An image to caption.

    Attributes:
        name: What results call it.
        open: Returns what the model takes; a DataError says what is wrong with it.
        path: The file of a picture; None of features, and of what there is not.
        id: The number or name that a list gives it; None where there is none.
    """

    name: Path | str
    open: Callable[[], Tensor]
    path: Path | None = None
    id: int | str | None = None


def items(
    model: CaptioningModel, given: Sequence[str], images: str | None, piped: dict[Path, bytes]
) -> list[Item]:
    """Return what there is to caption.

    Args:
        model: Says whether it takes pictures or features.
        given: Files, folders, and lists of images (`.json`).
        images: Where the images of lists are; None: beside them.
        piped: Keeps what comes through a pipe, which can be read once.

    Raises:
        UsageError: `images` without a list.
        DataError: A list can't be read, or none of its images is there.
    """
    lists = [name for name in given if Path(name).suffix.lower() == ".json"]
    if images is not None and not lists:
        raise UsageError("--images says where the images of a list are (a .json file): give one.")
    found: list[Item] = []
    for name in given:
        refuse_address(name)
        if name in lists:
            found += _listed(model, Path(name), images)
        else:
            found += (
                _features(model, Path(name)) if model.feature_size else _files(model, name, piped)
            )
    return found


def _failing(name: Path | str, error: DataError, id: int | str | None = None) -> Item:
    def fail() -> Tensor:
        raise error

    return Item(name, fail, id=id)


def _files(model: CaptioningModel, name: str, piped: dict[Path, bytes]) -> Iterator[Item]:
    """Yield a picture, or those in a folder."""
    path, size = Path(name), model.image_size
    if not path.is_dir():
        yield _picture(path, size, piped)
        return
    inside: list[Path] = []
    others: list[Path] = []
    for file in files_in(path):
        taken = file.suffix.lower() in SUFFIXES or is_image(file)
        (inside if taken else others).append(file)
    yield from (_picture(file, size, piped) for file in sorted(inside))
    if not inside:
        what = f"'{name}' is a folder without images ({', '.join(SUFFIXES)})."
        yield _failing(name, DataError(what))
    elif others:
        print(left_out(others, path, "no images"), file=sys.stderr)


def _picture(path: Path, size: int, piped: dict[Path, bytes], id: int | str | None = None) -> Item:
    return Item(path, partial(_opened, path, size, piped), path, id)


def _opened(path: Path, size: int, piped: dict[Path, bytes]) -> Tensor:
    """Return a picture; what comes through a pipe is kept."""
    if path.suffix.lower() in FEATURES and path.is_file() and not is_image(path):
        raise DataError(f"'{path}' holds features, and this model takes pictures.")
    if str(path) == "-":
        piped[path] = sys.stdin.buffer.read(MAX_BYTES)
    elif is_pipe(path):
        with path.open("rb") as pipe:
            piped[path] = pipe.read(MAX_BYTES)
    return open_image(piped.get(path, path), size)


def _features(model: CaptioningModel, path: Path) -> Iterator[Item]:
    """Yield an image's features, or those of all images in a folder or a file."""
    if not several(path):
        yield Item(path, partial(read_features, path, model.feature_size))
        return
    try:
        source = open_source(path)
    except DataError as error:
        yield _failing(path, error)
        return
    rows = FeatureImages(source, list(source.arrays), model.feature_size)
    for number, key in enumerate(source.arrays):
        yield Item(source.files.get(key, key), partial(rows.open, number, 0))
    if source.others:
        what = f"{len(source.others):,} left out of '{path}', no features: {some(source.others)}."
        print(f"unrolled: {what}", file=sys.stderr)


def _listed(model: CaptioningModel, path: Path, images: str | None) -> list[Item]:
    """Return the images that a file names, as COCO's `image_info_test2014.json`."""
    named = read_captions(path, "auto")
    if images is not None and not Path(images).exists():
        raise DataError(f"--images '{images}': there is no such file or folder.")
    if model.feature_size:
        return _listed_features(model, named.entries, named.name, images)
    if images is not None and not Path(images).is_dir():
        raise DataError(f"--images '{images}' is no folder of pictures, which this model takes.")
    finder = ImageFinder(path.absolute(), [folder.absolute() for folder in named.folders], images)
    there, wrong = finder.all_of([one.image for one in named.entries], named.name, "--images")
    return [
        _picture(file, model.image_size, {}, one.id)
        if file is not None
        else _failing(one.image, DataError(f"'{quoted(one.image)}' {wrong[number]}."), one.id)
        for number, (one, file) in enumerate(zip(named.entries, there, strict=True))
    ]


def _listed_features(
    model: CaptioningModel, entries: Sequence[Entry], called: str, images: str | None
) -> list[Item]:
    if images is None:
        raise UsageError("This model takes features: --images names a folder or a file of them.")
    source: FeatureSource = open_source(Path(images))
    keys, wrong, _ = match(source, entries, called)
    rows = FeatureImages(source, [key for key in keys if key is not None], model.feature_size)
    place: dict[Any, int] = {}
    for number, key in enumerate(keys):
        if key is not None:
            place[number] = len(place)
    return [
        Item(one.image, partial(rows.open, place[number], 0), id=one.id)
        if number in place
        else _failing(one.image, DataError(f"'{quoted(one.image)}' {wrong[number]}."), one.id)
        for number, one in enumerate(entries)
    ]
