"""Vocabularies: what turns text into numbers and back. They need neither torch nor Lightning."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import UsageError, quoted
from .vocabularies.characters import ByteVocabulary as ByteVocabulary
from .vocabularies.characters import CharacterVocabulary as CharacterVocabulary
from .vocabularies.characters import Ids as Ids
from .vocabularies.characters import UnknownCharacters as UnknownCharacters
from .vocabularies.characters import code_points as code_points
from .vocabularies.words import WordVocabulary as WordVocabulary

if TYPE_CHECKING:
    from .vocabularies.subwords import SubwordVocabulary

_SURROGATE = re.compile("[\ud800-\udfff]")

Vocabulary: TypeAlias = "CharacterVocabulary | ByteVocabulary | WordVocabulary | SubwordVocabulary"


def vocabulary_from_spec(spec: Mapping[str, Any]) -> Vocabulary:
    """Return the vocabulary that `to_spec` described.

    Args:
        spec: A `VocabularySpec`.

    Raises:
        UsageError: If it is no such description.
    """
    if not isinstance(spec, Mapping):
        raise UsageError(
            f"A vocabulary is described by its kind and symbols, not by '{quoted(spec)}'."
        )
    kind, symbols = spec.get("kind"), spec.get("symbols")
    if kind == "bytes":
        return ByteVocabulary()
    if kind == "words" and isinstance(symbols, str) and _SURROGATE.search(symbols) is None:
        return WordVocabulary(symbols.split())
    if kind == "subwords" and isinstance(symbols, str):
        from .vocabularies.subwords import SubwordVocabulary  # imports `tokenizers`

        return SubwordVocabulary.from_symbols(symbols)
    # half a character, which no text has and no terminal takes, has no UTF-8
    if kind == "characters" and isinstance(symbols, str) and _SURROGATE.search(symbols) is None:
        return CharacterVocabulary(symbols)
    raise UsageError(
        f"No vocabulary has kind {quoted(kind)!r} and symbols of type {type(symbols).__name__}; "
        "the kind is 'characters' (with the symbols as a string of whole ones), 'bytes', 'words' "
        "or 'subwords'."
    )
