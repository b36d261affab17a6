"""The vocabulary of a language model as plain JSON, and back."""

from __future__ import annotations

import json
from typing import Any

from ...data.vocabulary import (
    ByteVocabulary,
    CharacterVocabulary,
    Vocabulary,
    WordVocabulary,
)


def readable(vocabulary: Vocabulary) -> dict[str, Any]:
    """Return a vocabulary as people read it: what each id stands for.

    Subwords are in the form of the `tokenizers` library, whose ids are one less.

    Args:
        vocabulary: The vocabulary.
    """
    symbols: list[Any]
    if isinstance(vocabulary, ByteVocabulary):
        symbols = [None, *range(256)]
    elif isinstance(vocabulary, CharacterVocabulary):
        symbols = [None, None, *vocabulary.symbols]
    elif isinstance(vocabulary, WordVocabulary):
        symbols = [None, None, "\n", *vocabulary.symbols]
    else:
        found: dict[str, Any] = json.loads(vocabulary.as_tokenizer())
        return found
    return {
        "kind": vocabulary.kind,
        "end": vocabulary.END,
        "never_written": list(vocabulary.never_written),
        "symbols": symbols,
    }


def symbols_of(kind: str, said: dict[str, Any]) -> str:
    """Return the symbols of a vocabulary's spec.

    Args:
        kind: The vocabulary's.
        said: What `readable` returned.
    """
    if kind == "subwords":
        return "\n".join(f"{first} {second}" for first, second in said["model"]["merges"])
    if kind == "bytes":
        return ""
    symbols = [one for one in said["symbols"] if one is not None]
    return " ".join(symbols[1:]) if kind == "words" else "".join(symbols)
