"""The images and captions of a part, read as batches.

Shapes: N images, P places of a grid, D features, T ids of a caption, S side of a picture.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..arrays import ArrayFile, array_writer
from ..batch import CaptionBatch
from ..cache import cached, key_of
from ..samplers import Items
from ..tokenizer import Subwords

# First part of the seeds, so that draws for different purposes are independent.
_CAPTIONS, _PICTURES, _VIEWS = 1, 2, 3
_FORMAT = 1  # of encoded captions in the cache
_IDS, _BEGINS = "ids.npy", "begins.npy"
_ENCODED_AT_ONCE = 10_000  # captions; the library's own form of them takes much memory


class PictureStore(Protocol):
    """The pictures of a part, by number. They travel to other processes."""

    @property
    def identity(self) -> list[Any]:
        """Plain data that changes whenever a picture does."""

    def read(self, number: int) -> Tensor | None:
        """Return a picture (3, S, S) uint8, or None for a bad one that is to be left out."""


class Augmentation(Protocol):
    """Changes a picture at random."""

    @property
    def identity(self) -> list[Any]:
        """Plain data that changes whenever what it does changes."""

    def __call__(self, picture: Tensor, random: np.random.Generator) -> Tensor:
        """Return the changed picture, (3, S, S) uint8."""


class Encoded(NamedTuple):
    """The captions of a part as ids, in flat arrays: a million captions are no million objects.

    Attributes:
        ids: The ids of all captions, one after another, each with the end symbol.
        begins: Where each caption begins in `ids`, and the end of the last.
        captions: Which captions each image has: the first's number, and the number after the
            last's.
    """

    ids: npt.NDArray[np.int32]
    begins: npt.NDArray[np.int64]
    captions: npt.NDArray[np.int64]


def encode_captions(
    references: Sequence[Sequence[str]], vocabulary: Subwords, folder: Path
) -> Encoded:
    """Return the captions of a part as ids, from the cache if they were encoded before.

    Args:
        references: The captions of each image, as they are to be learnt.
        vocabulary: The words.
        folder: The cache.
    """
    texts = [text for captions in references for text in captions]
    key = key_of(_FORMAT, texts, vocabulary.to_spec())
    made = cached(folder / f"encoded-{key}", lambda made: _encode(texts, vocabulary, made))
    return Encoded(
        ids=ArrayFile(made / _IDS)[:],
        begins=ArrayFile(made / _BEGINS)[:],
        captions=np.cumsum([0, *map(len, references)], dtype=np.int64),
    )


def _encode(texts: Sequence[str], vocabulary: Subwords, folder: Path) -> None:
    folder.mkdir()
    lengths = [0]
    with array_writer(folder / _IDS, np.int32) as add:
        for first in range(0, len(texts), _ENCODED_AT_ONCE):
            rows = [
                [*row, Subwords.END]
                for row in vocabulary.encode_batch(texts[first : first + _ENCODED_AT_ONCE])
            ]
            add(np.fromiter(itertools.chain.from_iterable(rows), np.int32))
            lengths += map(len, rows)
    with array_writer(folder / _BEGINS, np.int64) as add:
        add(np.cumsum(lengths, dtype=np.int64))


class CaptionDataset:
    """The images and captions of a part, read as batches.

    Args:
        pictures: The pictures.
        references: The captions of each image.
        encoded: The same as ids.
        image_size: S.
        seed: Start of the pseudo-random numbers.
        captions_per_image: So many of each image's captions, drawn anew each epoch; None: all.
        augmentation: Changes the pictures; None: leaves them.
        features: What a frozen backbone made of the pictures, (all images, P, D) float16, to be
            read instead of them; of several views of them each image's is drawn anew each epoch.
        feature_size: D of given features (P, D) float32, which `pictures` are then; 0: they are
            none.
    """

    def __init__(
        self,
        pictures: PictureStore,
        references: Sequence[tuple[str, ...]],
        encoded: Encoded,
        *,
        image_size: int,
        seed: int = 0,
        captions_per_image: int | None = None,
        augmentation: Augmentation | None = None,
        features: Sequence[ArrayFile] = (),
        feature_size: int = 0,
    ) -> None:
        self._pictures = pictures
        self._references = references
        self._encoded = encoded
        self._image_size = image_size
        self._seed = seed
        self._captions_per_image = captions_per_image
        self._augmentation = augmentation
        self._features = features
        self._feature_size = feature_size

    def __len__(self) -> int:
        return len(self._references)

    def __getitem__(self, items: Items) -> CaptionBatch:
        """Return a batch; pictures that can't be read and may be left out are left out."""
        numbers, places = list(items.numbers), None
        if self._features:
            features = self._view(numbers, items.epoch)  # (N, P, D)
            whole = ~np.isnan(features[:, 0, 0])
            image = torch.from_numpy(features[whole])
            numbers = [number for number, there in zip(numbers, whole, strict=True) if there]
        else:
            pictures = {number: self._picture(number, items.epoch) for number in numbers}
            numbers = [number for number in numbers if pictures[number] is not None]
            image, places = self._together(
                [picture for picture in pictures.values() if picture is not None]
            )
        chosen = [self._chosen(number, items.epoch) for number in numbers]
        rows = [self._ids(one) for captions in chosen for one in captions]
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
        caption = torch.full(
            (len(rows), max(map(len, rows), default=1)), Subwords.PAD, dtype=torch.int64
        )
        for row, ids in zip(caption, rows, strict=True):
            row[: len(ids)] = torch.from_numpy(ids)
        return CaptionBatch(
            image=image,
            caption=caption,
            lengths=lengths,
            image_of=torch.arange(len(numbers)).repeat_interleave(
                torch.tensor([*map(len, chosen)], dtype=torch.int64)
            ),
            number=torch.tensor(numbers, dtype=torch.int64),
            references=tuple(self._references[number] for number in numbers),
            places=places,
        )

    def _view(self, numbers: list[int], epoch: int) -> npt.NDArray[np.float16]:
        """Return kept features, of each image those of the view that is its turn."""
        if len(self._features) == 1:
            return self._features[0][numbers]
        rows = []
        for number in numbers:
            random = np.random.default_rng([_VIEWS, self._seed, epoch, number])
            rows.append(self._features[int(random.integers(len(self._features)))][number])  # (P, D)
        return np.stack(rows)

    def _together(self, pictures: list[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Return pictures as one tensor; or given features, padded, and how many rows are real."""
        if self._feature_size:
            places = torch.tensor([*map(len, pictures)], dtype=torch.int64)
            rows = pictures or [torch.empty(0, self._feature_size)]
            image = nn.utils.rnn.pad_sequence(rows, batch_first=True)  # (N, P, D)
            return image[: len(pictures)], places
        size = self._image_size
        empty = torch.empty(0, 3, size, size, dtype=torch.uint8)
        return torch.stack(pictures) if pictures else empty, None

    def _picture(self, number: int, epoch: int) -> Tensor | None:
        picture = self._pictures.read(number)
        if picture is None or self._augmentation is None:
            return picture
        return self._augmentation(
            picture, np.random.default_rng([_PICTURES, self._seed, epoch, number])
        )

    def _chosen(self, number: int, epoch: int) -> list[int]:
        first, end = self._encoded.captions[number : number + 2].tolist()
        if self._captions_per_image is None or end - first <= self._captions_per_image:
            return list(range(first, end))
        random = np.random.default_rng([_CAPTIONS, self._seed, epoch, number])
        return sorted(
            (first + random.permutation(end - first)[: self._captions_per_image]).tolist()
        )

    def _ids(self, caption: int) -> npt.NDArray[np.int32]:
        begin, end = self._encoded.begins[caption : caption + 2].tolist()
        return self._encoded.ids[begin:end]
