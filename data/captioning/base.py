"""What the data modules of captioning share: batches of images with their captions, words, the feature cache.

Shapes: N images, P places of a grid, D features, S side of a picture.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from ...errors import UsageError
from ..arrays import ArrayFile, cached_array, digest
from ..base import DataModule, Part
from ..batch import CaptionBatch
from ..cache import cache_folder
from ..loader import ResumableLoader
from ..tokenizer import Subwords
from .dataset import Augmentation, CaptionDataset, Encoded, Pictures, encode_captions
from .sampler import ImageSampler
from .spec import CaptionSpec

_ENCODED_AT_ONCE = 64


@runtime_checkable
class CaptionKnowledge(Protocol):
    """What a captioning task asks of its data module, beside batches; `CaptioningData` has it all.

    A task asks by `isinstance`: with a data module that lacks one of these it does without them.
    """

    def references(self, part: Part) -> list[tuple[str, ...]]:
        """Return the captions of each image of a part, as they were written, by its number."""

    def judge(self, part: Part, number: int, caption: str) -> bool | None:
        """Say whether a caption is exactly right, None where the data can't tell.

        Args:
            part: The image's part.
            number: The image's number.
            caption: What a model says.
        """

    def use_features(self, encode: Callable[[Tensor], Tensor], key: Callable[[], str]) -> None:
        """Hear how features are made of pictures, for a user who wants them kept.

        Args:
            encode: Turns pictures (n, 3, S, S) uint8 into features (n, P, D).
            key: Names everything that the features depend on, save the pictures: backbone, weights,
                preprocessing.
        """


class CaptioningData(DataModule):
    """Images with sentences about them.

    A subclass says which images and captions a part has.

    Args:
        image_size: S, the side of the square pictures, in pixels.
        min_count: Words that are rarer in the training captions are unknown.
        batch_size: Images in a batch of one process; each comes with all its captions.
        captions_per_image: So many captions of each image in a training batch, drawn anew each
            epoch; None: all.
        num_workers: Processes that prepare batches ahead.
        seed: Start of the pseudo-random numbers.
        cache_dir: Folder for what is kept; None for UNROLLED_CACHE or the user's cache folder.
        cache_features: Keep what a frozen backbone makes of the pictures, in half precision, and
            train on that.
        spec: A checkpoint's spec: use its words and its picture size. None for the data's own.
    """

    def __init__(
        self,
        *,
        image_size: int,
        min_count: int,
        batch_size: int,
        captions_per_image: int | None,
        num_workers: int,
        seed: int,
        cache_dir: str | None,
        cache_features: bool,
        spec: dict[str, Any] | None,
    ) -> None:
        super().__init__(spec=spec)
        least = {
            "image_size": 1,
            "min_count": 1,
            "batch_size": 1,
            "captions_per_image": 1,
            "num_workers": 0,
            "seed": 0,
        }
        given = (image_size, min_count, batch_size, captions_per_image, num_workers, seed)
        for (name, low), value in zip(least.items(), given, strict=True):
            if value is not None and value < low:
                raise UsageError(f"{name} is {value}; it has to be at least {low}.")
        if spec is not None and not CaptionSpec.__annotations__.keys() <= spec.keys():
            raise UsageError(
                "The checkpoint's model was not made for captions: it knows no words and picture size."
            )
        self.image_size = image_size if spec is None else int(spec["image_size"])
        self.min_count = min_count
        self.batch_size = batch_size
        self.captions_per_image = captions_per_image
        self.num_workers = num_workers
        self.seed = seed
        self.cache_dir = cache_dir
        self.cache_features = cache_features
        self._encode: Callable[[Tensor], Tensor] | None = None
        self._encoder_key: Callable[[], str] | None = None

    @abstractmethod
    def references(self, part: Part) -> list[tuple[str, ...]]:
        """Return the captions of each image of a part, as they were written, in the order of the images' numbers."""

    @abstractmethod
    def pictures(self, part: Part) -> Pictures:
        """Return the pictures of a part, in the same order."""

    def learnt(self, caption: str) -> str:
        """Return a caption as it is to be learnt.

        Args:
            caption: As it was written.
        """
        return caption

    def augmentation(self) -> Augmentation | None:
        """Return what changes the training pictures, None for nothing."""
        return None

    def judge(self, part: Part, number: int, caption: str) -> bool | None:
        """Say whether a caption is exactly right, None where the data can't tell.

        Args:
            part: The image's part.
            number: The image's number.
            caption: What a model says.
        """
        return None

    @cached_property
    def vocabulary(self) -> Subwords:
        """The words: the checkpoint's where its spec was given, else those of the training captions."""
        if self.spec_override is not None:
            return Subwords.from_spec(self.spec_override["vocabulary"])
        texts = (self.learnt(text) for texts in self.references("train") for text in texts)
        return Subwords.train(
            texts, kind="word", size=2**31 - 1, lowercase=True, min_count=self.min_count
        )

    @property
    def spec(self) -> dict[str, Any]:
        """The words and the size of the pictures as plain data, a `CaptionSpec`."""
        return dict(CaptionSpec(vocabulary=self.vocabulary.to_spec(), image_size=self.image_size))

    def use_features(self, encode: Callable[[Tensor], Tensor], key: Callable[[], str]) -> None:
        """Say how features are made, for `cache_features`; both functions are called when a loader is made.

        Args:
            encode: Turns pictures (n, 3, S, S) uint8 into features (n, P, D).
            key: Names everything that the features depend on, save the pictures: backbone, weights,
                preprocessing.
        """
        self._encode, self._encoder_key = encode, key

    def features(self, part: Part) -> ArrayFile:
        """Return the features of a part's pictures, made now if they are not in the cache.

        Args:
            part: The part.

        Raises:
            UsageError: If nothing says how to make them.
            DataError: If a picture can't be read.
        """
        if self._encode is None or self._encoder_key is None:
            raise UsageError(
                "cache_features keeps what a frozen backbone makes of the pictures, and this model has none, or one "
                "that learns later. Freeze it and leave unfreeze_epoch out, or set --data.cache_features false."
            )
        length = len(self.references(part))
        pictures = self.pictures(part)
        name = digest([pictures.identity, self.image_size, self._encoder_key()])
        file = cache_folder(self.cache_dir, kind="captions") / f"features-{name}.npy"
        return cached_array(file, length, lambda: self._make_features(part, pictures, length))

    def _make_features(
        self, part: Part, pictures: Pictures, length: int
    ) -> Iterator[npt.NDArray[np.float16]]:
        assert self._encode is not None
        rank_zero_info(f"Features of {length:,} {part} images are made once and kept.")
        for begin in range(0, length, _ENCODED_AT_ONCE):
            read = [
                pictures.read(number)
                for number in range(begin, min(begin + _ENCODED_AT_ONCE, length))
            ]
            blank = torch.zeros(3, self.image_size, self.image_size, dtype=torch.uint8)
            with torch.no_grad():
                made = self._encode(
                    torch.stack([blank if picture is None else picture for picture in read])
                )
            features = made.to("cpu", torch.float16).numpy()
            # the data set leaves it out then
            features[[picture is None for picture in read]] = np.nan
            yield features

    def transfer_batch_to_device(
        self, batch: CaptionBatch, device: torch.device, dataloader_idx: int
    ) -> CaptionBatch:
        """Move images and captions; lengths and numbers stay on the CPU, where they are read without waiting."""
        return batch._replace(
            image=batch.image.to(device, non_blocking=True),
            caption=batch.caption.to(device, non_blocking=True),
            image_of=batch.image_of.to(device, non_blocking=True),
        )

    def loader(
        self, part: Part, *, epoch: int = 0, limit: int | float = 1.0
    ) -> ResumableLoader | None:
        """Return this process's loader of a part, None where it has no images.

        Args:
            part: The part.
            epoch: The epoch to start with.
            limit: The loader's `limit`.
        """
        references = self.references(part)
        if not references:
            return None
        train = part == "train"
        sampler = ImageSampler(
            len(references),
            batch_size=self.batch_size,
            shuffle=train and not getattr(self.trainer, "overfit_batches", 0),
            seed=self.seed,
            rank=self.rank,
            world_size=self.world_size,
        )
        dataset = CaptionDataset(
            self.pictures(part),
            references,
            self._encoded(part),
            image_size=self.image_size,
            seed=self.seed,
            captions_per_image=self.captions_per_image if train else None,
            augmentation=self.augmentation() if train else None,
            features=self.features(part) if self.cache_features else None,
        )
        return ResumableLoader(
            dataset,
            sampler,
            num_workers=self.num_workers,
            seed=self.seed,
            epoch=epoch,
            limit=limit,
            pin_memory=self.pin_memory,
        )

    def _encoded(self, part: Part) -> Encoded:
        return encode_captions(
            [[self.learnt(text) for text in texts] for texts in self.references(part)],
            self.vocabulary,
        )
