"""The batches: all that tasks know of data.

Lightning moves whatever has a method `to`. What a core reads to find its way (lengths, resets,
numbers) stays on the CPU then, where it is read without waiting for a GPU.

Shapes: B batch, T time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

Device = torch.device | str


def moved(device: Device, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Return tensors on a device; pinned ones go to a GPU while the CPU works on.

    Args:
        device: The device.
        tensors: The tensors.
    """
    # to a CPU, the call would return before the numbers are there; so it was on MPS (pytorch#83015)
    overlap = torch.device(device).type not in ("cpu", "mps")
    return tuple(tensor.to(device, non_blocking=overlap) for tensor in tensors)


def padded(rows: Iterable[ArrayLike]) -> tuple[Tensor, Tensor]:
    """Return rows of ids as one tensor (B, T), padded with 0, and their lengths (B,), both int64.

    Args:
        rows: The ids of each row; a batch of no rows is one, too.
    """
    tensors = [torch.tensor(row, dtype=torch.int64) for row in rows]
    lengths = torch.tensor([len(row) for row in tensors], dtype=torch.int64)
    if not tensors:
        return torch.zeros(0, 0, dtype=torch.int64), lengths
    return nn.utils.rnn.pad_sequence(tensors, batch_first=True), lengths


class TextBatch(NamedTuple):
    """One chunk of B parallel streams; the next batch goes on where this one ends.

    Attributes:
        input: Symbols, (B, T) int64.
        target: The symbol after each input, (B, T) int64.
        reset: True where the state has to be replaced by the initial one before that step, (B, T)
            bool, on the CPU.
        lengths: Steps that are real in each row, (B,) int64; below T only in the last chunk of an
            epoch, possibly 0, on the CPU.
        start: The number of each row's first pair in its part (B,) int64, on the CPU; None: not
            known.
    """

    input: Tensor
    target: Tensor
    reset: Tensor
    lengths: Tensor
    start: Tensor | None = None

    def to(self, device: Device) -> TextBatch:
        """Return the batch with its symbols on a device."""
        input, target = moved(device, self.input, self.target)
        return self._replace(input=input, target=target)


class TranslationBatch(NamedTuple):
    """Pairs of sentences.

    Attributes:
        source: Ids (B, S) int64, padded with 0; each row ends with the end symbol.
        source_lengths: Ids of each row (B,) int64, the end symbol included, on the CPU.
        target: Ids (B, T) int64, padded with 0; each row ends with the end symbol, none has a start
            symbol.
        target_lengths: Ids of each row (B,) int64, on the CPU.
        number: The pairs' numbers in their part (B,) int64, on the CPU.
        reference: The raw target text of each row.
    """

    source: Tensor
    source_lengths: Tensor
    target: Tensor
    target_lengths: Tensor
    number: Tensor
    reference: tuple[str, ...]

    def to(self, device: Device) -> TranslationBatch:
        """Return the batch with its ids on a device."""
        source, target = moved(device, self.source, self.target)
        return self._replace(source=source, target=target)


class VideoBatch(NamedTuple):
    """Pieces of videos, a label for every frame.

    Attributes:
        input: The valid frames only, row after row: features (N, D) float, or pictures (N, 3, H, W)
            uint8, N the sum of the lengths.
        target: Class numbers (B, T) int64, -100 where there is no label or no frame. Where one of s
            frames is read and the labels of all are known, (B, T * s): those of each frame and of
            the s - 1 after it.
        lengths: Frames of each row (B,) int64, on the CPU.
        first: Whether the row's video begins here (B,) bool, on the CPU; else it goes on where the
            batch before ended.
        last: Whether the row's video ends here (B,) bool, on the CPU.
        name: The videos' names.
    """

    input: Tensor
    target: Tensor
    lengths: Tensor
    first: Tensor
    last: Tensor
    name: tuple[str, ...]

    def to(self, device: Device) -> VideoBatch:
        """Return the batch with its frames and labels on a device."""
        input, target = moved(device, self.input, self.target)
        return self._replace(input=input, target=target)


class CaptionBatch(NamedTuple):
    """Images and sentences about them; an image is there once, however many captions it has.

    Attributes:
        image: Pictures (N, 3, H, W) uint8, or what a frozen backbone made of them (N, P, D)
            float16; or given features (N, P, D) float32, padded.
        caption: Ids (B, T) int64, padded with 0; each row ends with the end symbol, none has a
            start symbol.
        lengths: Ids of each row (B,) int64, on the CPU.
        image_of: Which of the N images each caption is about (B,) int64.
        number: The images' numbers in their part (N,) int64, on the CPU.
        references: Every reference of each image, raw text.
        places: How many of the P are real in each image (N,) int64, on the CPU; None: all.
    """

    image: Tensor
    caption: Tensor
    lengths: Tensor
    image_of: Tensor
    number: Tensor
    references: tuple[tuple[str, ...], ...]
    places: Tensor | None = None

    def to(self, device: Device) -> CaptionBatch:
        """Return the batch with its images and captions on a device."""
        image, caption, image_of = moved(device, self.image, self.caption, self.image_of)
        return self._replace(image=image, caption=caption, image_of=image_of)
