"""What a model has to know of images and their captions."""

from __future__ import annotations

from typing import TypedDict

from ..tokenizer import SubwordsSpec


class CaptionSpec(TypedDict):
    """Plain data, kept in the checkpoint.

    Attributes:
        vocabulary: The words or subwords, as `Subwords.to_spec` says them.
        image_size: Side of the square pictures, in pixels.
    """

    vocabulary: SubwordsSpec
    image_size: int
