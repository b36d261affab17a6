"""Files that say what is on images: the layouts in which captions are handed on."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ...errors import DataError, quoted, typed
from ..formats.folders import missing_file
from ..formats.hub import COLUMNAR, JSON_LINES
from ..formats.objects import whole_json
from ..formats.packed import COMPRESSED, plain_name
from ..formats.table import chosen_columns
from ..images import SUFFIXES
from ..splits import Part
from ..tables import read_lines
from .entries import (
    FIELDS,
    PART_NAMES,
    Entry,
    file_entries,
    json_entries,
    part_named,
    table_entries,
    unknown_json,
)

Layout = Literal["auto", "flickr8k", "csv", "karpathy", "coco", "json", "jsonl"]

EXPECTED = {
    "flickr8k": "Flickr8k.token.txt (a line 'image.jpg#0<tab>caption'), with "
    "Flickr_8k.trainImages.txt and so on",
    "csv": "captions.csv, captions.txt, results.csv or metadata.csv (first line 'image,caption', "
    "perhaps 'split' too; commas, semicolons, tabs or bars between columns)",
    "karpathy": "dataset_coco.json and the like (images with sentences and split)",
    "coco": "captions_train2017.json, captions_val2017.json or captions.json (images and "
    "annotations)",
    "json": "captions.json, annotations.json (a list of objects with image and caption, or image "
    "names with their captions)",
    "jsonl": 'any .jsonl or .parquet file (a line \'{"image": ..., "caption": ...}\', perhaps '
    "'split' too)",
}
_TABLES = ("captions", "results", "metadata", *PART_NAMES)
_JSONS = (
    "dataset",
    "dataset_*",
    "captions",
    "captions_*",
    "*_captions",
    "image_info_*",
    "annotations",
    "metadata",
    *PART_NAMES,
)
_PACKED = ("", *COMPRESSED)


class CaptionFiles(NamedTuple):
    """What caption files say.

    Attributes:
        name: Their names, for messages.
        folders: Where they are.
        entries: What they say, image by image in a fixed order; empty captions are left out.
        told: What was understood of tables, a sentence each without its end.
    """

    name: str
    folders: list[Path]
    entries: list[Entry]
    told: list[str]


class _File(NamedTuple):
    layout: str
    path: Path
    read: Callable[[], Iterable[Entry]]


def read_captions(root: Path, layout: Layout, columns: str | None = None) -> CaptionFiles:
    """Read whatever caption files a folder has.

    Args:
        root: A folder, or one caption file.
        layout: The layout to look for; `auto`: whichever is there.
        columns: `image=COLUMN,caption=COLUMN`, by names or numbers from 1, where the columns are
            called otherwise.

    Raises:
        DataError: There is no such file, it is of several or of no known layout, or it is damaged.
    """
    if not root.exists():
        raise DataError(missing_file(root, str(root)))
    chosen, told = chosen_columns(columns, FIELDS), list[str]()
    there = _without_doubles(list(_known_files(root, chosen, told)), told)
    files = [file for file in there if layout in ("auto", file.layout)]
    if not files and not there and (hint := _stranger(root)):
        raise DataError(f"'{root}' {hint}")
    if not files:
        known = "\n".join(
            f"  {name}: {what}" for name, what in EXPECTED.items() if layout in ("auto", name)
        )
        kinds = " or ".join(dict.fromkeys(file.layout for file in there))
        others = f" (but {_listed(there, root)}: --data.layout {kinds})" if there else ""
        hint = "" if there else _unnamed(root)
        raise DataError(
            f"'{root}' has no caption file whose name is known{others}.{hint} Expected is\n{known}"
        )
    if len({file.layout for file in files}) > 1:
        raise DataError(
            f"'{root}' has captions in several layouts: {_listed(files, root)}. Choose with "
            "--data.layout."
        )
    # a file a part, or one that any layout may have several of
    several = files[0].layout in ("coco", "jsonl") or all(_part_of(f.path, root) for f in files)
    if len(files) > 1 and not several:
        raise DataError(
            f"'{root}' has several caption files: {_listed(files, root)}. Name one of them as "
            "--data.root."
        )
    return CaptionFiles(
        name=", ".join(f"'{_short(file, root)}'" for file in files),
        folders=list(dict.fromkeys(file.path.parent for file in files)),
        entries=_merged(_placed(entry, file.path, root) for file in files for entry in file.read()),
        told=told,
    )


def _stranger(root: Path) -> str:
    """Say what to do about a folder whose captions are of a kind that is known, and not read."""
    tars = _matching(root, "*.tar", "*.tar.gz", "*.tgz")
    if tars:
        return (
            f"has archives, as '{tars[0].name}' (WebDataset), which are not unpacked.\n"
            "Unpack them with tar, and name images and captions in a captions.csv (image,caption)."
        )
    if sheets := _matching(root, "*.xlsx", "*.xls", "*.ods"):
        return (
            f"has a spreadsheet, '{sheets[0].name}', which is not read.\nSave it as captions.csv, "
            "with the columns image and caption."
        )
    texts = [path for path in _matching(root, "*.txt") if _beside(path)]
    if texts:
        return (
            f"has texts beside images, as '{texts[0].name}', which are not read.\nWrite one table "
            "of all, captions.tsv: the image's name, a tab, its caption."
        )
    return ""


def _unnamed(root: Path) -> str:
    """Say that a table of another name may be named."""
    there = _matching(root, "*.csv", "*.tsv", "*.txt", "*.json") if root.is_dir() else []
    if not there:
        return ""
    return f" If '{there[0].name}' is one, name the file: --data.root {typed(there[0])}."


def _beside(path: Path) -> bool:
    ends = (*SUFFIXES, *(end.upper() for end in SUFFIXES))
    return any(path.with_suffix(end).is_file() for end in ends)


def _part_of(path: Path, root: Path) -> Part | None:
    """Return the part that a file's name says, or its folder's: train.csv, train/metadata.csv."""
    stem = Path(plain_name(path)).stem.lower()
    folder = path.parent.name.lower() if path.parent != root else ""
    return PART_NAMES.get(stem) or PART_NAMES.get(folder)


def _placed(entry: Entry, path: Path, root: Path) -> Entry:
    """Return an entry with its part's folder before the image: the parts' names may be the same."""
    folder = path.parent.name
    if root.is_dir() and path.parent != root and folder.lower() in PART_NAMES:
        return entry._replace(image=f"{folder}/{entry.image}")
    return entry


def _without_doubles(files: list[_File], told: list[str]) -> list[_File]:
    """Leave out metadata.csv beside metadata.jsonl: they say the same."""
    kept = []
    for file in files:
        beside = file.path.with_name("metadata.jsonl")
        if file.path.name == "metadata.csv" and any(other.path == beside for other in files):
            told.append(f"'{file.path}' is left alone, for metadata.jsonl lies beside it")
        else:
            kept.append(file)
    return kept


def _short(file: _File, root: Path) -> str:
    return str(file.path.relative_to(root)) if root.is_dir() else file.path.name


def _listed(files: Iterable[_File], root: Path) -> str:
    return ", ".join(f"{_short(file, root)} of the layout {file.layout}" for file in files)


def _merged(entries: Iterable[Entry]) -> list[Entry]:
    """Put the captions of an image together: many files have a line for each."""
    merged: dict[str, tuple[list[str], Part | None, int | str | None]] = {}
    for image, captions, part, number in entries:
        texts, before, _ = merged.setdefault(image, ([], part, number))
        if before != part:
            raise DataError(
                f"Image '{quoted(image)}' is in two parts, {before} and {part}; it can be in one "
                "only."
            )
        texts += [text.strip() for text in captions if text.strip()]
    return [
        Entry(image, tuple(texts), part, number) for image, (texts, part, number) in merged.items()
    ]


def _known_files(root: Path, columns: dict[str, str], told: list[str]) -> Iterator[_File]:
    for path in _matching(root, "*.token.txt", "*.token"):
        if "lemma" not in path.name:
            yield _File("flickr8k", path, partial(_flickr8k, path))
    tokens = set(_matching(root, "*.token.txt", "Flickr_8k.*Images.txt"))
    names = ("*",) if root.is_file() else _TABLES
    for path in _ending(root, names, (".csv", ".tsv", ".txt")):
        if path not in tokens:
            named = _part_of(path, root)
            yield _File("csv", path, partial(table_entries, path, columns, told, named))
    yield from _json_files(root, columns)
    for path in _ending(root, ("*",), (*JSON_LINES, *COLUMNAR)):
        yield _File("jsonl", path, partial(file_entries, path, columns, _part_of(path, root)))


def _json_files(root: Path, columns: dict[str, str]) -> Iterator[_File]:
    paths = _ending(root, ("*",) if root.is_file() else _JSONS, (".json",))
    official = all(
        any(path.name.startswith(f"captions_{part}") for path in paths) for part in ("train", "val")
    )
    for path in paths:
        content = whole_json(path, f"'{path}'")
        images = content.get("images") if isinstance(content, dict) else None
        if (
            isinstance(images, list)
            and images
            and isinstance(images[0], dict)
            and "sentences" in images[0]
        ):
            yield _File("karpathy", path, partial(_karpathy, path, images))
            continue
        listed = isinstance(images, list) and isinstance(content.get("annotations", []), list)
        first = next(iter(images or []), None) if listed else None
        if listed and ("annotations" in content or (isinstance(first, dict) and "id" in first)):
            yield _File("coco", path, partial(_coco, path, content, official, _part_of(path, root)))
            continue
        entries = json_entries(content, f"'{path}'", columns, _part_of(path, root))
        if entries is None:
            raise unknown_json(path, content)
        yield _File("json", path, partial(list, entries))


def _ending(root: Path, stems: Iterable[str], suffixes: Iterable[str]) -> list[Path]:
    """Return the files of a folder that are so called, compressed or not, or the file itself."""
    return _matching(
        root, *(f"{stem}{end}{pack}" for stem in stems for end in suffixes for pack in _PACKED)
    )


def _matching(root: Path, *patterns: str) -> list[Path]:
    """Return the files of a folder and of its folders whose names match, or the file itself."""
    forms = re.compile("|".join(fnmatch.translate(pattern.lower()) for pattern in patterns))
    if root.is_file():
        return [root] if forms.match(root.name.lower()) else []
    with os.scandir(root) as inside:
        found = list(inside)
    for folder in [entry for entry in found if entry.is_dir()]:
        with os.scandir(folder) as inside:
            found += inside
    return sorted(
        Path(entry.path)
        for entry in found
        if forms.match(entry.name.lower()) and entry.name[0] != "." and entry.is_file()
    )


def _wrong(path: Path, place: str, expected: str) -> DataError:
    return DataError(f"'{path}', {place}: expected {expected}.")


def _flickr8k(path: Path) -> Iterator[Entry]:
    """Read a token file of Flickr8k or Flickr30k, without the images that no official list has."""
    parts: dict[str, Part] = {}
    for part, listed in (("train", "train"), ("val", "dev"), ("test", "test")):
        for file in _matching(path.parent, f"Flickr_8k.{listed}Images.txt"):
            parts |= {name.strip(): PART_NAMES[part] for name in read_lines(file) if name.strip()}
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        head, tab, caption = line.partition("\t")
        image, hash_, count = head.rpartition("#")
        if not (tab and hash_ and count.strip().isdigit()):
            raise _wrong(
                path, f"line {number}", f"'image.jpg#0<tab>caption', found '{quoted(line)}'"
            )
        if not parts or image in parts:
            yield Entry(image, (caption,), parts.get(image))


def _karpathy(path: Path, images: list[Any]) -> Iterator[Entry]:
    """Read Karpathy's splits of COCO, Flickr8k and Flickr30k."""
    for number, image in enumerate(images):
        where = partial(_wrong, path, f"images[{number}]")
        try:
            name, split = image["filename"], image["split"]
            captions = tuple(
                sentence["raw"] if "raw" in sentence else " ".join(sentence["tokens"])
                for sentence in image["sentences"]
            )
            folder = image.get("filepath", "")
        except (KeyError, TypeError, AttributeError) as error:
            raise where("filename, split and sentences with raw or tokens") from error
        if not all(isinstance(text, str) for text in (name, folder, *captions)):
            raise where("texts as filename and raw")
        number_of = next((image[key] for key in ("cocoid", "imgid") if key in image), None)
        yield Entry(
            f"{folder}/{name}" if folder else name,
            captions,
            part_named(split, where),
            number_of if type(number_of) in (int, str) else None,
        )


