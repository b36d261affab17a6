"""Data modules, and the pieces they are made of: sources, vocabularies, samplers, the resumable loader.

Names are resolved at first use, so that a vocabulary can be read without importing Lightning.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import DataModule
    from .batch import TextBatch
    from .captioning.captions import CaptionData
    from .captioning.scenes.module import ScenesData
    from .loader import ResumableLoader
    from .text.module import TextData
    from .text.sampler import StreamSampler
    from .tokenizer import Subwords
    from .translation.cldr.module import CLDRData
    from .translation.parallel import ParallelData
    from .video.clips.module import ClipsData
    from .video.segmentation import SegmentationData
    from .video.videos import VideoData
    from .vocabulary import ByteVocabulary, CharacterVocabulary, vocabulary_from_spec

_MODULES = {
    "ByteVocabulary": "vocabulary",
    "CLDRData": "translation.cldr.module",
    "CaptionData": "captioning.captions",
    "CharacterVocabulary": "vocabulary",
    "ClipsData": "video.clips.module",
    "DataModule": "base",
    "ParallelData": "translation.parallel",
    "ResumableLoader": "loader",
    "ScenesData": "captioning.scenes.module",
    "SegmentationData": "video.segmentation",
    "StreamSampler": "text.sampler",
    "Subwords": "tokenizer",
    "TextBatch": "batch",
    "TextData": "text.module",
    "VideoData": "video.videos",
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
