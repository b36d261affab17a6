"""XML of anybody's, in the encoding that it names; no entity is expanded, nothing is fetched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from ...errors import DataError, quoted
from ..tables import MAX_FILE
from .packed import read_blocks


def fed(path: Path, label: str, target: Any) -> Iterator[None]:
    """Tell a target what a file says, and yield after each block of it.

    Args:
        path: The file; compressed ones are read as they are.
        label: What messages call it.
        target: Has `start(tag, attributes)`, `end(tag)`, `data(text)` and `close()`.

    Raises:
        DataError: It is damaged, is no XML, or declares entities of its own.
    """
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import DefusedXMLParser

    parser = DefusedXMLParser(target=target)
    try:
        for block in read_blocks(path, label):
            parser.feed(block)
            yield
        parser.close()
    except DefusedXmlException as error:
        raise DataError(
            f"{label} declares entities of its own, which are not expanded: {quoted(str(error))}."
        ) from error
    except (ParseError, ValueError, LookupError) as error:  # the latter: of its encoding
        raise DataError(f"{label} is damaged or no XML: {quoted(str(error), 100)}.") from error


def read_tree(path: Path, label: str) -> Element:
    """Return the whole of a file that fits in memory.

    Args:
        path: The file.
        label: What messages call it.

    Raises:
        DataError: As `fed`; or it is too large.
    """
    builder = _Kept()
    for _ in fed(path, label, builder):
        if builder.size > MAX_FILE:
            raise DataError(f"{label} has more than {MAX_FILE:,} characters, which are not read.")
    assert builder.root is not None  # a whole file has one
    return builder.root


class _Kept(TreeBuilder):
    """A tree, and how much text is in it."""

    root: Element | None = None
    size = 0

    def start(self, tag: str, attributes: dict[Any, Any]) -> Element:
        self.size += len(tag) + sum(map(len, attributes.values()))
        return super().start(tag, attributes)

    def data(self, text: str) -> None:
        self.size += len(text)
        super().data(text)

    def close(self) -> Element:
        self.root = super().close()
        return self.root
