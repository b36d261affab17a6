"""Text can't become HTML, whatever it is."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unrolled.apps.pages.html import Html, element, joined, table


class Reader(HTMLParser):
    """Reads tags and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from(["<", ">", "&", "'", '"', "-", "!", "/", "=", "lt;", "p", "é", " "]))
)
def test_text_comes_back_and_nothing_else(pieces):
    text = "".join(pieces)
    reader = read(element("p", text, title=text))
    assert reader.tags == [("p", {"title": text})]
    assert reader.text == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<script>", "&lt;script&gt;"),
        ("a & b", "a &amp; b"),
        ("\0\x1b[31m\r", r"\x00\x1b[31m\r"),
        ("a\tb\nc", "a\tb\nc"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_no_page_may_hold(text, shown):
    assert joined(text) == shown
    joined(text).encode()


def test_elements():
    assert element("img", src="a", class_="b", data_x="c", hidden=True, alt=None) == (
        '<img src="a" class="b" data-x="c" hidden>'
    )
    assert element("p", ["a", 1, None, [element("b", 0.5)]]) == "<p>a1<b>0.5</b></p>"
    assert joined(Html("<b>")) == "<b>"
    shown = table(["<"], [["a", 1]], ">")
    assert [tag for tag, _ in read(shown).tags] == (
        "div table caption thead tr th tbody tr th td".split()
    )
