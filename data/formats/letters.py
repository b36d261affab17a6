"""What a letter is, in every language, and the signs that are none.

A word is what Unicode calls one: letters with the marks that belong to them (the vowels of Hindi
and Thai, the points of Hebrew and Arabic, accents that are characters of their own), digits, and
the joiners within. Python's own class has no marks: it takes words of half the world's scripts
apart.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator

import regex

UNSPACED = (
    r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tai_Tham}\p{Tai_Le}"
    r"\p{New_Tai_Lue}\p{Tai_Viet}\p{Javanese}\p{Balinese}ー々〆〇"
)
"""The scripts that put no spaces between words, as the inside of a character class of `regex`."""

_ONE = regex.compile(rf"(?V1)[[{UNSPACED}]&&\p{{L}}]")
_LETTER = regex.compile(r"\p{L}")
# a zero-width space says where a word ends; the others are instructions to whoever sets the text
_INVISIBLE = str.maketrans({"\u200b": " ", "\ufeff": None, "\u2060": None, "\u00ad": None})
_MARK = "\ufeff"
_MARKS = 1 << 12  # of one letter at most; no language has ten


def plain(text: str, *, nfc: bool = True) -> str:
    """Return a text without what no reader sees.

    A zero-width space is a space; a byte-order mark, a word joiner and a soft hyphen are nothing.
    Non-breaking spaces stay: they are spaces wherever words are told apart. The joiners of
    Persian, Hindi and emoji stay: they are part of words.

    Args:
        text: Any text.
        nfc: Bring it to Unicode's NFC: an accented letter is one character, however it was typed.
    """
    if text.isascii():
        return text
    text = text.translate(_INVISIBLE)
    return unicodedata.normalize("NFC", text) if nfc else text


def folded(text: str) -> str:
    """Return what two texts share that differ in capitals and blanks at most.

    Args:
        text: Any text.
    """
    return " ".join(text.casefold().split())


def unmarked(text: str) -> str:
    """Return a text without the byte-order mark in front, which is no character of it.

    Args:
        text: The beginning of a file or of a stream.
    """
    return text.removeprefix(_MARK)


def composed(text: str) -> bool:
    """Say whether a text is in Unicode's NFC.

    Args:
        text: Any text.
    """
    return text.isascii() or unicodedata.is_normalized("NFC", text)


def composed_pieces(pieces: Iterable[str]) -> Iterator[str]:
    """Yield a text in Unicode's NFC, in other pieces: no letter is cut from its marks.

    Args:
        pieces: The text, cut anywhere.
    """
    held = ""
    for piece in pieces:
        text = held + piece
        end = _last_start(text)
        held = text[end:]
        yield unicodedata.normalize("NFC", text[:end])
    yield unicodedata.normalize("NFC", held)


def _last_start(text: str) -> int:
    """Return where the last character begins that joins none before it."""
    for place in range(len(text) - 1, max(0, len(text) - _MARKS), -1):
        character = text[place]
        joins = unicodedata.category(character)[0] == "M" or "\u1160" <= character <= "\u11ff"
        if not joins:
            return place
    return 0 if len(text) < _MARKS else len(text)


def unspaced_share(texts: Iterable[str]) -> float:
    """Return the share of letters whose scripts put no spaces between words.

    Args:
        texts: Any texts; without any letter the share is 0.
    """
    letters = unspaced = 0
    for text in texts:
        if text.isascii():
            letters += sum(map(str.isalpha, text))
            continue
        unspaced += len(_ONE.findall(text))
        letters += len(_LETTER.findall(text))
    return min(1.0, unspaced / letters) if letters else 0.0
