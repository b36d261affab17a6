"""Letters of every script, for Pillow's pictures and matplotlib's figures.

matplotlib's own font, DejaVu, has Latin, Greek, Cyrillic and more; for other letters the fonts of
the extra `fonts` are looked at, then those of the machine, each only for what the ones before lack.
matplotlib lays the text out (libraqm: Arabic joins, Devanagari combines, Hebrew runs from right to
left), also for Pillow, so that both draw the same.
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ...errors import installing

if TYPE_CHECKING:
    from matplotlib.ft2font import FT2Font
    from PIL.Image import Image

_PACKAGES = ("manimgx_fonts", "noto_cjk_sans_otc")  # what the extra `fonts` installs
_UNWANTED = re.compile(r"bold|black|heavy|medium|light|thin|italic|oblique|cond|mono|serif", re.I)
_MOST = 400  # fonts of a machine that are looked into for a letter
_LINE = 1.2  # distance of two lines, in font sizes
_MARKS = {"\n": "↵", "\t": "⇥", " ": "·"}
_ELLIPSIS = "…"

_told: set[str] = set()


def visible(text: str) -> str:
    """Return a text with a sign for each character that shows nothing: `↵` for a line's end.

    Args:
        text: Any text; it keeps its length, but for marks without a letter, which get a circle.
    """
    signs = []
    for character in text:
        kind = unicodedata.category(character)
        if character in _MARKS:
            signs.append(_MARKS[character])
        elif ord(character) < 32:
            signs.append(chr(0x2400 + ord(character)))  # ␀ and what follows
        elif kind in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            signs.append("\ufffd")
        elif kind in ("Mn", "Mc", "Me"):
            signs.append(f"◌{character}")
        else:
            signs.append(character)
    return "".join(signs)


def plain(text: str) -> str:
    """Return a text as it may stand in a picture: one line, and nothing that is no character.

    Args:
        text: Any text.
    """
    text = re.sub(r"\s+", " ", text)
    return "".join("\ufffd" if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)


def fonts_for(text: str) -> tuple[str, ...]:
    """Return the font files that have a text's letters, the first wherever it has one.

    What no font has is drawn as a box; a warning says so once.

    Args:
        text: The text.
    """
    missing = {ord(c) for c in text if not c.isspace() and unicodedata.category(c)[0] != "C"}
    found: list[str] = []
    for path in _candidates():
        if not found or missing & _characters(path):
            found.append(path)
            missing -= _characters(path)
        if not missing:
            break
    if new := {chr(point) for point in missing} - _told:
        _told.update(new)
        letters = "".join(sorted(new)[:8])
        warnings.warn(
            f"no font here has the letters {letters}{'...' if len(new) > 8 else ''}, and boxes "
            f"stand for them. {installing('them', 'fonts')}",
            stacklevel=2,
        )
    return tuple(found)


def families_for(text: str) -> list[str]:
    """Return the names by which matplotlib knows those fonts, as `fontfamily` takes them.

    Args:
        text: The text.
    """
    return [_family(path) for path in fonts_for(text)]


@cache
def _family(path: str) -> str:
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    if not any(entry.fname == path for entry in font_manager.fontManager.ttflist):
        font_manager.fontManager.addfont(path)
    return str(FT2Font(path).family_name)


def _candidates() -> Iterator[str]:
    """Yield font files, the ones to prefer first."""
    from matplotlib import get_data_path

    yield str(Path(get_data_path()) / "fonts/ttf/DejaVuSans.ttf")
    yield from _of_packages()
    yield from _of_the_machine()


@cache
def _of_packages() -> list[str]:
    found: list[str] = []
    for name in _PACKAGES:
        spec = find_spec(name)
        for folder in (spec and spec.submodule_search_locations) or ():
            files = sorted(Path(folder).glob("*.[ot]t[fc]"))
            found += [str(file) for file in files if not _UNWANTED.search(file.stem)]
    return found


@cache
def _of_the_machine() -> list[str]:
    from matplotlib.font_manager import findSystemFonts

    def order(path: str) -> tuple[bool, bool, str]:
        name = Path(path).stem.lower()
        return bool(_UNWANTED.search(name)), "noto" not in name, name

    return sorted(findSystemFonts(), key=order)[:_MOST]


@cache
def _characters(path: str) -> frozenset[int]:
    """Return the code points that a font has."""
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError, ValueError):  # damaged, or no font
        return frozenset()


def _laid_out(text: str, size: float) -> FT2Font:
    from matplotlib.font_manager import get_font

    font = get_font(fonts_for(text))
    font.set_size(size, 72)  # points are pixels
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*missing from font")  # it has been said
        font.set_text(text, 0.0)
    return font


def text_width(text: str, size: float) -> int:
    """Return how many pixels wide a text is.

    Args:
        text: One line of text.
        size: Of the font, in pixels.
    """
    return -(-_laid_out(plain(text), size).get_width_height()[0] // 64) if text else 0


def cut(text: str, size: float, width: float, *, keep: Literal["start", "end"] = "start") -> str:
    """Return as much of a text as a width has room for, with an ellipsis for the rest.

    Args:
        text: One line of text.
        size: Of the font, in pixels.
        width: In pixels.
        keep: Which part says more: a path's end, anything else's start.
    """
    text = plain(text)[: int(width) + 1] if keep == "start" else plain(text)[-int(width) - 1 :]
    if text_width(text, size) <= width:
        return text
    fits, many = 0, len(text)  # so many characters fit, so many don't
    while many - fits > 1:
        half = (fits + many) // 2
        shorter = _shortened(text, half, keep)
        fits, many = (half, many) if text_width(shorter, size) <= width else (fits, half)
    return _shortened(text, fits, keep)


def _shortened(text: str, length: int, keep: str) -> str:
    if keep == "start":
        return text[:length].rstrip() + _ELLIPSIS
    return _ELLIPSIS + text[len(text) - length :].lstrip()


def line_height(size: float) -> int:
    """Return the height of a line in pixels.

    Args:
        size: Of the font, in pixels.
    """
    return round(_LINE * size)


def draw_text(
    picture: Image,
    place: tuple[float, float],
    text: str,
    *,
    size: float,
    fill: tuple[int, int, int],
    centred: bool = False,
) -> None:
    """Write a line of text into a picture of Pillow's.

    Args:
        picture: The picture, RGB.
        place: Where the line's upper left corner is, or the middle of its upper edge.
        text: What to write.
        size: Of the font, in pixels; the line is `line_height` high.
        fill: The colour.
        centred: `place` is the middle of the edge.
    """
    import numpy as np
    from PIL import Image as images

    text = plain(text)
    if not text.strip():
        return
    font = _laid_out(text, size)
    width, height = (side / 64 for side in font.get_width_height())
    font.draw_glyphs_to_bitmap(antialiased=True)
    mask = np.array(font.get_image(), dtype=np.uint8)
    baseline = place[1] + size  # of a line that is 1.2 sizes high
    top = baseline - height + font.get_descent() / 64
    left = place[0] - (width / 2 if centred else 0)
    picture.paste(fill, (round(left), round(top)), images.fromarray(mask))
