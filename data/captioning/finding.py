"""Where the images are that captions name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from ...errors import DataError, quoted
from ..formats.folders import path_of
from ..formats.letters import plain
from ..images import SUFFIXES

_FOLDERS = (
    ".",
    "images",
    "Images",
    "imgs",
    "photos",
    "Flicker8k_Dataset",  # as it is spelt in the archive
    "Flickr8k_Dataset",
    "flickr8k_images",
    "flickr30k_images",
    "flickr30k-images",
    "train2017",
    "val2017",
    "test2017",
    "train2014",
    "val2014",
    "test2014",
)


class ImageFinder:
    """Finds images in the usual folders, whose contents are listed once.

    Args:
        root: The folder that the user named, or a file in it.
        beside: Where the caption files are.
        image_dir: The only folder to look in; None for the usual ones.

    Raises:
        DataError: `image_dir` is no folder.
    """

    def __init__(self, root: Path, beside: Sequence[Path], image_dir: str | None) -> None:
        bases = [root if root.is_dir() else root.parent, *beside]
        bases += [folder.parent for folder in beside if folder.name == "annotations"]  # COCO's
        folders = [base / name for base in bases for name in _FOLDERS]
        if image_dir is not None:
            folders = [path_of(image_dir).absolute()]
            if not folders[0].is_dir():
                raise DataError(f"--data.image_dir '{image_dir}' is no folder.")
        self._listed = {
            folder: {item.name for item in os.scandir(folder)}
            for folder in folders
            if folder.is_dir()
        }

    def all_of(
        self, images: Sequence[str], source: str, flag: str = "--data.image_dir"
    ) -> tuple[list[Path | None], dict[int, str]]:
        """Return the file of each image, None where there is none, and what is wrong with those.

        Args:
            images: The images' names.
            source: What names them, for messages.
            flag: What the user names their folder with.

        Raises:
            DataError: None of them is there.
        """
        paths: list[Path | None] = []
        wrong: dict[int, str] = {}
        for number, image in enumerate(images):
            found = self.find(image)
            paths.append(found[0] if len(found) == 1 else None)
            if not found:
                wrong[number] = "is missing"
            elif len(found) > 1:
                named = " or ".join(f"'{path}'" for path in found[:3])
                wrong[number] = f"may be {named}"
        if images and not any(paths) and len(wrong) == sum("missing" in w for w in wrong.values()):
            if all("://" in image for image in images):
                raise DataError(
                    f"{source} names its {len(images):,} images by addresses, as "
                    f"'{quoted(images[0])}', and nothing is downloaded.\n"
                    "Fetch them first (img2dataset does), and name the files instead."
                )
            where = ", ".join(f"'{folder}'" for folder in self._listed)
            raise DataError(
                f"None of the {len(images):,} images that {source} names, as "
                f"'{quoted(images[0])}', is in {where}.\n"
                f"Name their folder with {flag}."
            )
        return paths, wrong

    def others(self, taken: Iterable[Path]) -> list[str]:
        """Return the names of images that lie in the folders of some, and are none of them.

        Args:
            taken: The images that are used.
        """
        known = set(taken)
        return sorted(
            item.name
            for folder in {path.parent for path in known}
            for item in os.scandir(folder)
            if os.path.splitext(item.name)[1].lower() in SUFFIXES
            and not item.name.startswith(".")
            and folder / item.name not in known
        )

    def find(self, image: str) -> list[Path]:
        """Return the files that a name may mean: one, or several where it does not say which.

        Args:
            image: A name, with or without folders in front, with or without its suffix; or a whole
                path.
        """
        for name in (Path(image), Path(image.replace("\\", "/"))):
            if ".." in name.parts or not name.parts:  # out of the folder
                continue
            if name.is_absolute() and os.path.isfile(name):
                return [name]
            if (path := self._named(name)) is not None:
                return [path]
            if found := self._deeper(name):
                return found
        return []

    def _named(self, name: Path) -> Path | None:
        if not name.is_absolute():
            for folder, names in self._listed.items():
                if name.parts[0] in names and (
                    len(name.parts) == 1 or os.path.isfile(folder / name)
                ):
                    return folder / name
        # the name has folders, but the file lies here without them
        for folder, names in self._listed.items():
            if len(name.parts) > 1 and name.name in names:
                return folder / name.name
        return None

    def _deeper(self, name: Path) -> list[Path]:
        """Return files one folder deeper, those that differ in capitals, or lack the suffix."""
        # macOS takes accents apart in names of files, and tables may have been written elsewhere
        one = plain(name.name)
        for key in (name.name, one, one.casefold()):
            if found := self._index.get(key, []):
                return found
        return []

    @cached_property
    def _index(self) -> dict[str, list[Path]]:
        """Files by their names, their names in small letters, and those without suffix."""
        index: dict[str, list[Path]] = {}
        for path in dict.fromkeys(self._files()):
            keys = {path.name, *_forms(path.name)}
            if path.suffix.lower() in SUFFIXES:
                keys |= {path.stem, *_forms(path.stem)}
            for key in keys:
                index.setdefault(key, []).append(path)
        return index

    def _files(self) -> Iterator[Path]:
        for folder, names in self._listed.items():
            for name in sorted(names):
                path = folder / name
                if name.startswith(".") or path in self._listed:
                    continue
                if path.is_dir():
                    with os.scandir(path) as inside:
                        found = sorted(Path(item.path) for item in inside if item.is_file())
                    yield from found
                elif path.suffix.lower() in SUFFIXES:
                    yield path


def _forms(name: str) -> set[str]:
    return {plain(name), plain(name).casefold()}
