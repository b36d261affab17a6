"""Data modules, and the pieces they are made of: sources, vocabularies, samplers, the resumable loader.

Names are resolved at first use, so that a vocabulary can be read without importing Lightning.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import DataModule
    from .batch import TextBatch
    from .loader import ResumableLoader
    from .sampler import StreamSampler
    from .text import TextData
    from .vocabulary import ByteVocabulary, CharacterVocabulary, vocabulary_from_spec

_MODULES = {
    "ByteVocabulary": "vocabulary",
    "CharacterVocabulary": "vocabulary",
    "DataModule": "base",
    "ResumableLoader": "loader",
    "StreamSampler": "sampler",
    "TextBatch": "batch",
    "TextData": "text",
    "vocabulary_from_spec": "vocabulary",
}

__all__ = [
    "ByteVocabulary",
    "CharacterVocabulary",
    "DataModule",
    "ResumableLoader",
    "StreamSampler",
    "TextBatch",
    "TextData",
    "vocabulary_from_spec",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