def _coco(
    path: Path, content: dict[str, Any], official: bool, named: Part | None
) -> Iterator[Entry]:
    """Read COCO's captions.

    Where both files are there, the training file's images are for training, and the validation
    file's are shared out between validation and test, since COCO keeps the captions of its own test
    to itself. Else the file's name may say the part (`train.json`), or nothing does.
    """
    names: dict[Any, str] = {}
    captions: dict[Any, list[str]] = {}
    for number, image in enumerate(content["images"]):
        try:
            number_of, name = image["id"], image["file_name"]
        except (KeyError, TypeError) as error:
            raise _wrong(path, f"images[{number}]", "id and file_name") from error
        # a float is what some programs make of a number; NaN is none
        if not isinstance(number_of, int | float | str) or number_of != number_of:
            raise _wrong(path, f"images[{number}]", "a number or a text as id")
        if not isinstance(name, str):
            raise _wrong(path, f"images[{number}]", "a text as file_name")
        names[number_of] = name
    for number, annotation in enumerate(content.get("annotations", [])):
        try:
            texts, caption = captions.setdefault(annotation["image_id"], []), annotation["caption"]
        except (KeyError, TypeError) as error:
            raise _wrong(path, f"annotations[{number}]", "image_id and caption") from error
        if not isinstance(caption, str):
            raise _wrong(path, f"annotations[{number}]", "a text as caption")
        texts.append(caption)
    if unknown := captions.keys() - names.keys():
        raise DataError(
            f"'{path}' has captions of {len(unknown)} image(s) that it does not list, as "
            f"{quoted(next(iter(unknown)))}."
        )
    for number, key in enumerate(sorted(names, key=lambda key: (isinstance(key, str), key))):
        part = named
        if official and path.name.startswith("captions_train"):
            part = "train"
        elif official and path.name.startswith("captions_val"):
            part = "test" if number % 2 else "val"
        number_of = int(key) if isinstance(key, float) and key.is_integer() else key
        yield Entry(
            names[key],
            tuple(captions.get(key, ())),
            part,
            number_of if type(number_of) in (int, str) else None,
        )
