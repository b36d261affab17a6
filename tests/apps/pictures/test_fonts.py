"""Letters of every script, and names that stay within their picture."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from PIL import Image
from unrolled.apps.pictures import fonts
from unrolled.apps.pictures.fonts import (
    cut,
    draw_text,
    families_for,
    fonts_for,
    text_width,
    visible,
)
from unrolled.apps.pictures.timeline import LabelBar, draw_timeline, palette

SCRIPTS = {
    "latin": "Ünïcødé ẞ",
    "greek": "Ελληνικά",
    "cyrillic": "Русский",
    "hebrew": "עברית",
    "arabic": "العربية",
    "devanagari": "हिन्दी",
    "thai": "ภาษาไทย",
    "bengali": "বাংলা",
    "ethiopic": "አማርኛ",
    "han": "中文日本語",
    "hangul": "한국어",
}


def drawn(text: str, size: int = 40) -> np.ndarray:
    """Ink of a text, cut to where it is."""
    picture = Image.new("RGB", (900, 80), "white")
    draw_text(picture, (10, 5), text, size=size, fill=(0, 0, 0))
    ink = 255 - np.asarray(picture)[:, :, 0]
    columns = np.flatnonzero(ink.any(0))
    return ink[:, columns[0] : columns[-1] + 1]


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS)
def test_every_script_has_a_font(text):
    found = fonts_for(text)
    missing = {ord(c) for c in text if c != " "} - set().union(*map(fonts._characters, found))
    if missing and not fonts._of_packages():
        pytest.skip("the extra fonts is not installed: pip install 'unrolled[fonts]'")
    assert not missing
    assert families_for(text)[0] == "DejaVu Sans"
    assert drawn(text).max() == 255


def test_hebrew_runs_from_right_to_left_and_arabic_joins():
    whole, first = drawn("אב"), drawn("א")
    right, left = whole[:, -first.shape[1] :].astype(int), whole[:, : first.shape[1]].astype(int)
    assert 2 * np.abs(right - first).mean() < np.abs(left - first).mean()
    # joined, the letters are not three times the letter alone
    assert abs(text_width("ببب", 40) - 3 * text_width("ب", 40)) > 10


def test_letters_that_no_font_has_are_said_once(monkeypatch):
    monkeypatch.setattr(fonts, "_of_packages", list)
    monkeypatch.setattr(fonts, "_of_the_machine", list)
    monkeypatch.setattr(fonts, "_told", set())
    with pytest.warns(
        UserWarning, match=r"no font here has the letters 𐎀𐤀.*pip install.*\[fonts\]"
    ):
        fonts_for("a 𐤀𐎀")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert drawn("x 𐤀").max() == 255


@pytest.mark.parametrize("text", ["x" * 500, "ein langer Name " * 20, "中" * 90, "ab", ""])
@pytest.mark.parametrize("width", [30, 111, 400])
def test_what_is_too_long_is_cut_to_its_room(text, width):
    start, end = cut(text, 17, width), cut(text, 17, width, keep="end")
    for found in (start, end):
        assert text_width(found, 17) <= width
    if start != text:
        assert start.endswith("…")
        assert text.startswith(start[:-1].rstrip())
        assert end.startswith("…")
        assert text.rstrip().endswith(end[1:].strip())
        # one letter more would have had no room
        more = text[: len(start.rstrip("…")) + 2] + "…"
        assert text_width(more, 17) > width


def test_a_timeline_holds_names_of_any_length():
    names = ["short", "a very long name of a class " * 30, "料理" * 80]
    segments = [LabelBar(n, n + 1, name) for n, name in enumerate(names)]
    picture = draw_timeline(segments, palette(names), title="t" * 900)
    pixels = np.asarray(picture)
    assert (pixels[:, -24:] == 255).all()
    for name in names:  # each entry has its colour
        assert (pixels[150:] == palette(names)[name]).all(2).any()


def test_what_shows_nothing_has_a_sign():
    assert visible("a\n\t \0\x1b") == "a↵⇥·␀␛"
    assert visible("\u0301") == "◌\u0301"
    assert "\ud800" not in visible("\ud800\x85\u202e")
    picture = Image.new("RGB", (300, 40), "white")
    draw_text(picture, (0, 0), "a\ud800\0\nb", size=20, fill=(0, 0, 0))  # nothing of it ends a run
