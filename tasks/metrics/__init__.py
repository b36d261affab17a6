"""Metrics that no library has, as torchmetrics Metrics."""

from .segmentation import FrameMAP, SegmentationScores
from .text import BitsPerCharacter, SacreBLEU

__all__ = ["BitsPerCharacter", "FrameMAP", "SegmentationScores"]
