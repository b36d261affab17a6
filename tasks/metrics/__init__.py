"""Metrics that no library has, as torchmetrics Metrics."""

from .caption import CaptionScores
from .cider import CiderD
from .edits import PhonemeErrorRate, WordErrorRate
from .frames import FrameF1, SeveralLabels
from .segmentation import FrameMAP, SegmentationScores
from .text import BitsPerCharacter, SacreBLEU

__all__ = [
    "BitsPerCharacter",
    "CaptionScores",
    "CiderD",
    "FrameF1",
    "FrameMAP",
    "PhonemeErrorRate",
    "SacreBLEU",
    "SegmentationScores",
    "SeveralLabels",
    "WordErrorRate",
]
