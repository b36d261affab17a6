"""Files that say what is on images: the layouts in which captions are handed on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ...errors import DataError, quoted, some
from ..sources import missing_file
from ..splits import Part
from ..tables import check_size, csv_rows, json_rows, json_value, read_lines

_FIELD_BYTES = 1 << 17  # of a caption at most
Layout = Literal["auto", "flickr8k", "csv", "karpathy", "coco", "jsonl"]

EXPECTED = {
    "flickr8k": "Flickr8k.token.txt (a line 'image.jpg#0<tab>caption'), with "
    "Flickr_8k.trainImages.txt and so on",
    "csv": "captions.csv or captions.txt (first line 'image,caption', perhaps 'split' too)",
    "karpathy": "dataset_coco.json and the like (images with sentences and split)",
    "coco": "captions_train2017.json, captions_val2017.json or captions.json (images and "
    "annotations)",
    "jsonl": "any .jsonl file (a line '{\"image\": ..., \"caption\": ...}', perhaps 'split' too)",
}
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
}
_IMAGE_KEYS = ("image", "file_name", "filename", "image_name", "path")
_CAPTION_KEYS = ("caption", "captions", "text", "sentences", "comment")


class Entry(NamedTuple):
    """What a file says of one image.

    Attributes:
        image: The image's name; it may have folders in front.
        captions: Its captions.
        part: The part it belongs to; None where the file does not say.
        id: The data set's number of it; None where it has none.
    """

    image: str
    captions: tuple[str, ...]
    part: Part | None
    id: int | None = None


class CaptionFiles(NamedTuple):
    """What caption files say.

    Attributes:
        name: Their names, for messages.
        folders: Where they are.
        entries: What they say, image by image in a fixed order; empty captions are left out.
    """

    name: str
    folders: list[Path]
    entries: list[Entry]


class _File(NamedTuple):
    layout: str
    path: Path
    read: Callable[[], Iterable[Entry]]


def read_captions(root: Path, layout: Layout) -> CaptionFiles:
    """Read whatever caption files a folder has.

    Args:
        root: A folder, or one caption file.
        layout: The layout to look for; `auto`: whichever is there.

    Raises:
        DataError: There is no such file, it is of several or of no known layout, or it is damaged.
    """
    if not root.exists():
        raise DataError(missing_file(root, str(root)))
    there = list(_known_files(root))
    files = [file for file in there if layout in ("auto", file.layout)]
    if not files:
        known = "\n".join(
            f"  {name}: {what}" for name, what in EXPECTED.items() if layout in ("auto", name)
        )
        others = f" (but {_listed(there, root)})" if there else ""
        raise DataError(
            f"'{root}' has no caption file whose name is known{others}. Expected is\n{known}"
        )
    if len({file.layout for file in files}) > 1:
        raise DataError(
            f"'{root}' has captions in several layouts: {_listed(files, root)}. Choose with "
            "--data.layout."
        )
    if files[0].layout not in ("coco", "jsonl") and len(files) > 1:
        raise DataError(
            f"'{root}' has several caption files: {_listed(files, root)}. Name one of them as "
            "--data.root."
        )
    return CaptionFiles(
        name=", ".join(f"'{_short(file, root)}'" for file in files),
        folders=list(dict.fromkeys(file.path.parent for file in files)),
        entries=_merged(entry for file in files for entry in file.read()),
    )


def _short(file: _File, root: Path) -> str:
    return str(file.path.relative_to(root)) if root.is_dir() else file.path.name


def _listed(files: Iterable[_File], root: Path) -> str:
    return ", ".join(f"{_short(file, root)} of the layout {file.layout}" for file in files)


def _merged(entries: Iterable[Entry]) -> list[Entry]:
    """Put the captions of an image together: many files have a line for each."""
    merged: dict[str, tuple[list[str], Part | None, int | None]] = {}
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


def _known_files(root: Path) -> Iterator[_File]:
    for path in _matching(root, "*.token.txt", "*.token"):
        if "lemma" not in path.name:
            yield _File("flickr8k", path, partial(_flickr8k, path))
    for path in _matching(root, "captions.csv", "captions.txt") or (
        _matching(root, "*.csv") if root.is_file() else []
    ):
        yield _File("csv", path, partial(_csv, path))
    names = (
        ("*.json",)
        if root.is_file()
        else ("dataset.json", "dataset_*.json", "captions.json", "captions_*.json")
    )
    paths = _matching(root, *names)
    official = all(
        any(path.name.startswith(f"captions_{part}") for path in paths) for part in ("train", "val")
    )
    for path in paths:
        content = _json(path)
        images = content.get("images") if isinstance(content, dict) else None
        if (
            isinstance(images, list)
            and images
            and isinstance(images[0], dict)
            and "sentences" in images[0]
        ):
            yield _File("karpathy", path, partial(_karpathy, path, images))
        elif isinstance(images, list) and isinstance(content.get("annotations"), list):
            yield _File("coco", path, partial(_coco, path, content, official))
        else:
            holds = f"the keys {some(content)}" if isinstance(content, dict) else "a list"
            raise DataError(
                f"'{path}' is JSON of an unknown layout: it has {holds}.\n"
                "Known are COCO's (images, annotations) and Karpathy's (images with sentences and "
                "split)."
            )
    for path in _matching(root, "*.jsonl"):
        yield _File("jsonl", path, partial(_jsonl, path))


def _matching(root: Path, *patterns: str) -> list[Path]:
    """Return the files of a folder and of its folders whose names match, or the file itself."""
    if root.is_file():
        return [root] if any(root.match(pattern) for pattern in patterns) else []
    found = {
        path for pattern in patterns for depth in ("", "*/") for path in root.glob(depth + pattern)
    }
    return sorted(path for path in found if path.is_file())


def _wrong(path: Path, place: str, expected: str) -> DataError:
    return DataError(f"'{path}', {place}: expected {expected}.")


def _part(name: Any, where: Callable[[str], DataError]) -> Part | None:
    if name is None or name == "":
        return None
    if not isinstance(name, str) or name.lower() not in PART_NAMES:
        raise where(f"a split among {', '.join(PART_NAMES)}, not '{quoted(name)}'")
    return PART_NAMES[name.lower()]


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


def _csv(path: Path) -> Iterator[Entry]:
    rows = csv_rows(read_lines(path), f"'{path}'", longest=_FIELD_BYTES)
    _, first = next(rows, (1, []))
    header = [name.strip().lower() for name in first]
    image = next((header.index(key) for key in _IMAGE_KEYS if key in header), None)
    caption = next((header.index(key) for key in _CAPTION_KEYS if key in header), None)
    if image is None or caption is None:
        raise _wrong(
            path,
            "line 1",
            f"the names of the columns, 'image,caption', found '{quoted(','.join(header))}'",
        )
    split = header.index("split") if "split" in header else None
    for line, row in rows:
        if not row:
            continue
        # a comma in a caption without quotes
        if len(row) > len(header) and caption == len(header) - 1:
            row = [*row[:caption], ",".join(row[caption:])]
        if len(row) != len(header):
            raise _wrong(path, f"line {line}", f"{len(header)} columns, found {len(row)}")
        where = partial(_wrong, path, f"line {line}")
        yield Entry(
            row[image], (row[caption],), None if split is None else _part(row[split], where)
        )


def _jsonl(path: Path) -> Iterator[Entry]:
    named = PART_NAMES.get(path.stem.lower())  # train.jsonl
    for number, line, row in json_rows(read_lines(path), f"'{path}'"):
        if not line.strip():
            continue
        where = partial(_wrong, path, f"line {number}")
        row = row if isinstance(row, dict) else {}
        image = next((row[key] for key in _IMAGE_KEYS if key in row), None)
        caption = next((row[key] for key in _CAPTION_KEYS if key in row), None)
        captions = [caption] if isinstance(caption, str) else caption
        if (
            not isinstance(image, str)
            or not isinstance(captions, list)
            or not all(isinstance(c, str) for c in captions)
        ):
            raise where(
                f'\'{{"image": ..., "caption": ...}}\' (text, or a list of texts), found '
                f"'{quoted(line)}'"
            )
        yield Entry(image, tuple(captions), _part(row.get("split"), where) or named)


def _json(path: Path) -> Any:
    try:
        check_size(path)
        return json_value(path.read_bytes(), f"'{path}'")
    except OSError as error:
        raise DataError(f"'{path}' can't be read: {error.strerror or error}.") from error


def _karpathy(path: Path, images: list[Any]) -> Iterator[Entry]:
    """Read Karpathy's splits of COCO, Flickr8k and Flickr30k."""
    for number, image in enumerate(images):
        where = partial(_wrong, path, f"images[{number}]")
        try:
            name, split = image["filename"], image["split"]
            captions = tuple(sentence["raw"] for sentence in image["sentences"])
            folder = image.get("filepath", "")
        except (KeyError, TypeError, AttributeError) as error:
            raise where("filename, split and sentences with raw") from error
        if not all(isinstance(text, str) for text in (name, folder, *captions)):
            raise where("texts as filename and raw")
        number_of = next((image[key] for key in ("cocoid", "imgid") if key in image), None)
        yield Entry(
            f"{folder}/{name}" if folder else name,
            captions,
            _part(split, where),
            number_of if type(number_of) is int else None,
        )


def _coco(path: Path, content: dict[str, Any], official: bool) -> Iterator[Entry]:
    """Read COCO's captions.

    Where both files are there, the training file's images are for training, and the validation
    file's are shared out between validation and test, since COCO keeps the captions of its own test
    to itself. Else no part is said.
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
    for number, annotation in enumerate(content["annotations"]):
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
        part: Part | None = None
        if official and path.name.startswith("captions_train"):
            part = "train"
        elif official and path.name.startswith("captions_val"):
            part = "test" if number % 2 else "val"
        number_of = int(key) if isinstance(key, float) and key.is_integer() else key
        yield Entry(
            names[key],
            tuple(captions.get(key, ())),
            part,
            number_of if type(number_of) is int else None,
        )
