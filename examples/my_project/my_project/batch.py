"""What the data and the task have to agree on.

Shapes: B names, T characters of the longest.
"""

from typing import NamedTuple, TypedDict

from torch import Tensor
from unrolled.data import Device, VocabularySpec, moved


class NamesSpec(TypedDict):
    """What a model has to know of the names: characters and languages, each by number."""

    vocabulary: VocabularySpec
    languages: list[str]


class NamesBatch(NamedTuple):
    """Characters (B, T) and languages (B,), int64; the names' lengths (B,) stay on the CPU."""

    input: Tensor
    target: Tensor
    lengths: Tensor

    def to(self, device: Device) -> "NamesBatch":
        """Return the batch with what the model computes with on a device."""
        input, target = moved(device, self.input, self.target)
        return self._replace(input=input, target=target)
