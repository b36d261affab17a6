"""Built-in clips: drawn, encoded as real H.264 files, and read back as any other video is.

Shapes: S side of the square pictures.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from lightning.pytorch.utilities import rank_zero_info

from ....errors import DataError, UsageError, at_least
from ...cache import cache_folder, cached, key_of
from ...spec import VideoSpec
from ...splits import PARTS, Part
from ..base import VideoLabellingData
from ..labels import read_frame_labels, write_segments
from ..stored import PictureVideo, open_pictures
from .drawing import BACKGROUND, CLASSES, draw_clip
from .steps import Steps

_FORMAT = 5  # of the clips: raise it when they change
_CLIP_BYTES = 37_000  # of a clip at 48 pixels, about
_FRAMES_PER_SECOND = 25
_SHORTEST, _LONGEST = 48, 80  # frames of a clip


class ClipsData(VideoLabellingData):
    """Drawn clips in which a shape moves, grows, shrinks or blinks, with a label for every frame.

    They are made once, as H.264 files with a CSV of segments beside each, in a folder of the cache
    that `--data.root` of `VideoData` reads as well. No single frame tells the actions apart.

    Args:
        image_size: S, the side of the clips in pixels, an even number.
        train_clips: Clips of the training part, of 48 to 80 frames each.
        val_clips: Clips of the validation part.
        test_clips: Clips of the test part.
        clip_seed: Start of the pseudo-random numbers that the clips are drawn from.
        stride: Read one of so many frames. Scores are at the full rate: a label holds until the
            next frame read.
        batch_size: Clips of each process in a batch.
        chunk_length: The most frames of each of them in a batch of the training part, where the
            model's state goes on from batch to batch without its gradient; null: whole clips. A
            core that reads backwards needs whole clips.
        eval_chunk_length: The same for validation and test; only memory depends on it.
        num_workers: Processes that prepare batches ahead. The clips are decoded once: none is
            needed.
        seed: Start of the pseudo-random numbers that order the training clips.
        cache_dir: Folder for the clips and their decoded frames; null for UNROLLED_CACHE or the
            user's cache folder.
        spec: A checkpoint's spec: its classes, image size and stride. None for the data's own.

    Examples:
        >>> data = ClipsData(image_size=16, train_clips=2, val_clips=1, test_clips=0, batch_size=2)
        >>> data.prepare_data()
        >>> data.setup("fit")
        >>> batch = next(iter(data.train_dataloader()))
        >>> len(batch.input) == batch.lengths.sum(), batch.input.shape[1:]
        (tensor(True), torch.Size([3, 16, 16]))
    """

    def __init__(
        self,
        *,
        image_size: int = 48,
        train_clips: int = 640,
        val_clips: int = 40,
        test_clips: int = 60,
        clip_seed: int = 0,
        stride: int = 1,
        batch_size: int = 4,
        chunk_length: int | None = None,
        eval_chunk_length: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
        cache_dir: str | None = None,
        spec: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            stride=stride,
            batch_size=batch_size,
            chunk_length=chunk_length,
            eval_chunk_length=eval_chunk_length,
            num_workers=num_workers,
            seed=seed,
            spec=spec,
        )
        at_least(0, train_clips=train_clips, val_clips=val_clips, test_clips=test_clips)
        at_least(0, clip_seed=clip_seed)
        self.cache_dir = cache_dir
        self.image_size = image_size if spec is None else int(spec["image_size"])
        self.clips: dict[Part, int] = {"train": train_clips, "val": val_clips, "test": test_clips}
        self.clip_seed = clip_seed
        if self.image_size < 16 or self.image_size % 2:
            raise UsageError(
                f"image_size is {self.image_size}; clips have an even number of pixels, at least "
                "16."
            )

    def own_spec(self) -> dict[str, Any]:
        """Return the classes and the pictures as plain data, a `VideoSpec`."""
        return dict(
            VideoSpec(
                classes=list(CLASSES),
                background=[BACKGROUND],
                feature_size=0,
                image_size=self.image_size,
                stride=self.stride,
            )
        )

    @cached_property
    def folder(self) -> Path:
        """The clips' folder, one folder for each part in it; made where it is not there yet."""
        settings = [_FORMAT, self.image_size, *self.clips.values(), self.clip_seed]
        folder = cache_folder(self.cache_dir, kind="video") / f"clips-{key_of(*settings)}"

        def make(made: Path) -> None:
            clips = sum(self.clips.values())
            megabytes = clips * _CLIP_BYTES * (self.image_size / 48) ** 2 / 1e6
            kept = clips * _LONGEST * 3 * self.image_size**2 / 1e6
            rank_zero_info(
                f"Making {clips} clips in {folder}: once, some seconds; {megabytes:.0f} MB, and up "
                f"to {kept:.0f} MB beside them for their pictures as they are trained on"
            )
            self._make(made)

        return cached(folder, make)

    def _make(self, folder: Path) -> None:
        drawn = Steps("clips", sum(self.clips.values()))
        for number, part in enumerate(PARTS):
            (folder / part).mkdir(parents=True)
            for clip in range(self.clips[part]):
                random = np.random.default_rng([self.clip_seed, number, clip])
                frames = int(random.integers(_SHORTEST, _LONGEST + 1))
                pictures, labels = draw_clip(random, frames=frames, size=self.image_size)
                write_video(folder / part / f"{clip:04}.mp4", pictures)
                write_segments(folder / part / f"{clip:04}.csv", labels, CLASSES)
                drawn.step()

    def remedy(self, part: Part) -> str:
        """Return what to do about an empty part, as a sentence."""
        return f"Set --data.{part}_clips above 0."

    def videos(self, part: Part) -> list[PictureVideo]:
        """Return the clips of a part."""
        numbers = {name: number for number, name in enumerate(self.spec["classes"])}
        if unknown := sorted(set(CLASSES) - set(numbers)):
            raise DataError(
                f"The checkpoint's model doesn't know {', '.join(unknown)}, which are in the "
                "built-in clips.\n"
                "It was trained on other videos: name them, unrolled test video/files --data.root "
                "DIR."
            )
        cache = cache_folder(self.cache_dir, kind="video")
        videos = []
        for clip in range(self.clips[part]):
            path = self.folder / part / f"{clip:04}.mp4"
            pictures = open_pictures(
                path, image_size=self.image_size, stride=self.stride, cache=cache
            )
            table = read_frame_labels(path.with_suffix(".csv"))
            if self.several:
                labels = table.several_labels(numbers, pictures.timing)
            else:
                labels = table.one_label(numbers, pictures.timing)
            videos.append(PictureVideo(f"{part}/{path.name}", labels, pictures))
        return videos


def write_video(path: Path, pictures: Iterable[npt.NDArray[np.uint8]]) -> None:
    """Write pictures as an H.264 file, nearly without loss.

    Args:
        path: The file, its suffix naming the container.
        pictures: RGB (H, W, 3) each, H and W even and the same for all.
    """
    import av

    with av.open(str(path), "w") as container:
        # one thread: with more, the encoder's decisions would depend on their number; no macroblock
        # tree: with AVX-512 it reads memory that it has not written, and no two files are the same
        options = {"crf": "20", "preset": "veryfast", "threads": "1", "x264-params": "mbtree=0"}
        stream = container.add_stream("libx264", rate=_FRAMES_PER_SECOND, options=options)
        stream.pix_fmt = "yuv420p"
        for number, picture in enumerate(pictures):
            if number == 0:
                stream.height, stream.width = picture.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
