"""From prompts to symbols, and from symbols to the text that is written."""

from __future__ import annotations

import unicodedata
from typing import Any, Literal, TypeAlias

from ...data.formats.letters import composed
from ...data.vocabulary import (
    ByteVocabulary,
    CharacterVocabulary,
    Ids,
    UnknownCharacters,
    Vocabulary,
    WordVocabulary,
)

Text: TypeAlias = str | bytes


def encoded_prompt(
    vocabulary: Vocabulary, prompt: Text, unknown: Literal["error", "skip"] = "error"
) -> Ids:
    """Return the ids of a prompt.

    Args:
        vocabulary: The model's.
        prompt: Text; or bytes, where the symbols are bytes.
        unknown: What to do with a symbol that the vocabulary lacks.

    Raises:
        UnknownCharacters: The vocabulary lacks some.
        ValueError: The prompt is bytes, and the vocabulary is one of text.
    """
    try:
        if isinstance(vocabulary, ByteVocabulary):
            return vocabulary.encode(prompt)
        return vocabulary.encode(as_known(vocabulary, _text(prompt, "prompt")), unknown=unknown)
    except UnknownCharacters as error:
        remedy = "Write without them, or leave them out with unknown='skip' (--unknown skip)."
        raise error.told(where="The prompt", remedy=remedy) from None


def as_known(vocabulary: Vocabulary, text: str) -> str:
    """Return a text as a vocabulary of characters or words has it: in NFC, where it lacks some.

    Args:
        vocabulary: The model's.
        text: The text, which may have been typed with accents as characters of their own.
    """
    if composed(text) or not isinstance(vocabulary, CharacterVocabulary | WordVocabulary):
        return text
    lacks = vocabulary.UNKNOWN in vocabulary.encode(text, unknown="replace")
    return unicodedata.normalize("NFC", text) if lacks else text


def as_text(written: Text) -> str:
    """Return what a model wrote as text that can be shown, bytes as UTF-8.

    Args:
        written: Text or bytes.
    """
    return written.decode("utf-8", "replace") if isinstance(written, bytes) else written


class Writer:
    """Turns the symbols of one text into the text, until it ends.

    Args:
        vocabulary: What the symbols are.
        stop: The text ends before the first place where it says this.
        after: The symbol before the text.

    Attributes:
        finished: Whether the text has ended.

    Raises:
        ValueError: `stop` is empty, or bytes where the vocabulary is one of text.
    """

    def __init__(self, vocabulary: Vocabulary, stop: Text | None = None, *, after: int = 0) -> None:
        self.finished = False
        self._end = vocabulary.END
        self._decoder = vocabulary.decoder(after)
        self._held: Any = self._decoder.push([])  # nothing yet, text or bytes
        self._stop: Any = None
        if stop is None:
            return
        if not stop:
            raise ValueError(f"stop={stop!r}: every text begins with that; leave it out")
        if isinstance(vocabulary, ByteVocabulary):
            self._stop = vocabulary.decode_bytes(vocabulary.encode(stop))
        else:
            self._stop = _text(stop, "stop")

    def push(self, symbol: int) -> Any:
        """Return what is certain after one more symbol; nothing once the text has ended.

        Args:
            symbol: Its number.
        """
        if self.finished:
            return self._held
        if symbol == self._end:
            return self.finish()
        return self._checked(self._decoder.push([symbol]))

    def finish(self) -> Any:
        """Return what was held back, and end the text."""
        if self.finished:
            return self._held
        rest = self._checked(self._decoder.finish()) + self._held
        self.finished, self._held = True, self._held[:0]
        return rest

    def _checked(self, piece: Any) -> Any:
        """Return the text so far but for what may be the beginning of `stop`."""
        text, stop = self._held + piece, self._stop
        if stop is None:
            return text
        if (place := text.find(stop)) >= 0:
            self.finished, self._held = True, text[:0]
            return text[:place]
        held = next(
            n for n in range(min(len(stop) - 1, len(text)), -1, -1) if text.endswith(stop[:n])
        )
        self._held = text[len(text) - held :]
        return text[: len(text) - held]


def _text(given: Text, name: str) -> str:
    if isinstance(given, bytes):
        raise ValueError(
            f"{name} is bytes, but the model writes text: decode it, as in {name}.decode()"
        )
    return given
