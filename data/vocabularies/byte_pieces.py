"""Pieces of bytes as the `tokenizers` library writes them, a character for each byte."""

from __future__ import annotations


def _characters() -> list[str]:
    """Return the character by which the library shows each byte, as GPT-2 chose them."""
    seen = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in seen]
    table = {byte: chr(byte) for byte in seen}
    table |= {byte: chr(0x100 + n) for n, byte in enumerate(others)}
    return [table[byte] for byte in range(256)]


BYTES = _characters()
BYTE_OF = {character: byte for byte, character in enumerate(BYTES)}


def name_of(piece: bytes) -> str:
    """Return what a piece of bytes is called: its text, if that is what no other is called.

    Args:
        piece: Its bytes.
    """
    try:
        name = piece.decode()
    except UnicodeDecodeError:
        return f"0x{piece.hex()}"
    if "▁" in name:
        return f"0x{piece.hex()}"
    return f"▁{name[1:]}" if len(name) > 1 and name[0] == " " else name


def shown(piece: str) -> str:
    """Return what a piece is called.

    Args:
        piece: As the library writes it.
    """
    if any(character not in BYTE_OF for character in piece):
        return piece
    return name_of(bytes(BYTE_OF[character] for character in piece))
