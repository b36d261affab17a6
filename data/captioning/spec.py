"""What a model has to know of images and their captions, and what its training asks of the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypedDict, runtime_checkable

from torch import Tensor

from ..tokenizer import SubwordsSpec


class CaptionSpec(TypedDict):
    """Plain data, kept in the checkpoint.

    Attributes:
        vocabulary: The words or subwords, as `Subwords.to_spec` says them.
        image_size: Side of the square pictures, in pixels.
    """

    vocabulary: SubwordsSpec
    image_size: int


@runtime_checkable
class CaptionKnowledge(Protocol):
    """What the training of captions asks of a data module; `CaptioningData` answers."""

    def references(self, part: Literal["train", "val", "test"]) -> Sequence[Sequence[str]]:
        """Return the captions of each image of a part, in the order of the images' numbers."""

    def use_features(self, encode: Callable[[Tensor], Tensor], key: Callable[[], str]) -> None:
        """Take a frozen backbone's features, and what they depend on, for a cache of them."""

    def judge(
        self, part: Literal["train", "val", "test"], number: int, caption: str
    ) -> bool | None:
        """Say whether a caption of an image is exactly right, None where the data can't tell."""
