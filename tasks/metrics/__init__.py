"""Metrics that no library has, as torchmetrics Metrics."""

from .text import BitsPerCharacter

__all__ = ["BitsPerCharacter"]
