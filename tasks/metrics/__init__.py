"""Metrics that no library has, as torchmetrics Metrics."""

from .caption import CaptionScores
from .cider import CiderD
from .edits import PhonemeErrorRate, WordErrorRate
from .segmentation import FrameMAP, SegmentationScores
from .text import BitsPerCharacter, SacreBLEU

__all__ = [
    "BitsPerCharacter",
    "CaptionScores",
    "CiderD",
    "FrameMAP",
    "PhonemeErrorRate",
    "SacreBLEU",
    "SegmentationScores",
    "WordErrorRate",
]
