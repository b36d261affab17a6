"""Data modules, and what they are made of: sources, vocabularies, samplers, the resumable loader.

Names are imported at their first use, so that a vocabulary can be read without Lightning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy_names

if TYPE_CHECKING:
    from .base import DataModule as DataModule
    from .batch import Device as Device
    from .batch import TextBatch as TextBatch
    from .batch import moved as moved
    from .batch import padded as padded
    from .captioning.captions import CaptionData as CaptionData
    from .captioning.given import CaptionFeatures as CaptionFeatures
    from .captioning.scenes.module import ScenesData as ScenesData
    from .loader import ResumableLoader as ResumableLoader
    from .samplers import Items as Items
    from .samplers import ItemSampler as ItemSampler
    from .samplers import Sampler as Sampler
    from .spec import VocabularySpec as VocabularySpec
    from .splits import Part as Part
    from .splits import draw as draw
    from .text.module import TextData as TextData
    from .text.sampler import StreamSampler as StreamSampler
    from .tokenizer import Subwords as Subwords
    from .translation.cldr.module import CLDRData as CLDRData
    from .translation.parallel import ParallelData as ParallelData
    from .video.clips.module import ClipsData as ClipsData
    from .video.pose.module import PoseData as PoseData
    from .video.segmentation import SegmentationData as SegmentationData
    from .video.videos import VideoData as VideoData
    from .vocabulary import ByteVocabulary as ByteVocabulary
    from .vocabulary import CharacterVocabulary as CharacterVocabulary
    from .vocabulary import vocabulary_from_spec as vocabulary_from_spec

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
