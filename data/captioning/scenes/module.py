"""Rendered scenes with sentences about them: captioning data that every machine can make.

The truth is known, so a caption can be held against it exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from lightning.pytorch.utilities import rank_zero_info

from ....errors import UsageError, at_least
from ...arrays import cached_array
from ...cache import cache_folder, cached_json, key_of
from ...splits import PARTS, Part
from ..base import CaptioningData
from ..pictures import KeptPictures
from .drawing import draw_scene
from .language import Scene, holds, sentences
from .pictures import SIDE, picture

# of everything that decides how scenes, sentences and pictures come out: part of the cache's key
_VERSION = 1
_RENDERED_AT_ONCE = 256
_SCENE, _SENTENCES, _PICTURE = 0, 1, 2  # first part of the seeds


class ScenesData(CaptioningData):
    """Scenes of one to three objects, 64 x 64 pixels, with several true sentences about each.

    Objects differ in shape, colour and size; sentences also say how many there are and how they
    lie. Training, validation and test share no sentence and no composition of different objects.
    Scenes, sentences and pictures are the same wherever the seed is; sentences and pictures are
    made once and kept.

    Args:
        train_size: Number of training scenes.
        val_size: Number of validation scenes; 0 for none.
        test_size: Number of test scenes; 0 for none.
        num_captions: Sentences about each scene; a scene of which less can be said has fewer.
        batch_size: Images in a batch of one process; each comes with all its captions.
        captions_per_image: So many captions of each image in a training batch, drawn anew each
            epoch; None: all.
        num_workers: Processes that prepare batches ahead. The main process is fast enough.
        seed: Start of the pseudo-random numbers.
        cache_dir: Folder for the pictures; None for UNROLLED_CACHE or the user's cache folder.
        cache_features: Keep what a frozen backbone makes of the pictures, in half precision, and
            train on that.
        spec: A checkpoint's spec: use its words. None for the data's own.

    Examples:
        >>> data = ScenesData(4, 2, test_size=0, batch_size=2)
        >>> data.prepare_data()
        >>> data.setup("fit")
        >>> batch = next(iter(data.train_dataloader()))
        >>> batch.image.shape
        torch.Size([2, 3, 64, 64])
        >>> len(batch.references)
        2
    """

    def __init__(
        self,
        train_size: int = 20_000,
        val_size: int = 1000,
        *,
        test_size: int = 1000,
        num_captions: int = 5,
        batch_size: int = 64,
        captions_per_image: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
        cache_dir: str | None = None,
        cache_features: bool = False,
        spec: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            image_size=SIDE,
            min_count=1,
            batch_size=batch_size,
            captions_per_image=captions_per_image,
            num_workers=num_workers,
            seed=seed,
            cache_dir=cache_dir,
            cache_features=cache_features,
            spec=spec,
        )
        at_least(1, train_size=train_size, num_captions=num_captions)
        at_least(0, val_size=val_size, test_size=test_size)
        if self.image_size != SIDE:
            raise UsageError(
                f"The checkpoint's model takes pictures of {self.image_size} pixels, and the "
                f"scenes have {SIDE}."
            )
        self.sizes: dict[Part, int] = {"train": train_size, "val": val_size, "test": test_size}
        self.num_captions = num_captions
        self._scene = lru_cache(None)(self._draw_scene)
        self._references = lru_cache(None)(self._write_references)

    def remedy(self, part: Part) -> str:
        """Return what to do about an empty part."""
        return f"Set --data.{part}_size above 0."

    def _random(self, purpose: int, part: Part, number: int) -> np.random.Generator:
        return np.random.default_rng([purpose, self.seed, PARTS.index(part), number])

    def _draw_scene(self, part: Part, number: int) -> Scene:
        return draw_scene(part, self._random(_SCENE, part, number))

    def _write_references(self, part: Part) -> list[tuple[str, ...]]:
        name = key_of("sentences", _VERSION, self.seed, part, self.sizes[part], self.num_captions)
        file = cache_folder(self.cache_dir, kind="captions") / f"sentences-{name}.json"
        return [tuple(texts) for texts in cached_json(file, lambda: self._write(part))]

    def _write(self, part: Part) -> list[tuple[str, ...]]:
        rank_zero_info(
            f"Sentences about {self.sizes[part]:,} {part} scenes are made once and kept."
        )
        return [
            sentences(
                self.scene(part, number),
                self.num_captions,
                self._random(_SENTENCES, part, number),
            )
            for number in range(self.sizes[part])
        ]

    def scene(self, part: Part, number: int) -> Scene:
        """Return what a picture shows.

        Args:
            part: The part.
            number: The image's number.
        """
        return self._scene(part, number)

    def references(self, part: Part) -> list[tuple[str, ...]]:
        """Return the sentences about each scene of a part."""
        return self._references(part)

    def pictures(self, part: Part) -> KeptPictures:
        """Return the pictures of a part, drawn now if they are not in the cache."""
        size = self.sizes[part]
        name = key_of("scenes", _VERSION, self.seed, part, size)
        file = cache_folder(self.cache_dir, kind="captions") / f"scenes-{name}.npy"
        drawn = cached_array(file, size, lambda: self._draw(part))
        return KeptPictures(drawn, [file.name])

    def _draw(self, part: Part) -> Iterator[npt.NDArray[np.uint8]]:
        size = self.sizes[part]
        rank_zero_info(f"{size:,} {part} scenes are drawn once and kept.")
        for begin in range(0, size, _RENDERED_AT_ONCE):
            numbers = range(begin, min(begin + _RENDERED_AT_ONCE, size))
            yield np.stack(
                [
                    picture(self.scene(part, number), self._random(_PICTURE, part, number))
                    for number in numbers
                ]
            )

    def judge(self, part: Part, number: int, caption: str) -> bool:
        """Say whether a caption names every object in full, and all that it states is so.

        Args:
            part: The image's part.
            number: The image's number.
            caption: What a model says.
        """
        return holds(caption, self.scene(part, number))
