"""HTML that can't be broken by what it shows: all text is escaped but what was made here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TypeAlias, Union

from ...errors import printable

_EMPTY = {"br", "img", "meta"}


class Html(str):
    """Text that is HTML already; only `element` and `joined` make it of what files say."""

    __slots__ = ()


Content: TypeAlias = Union["Html", str, int, float, Iterable["Content"], None]


def joined(content: Content) -> Html:
    """Return content as HTML, one after the other: escaped, but for what is HTML already.

    Args:
        content: Text, numbers, HTML, any nest of them; None is nothing.
    """
    if content is None:
        return Html()
    if isinstance(content, Html):
        return content
    if isinstance(content, str):
        # what no document may hold is shown as it is written; tabs and line ends stay
        shown = "\t".join(map(printable, content.split("\t")))
        return Html(escape(shown.encode("utf-8", "backslashreplace").decode()))
    if isinstance(content, int | float):
        return Html(content)
    return Html("".join(map(joined, content)))


def element(name: str, /, *inside: Content, **attributes: str | bool | None) -> Html:
    """Return an element.

    Args:
        name: Its name.
        *inside: What is in it.
        **attributes: Its attributes; a `_` at the end is left out, others become `-`; True is one
            without a value, None and False are none.
    """
    said = []
    for key, value in attributes.items():
        key = key.removesuffix("_").replace("_", "-")
        if value is True:
            said.append(f" {key}")
        elif value is not None and value is not False:
            said.append(f' {key}="{joined(value)}"')
    start = f"<{name}{''.join(said)}>"
    return Html(start if name in _EMPTY else f"{start}{joined(inside)}</{name}>")


def table(head: Sequence[Content], rows: Iterable[Sequence[Content]], caption: str = "") -> Html:
    """Return a table, which scrolls by itself where the page is narrow.

    Args:
        head: The names of its columns; none: there is no such row.
        rows: The rows; the first cell of each says what it is about.
        caption: What is written above it.
    """
    body = [
        element("tr", element("th", row[0], scope="row"), [element("td", cell) for cell in row[1:]])
        for row in rows
    ]
    names = element("tr", [element("th", name, scope="col") for name in head])
    return element(
        "div",
        element(
            "table",
            element("caption", caption) if caption else None,
            element("thead", names) if head else None,
            element("tbody", body),
        ),
        class_="wide",
        tabindex="0",  # scrolled with the keyboard, too
    )
