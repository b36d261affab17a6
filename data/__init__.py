"""Data modules, and the pieces they are made of: sources, vocabularies, samplers, the resumable loader.

Names are resolved at first use, so that a vocabulary can be read without importing Lightning.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import DataModule
    from .batch import TextBatch
    from .captions import CaptionData
    from .cldr import CLDRData
    from .clips import ClipsData
    from .loader import ResumableLoader
    from .parallel import ParallelData
    from .sampler import StreamSampler
    from .scenes import ScenesData
    from .segmentation import SegmentationData
    from .text import TextData
    from .tokenizer import Subwords
    from .videos import VideoData
    from .vocabulary import ByteVocabulary, CharacterVocabulary, vocabulary_from_spec

_MODULES = {
    "ByteVocabulary": "vocabulary",
    "CLDRData": "cldr",
    "CaptionData": "captions",
    "CharacterVocabulary": "vocabulary",
    "ClipsData": "clips",
    "DataModule": "base",
    "ParallelData": "parallel",
    "ResumableLoader": "loader",
    "ScenesData": "scenes",
    "SegmentationData": "segmentation",
    "StreamSampler": "sampler",
    "Subwords": "tokenizer",
    "TextBatch": "batch",
    "TextData": "text",
    "VideoData": "videos",
    "vocabulary_from_spec": "vocabulary",
}

__all__ = [
    "ByteVocabulary",
    "CLDRData",
    "CaptionData",
    "CharacterVocabulary",
    "ClipsData",
    "DataModule",
    "ParallelData",
    "ResumableLoader",
    "ScenesData",
    "SegmentationData",
    "StreamSampler",
    "Subwords",
    "TextBatch",
    "TextData",
    "VideoData",
    "vocabulary_from_spec",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
