"""Sentences in marked-up text: TMX, WMT's test sets in SGML and XML, WIT3's tags.

XML is read piece by piece: no tree of the whole file is built.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...errors import DataError, quoted
from ..formats.packed import kind_of, read_blocks
from ..formats.xml import fed
from ..tables import MAX_LINE, lines
from .languages import names_language

SEGMENTS = (".sgm", ".sgml", ".xml")
"""How files end that hold one side of a test set, in <seg> elements."""

_SEG_BEGINS = re.compile(r"<seg\b[^>]*>", re.IGNORECASE)
_SEG_ENDS = re.compile(r"</seg\s*>", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]{1,200}>")
# WIT3: what says something about a talk, in lines of its own on both sides
_ABOUT = re.compile(
    r"\s*</?(url|speaker|talkid|title|description|keywords|reviewer|translator|transcript|doc|head"
    r"|date|dataset|videourl|videopath)\b",
    re.IGNORECASE,
)
# a code for a program, not text: TMX 1.4, https://www.gala-global.org/tmx-14b
_CODES = {"bpt", "ept", "it", "ph", "ut"}
Pair = tuple[str, str]


def side_lines(path: Path, label: str) -> Iterator[str]:
    """Yield the sentences of one side, line by line or segment by segment.

    Args:
        path: The file: plain text, a test set in `<seg>` elements, or text with WIT3's tags, whose
            lines about the talks are left out.
        label: What messages call it.
    """
    found = lines(read_blocks(path, label), label)
    if kind_of(path) in SEGMENTS:
        yield from _segments(found, label)
    elif is_tagged(path):
        yield from (line for line in found if not _ABOUT.match(line))
    else:
        yield from found


def is_tagged(path: Path) -> bool:
    """Say whether a file has WIT3's tags, by its name: `train.tags.de-en.de`.

    Args:
        path: The file.
    """
    return ".tags." in path.name


def _segments(found: Iterable[str], label: str) -> Iterator[str]:
    """Yield what stands between <seg> and </seg>; SGML may have bare ampersands, and no root."""
    begun: list[str] | None = None
    size = count = 0
    for line in found:
        while line is not None:
            if begun is None:
                start = _SEG_BEGINS.search(line)
                if not start:
                    break
                begun, size, line = [], 0, line[start.end() :]
            end = _SEG_ENDS.search(line)
            begun.append(line[: end.start()] if end else line)
            if (size := size + len(line)) > MAX_LINE:
                raise DataError(f"{label}: a <seg> has more than {MAX_LINE:,} characters.")
            if not end:
                break
            yield _text(" ".join(begun))
            begun, count, line = None, count + 1, line[end.end() :]
    if begun is not None:
        raise DataError(f"{label} ends within a <seg>: it is cut short.")
    if not count:
        raise DataError(f"{label} holds no <seg> elements: it is no test set of WMT's form.")


def _text(inner: str) -> str:
    return " ".join(html.unescape(_TAG.sub(" ", inner)).split())


class _Units:
    """What expat says of a TMX file or a WMT test set, as pairs of sentences."""

    def __init__(self, source: str, target: str, label: str) -> None:
        self._languages = source, target
        self._label = label
        self.pairs: list[Pair] = []
        self.seen: set[str] = set()
        self.known = False  # whether it is of one of the two forms
        self._sides: tuple[list[tuple[str, str]], list[tuple[str, str]]] = ([], [])
        self._side: int | None = None
        self._id = ""
        self._pieces: list[str] | None = None
        self._size = self._codes = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        tag = _local(tag)
        attributes = {_local(name): value for name, value in attributes.items()}
        if tag in ("tu", "doc"):
            self.known, self._sides = True, ([], [])
        elif tag in ("tuv", "src", "ref", "hyp"):
            language = attributes.get("lang", "")
            if tag != "hyp" and len(self.seen) < 1000:
                self.seen.add(language)
            self._side = None if tag == "hyp" else self._of(language)
            if self._side is not None and self._sides[self._side]:  # a second translation
                self._side = None
        elif tag == "seg":
            self._pieces, self._size, self._id = [], 0, attributes.get("id", "")
        elif tag in _CODES:
            self._codes += 1

    def _of(self, language: str) -> int | None:
        for side, name in enumerate(self._languages):
            if language.casefold() == name.casefold() or names_language(language, name):
                return side
        return None

    def end(self, tag: str) -> None:
        tag = _local(tag)
        if tag == "seg" and self._pieces is not None:
            if self._side is not None:
                text = " ".join("".join(self._pieces).split())
                self._sides[self._side].append((self._id, text))
            self._pieces = None
        elif tag in _CODES:
            self._codes -= 1
        elif tag == "tu":
            source, target = (side[0][1] if side else "" for side in self._sides)
            self.pairs.append((source, target))
        elif tag == "doc" and all(self._sides):
            targets = dict(self._sides[1])
            self.pairs += [(text, targets.get(key, "")) for key, text in self._sides[0]]
        if tag in ("tuv", "src", "ref", "hyp"):
            self._side = None

    def data(self, text: str) -> None:
        if self._pieces is None or self._codes:
            return
        self._pieces.append(text)
        self._size += len(text)
        if self._size > MAX_LINE:
            raise DataError(f"{self._label}: a <seg> has more than {MAX_LINE:,} characters.")

    def close(self) -> None:
        return None


def _local(name: str) -> str:
    """Return a name without its namespace: TMX says xml:lang."""
    return name.rpartition("}")[2].lower()


def marked_up_pairs(path: Path, source: str, target: str, label: str) -> Iterator[Pair]:
    """Yield the pairs of a TMX file, or of a WMT test set that holds both sides.

    A unit that lacks a side has an empty one.

    Args:
        path: The file.
        source: The source's language.
        target: The target's language.
        label: What messages call it.

    Raises:
        DataError: It is no such file, or has none of the two languages.
    """
    units = _Units(source, target, label)
    whole = 0
    for _ in fed(path, label, units):
        for pair in units.pairs:
            whole += all(pair)
            yield pair
        units.pairs.clear()
    if not units.known:
        raise DataError(
            f"{label} is neither TMX (tu, tuv, seg) nor a test set of WMT (doc, src, ref, seg). "
            "Two files, one a side, are named by --data.train_source and --data.train_target "
            "(val_, test_)."
        )
    if not whole:
        there = ", ".join(sorted(quoted(name) for name in units.seen if name)) or "none"
        raise DataError(
            f"{label} has no unit in both '{source}' and '{target}'; its languages are {there}: "
            "name two by --data.source and --data.target."
        )
