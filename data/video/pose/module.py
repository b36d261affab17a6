"""Tables of poses with a label for every frame.

Shapes: T frames of a video, D features, s stride.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from ....errors import DataError, UsageError, some
from ...spec import VideoSpec
from ...splits import PARTS, Part, draw, shares
from ..annotations.reading import STRONG, AnnotationReading, read_annotations
from ..annotations.segments import Annotation, Timing, ends_of
from ..annotations.tables import chosen_columns
from ..base import VideoLabellingData
from ..media import natural
from .tables import features_of, read_pose


class PoseVideo(NamedTuple):
    """A video's poses and labels, a `LabelledVideo`.

    Attributes:
        name: Its name.
        labels: The class of every frame (T,) int64, -100 where it has none; or (T, C).
        features: Its features (T, D) float32.
        stride: s, one of so many frames is read.
    """

    name: str
    labels: npt.NDArray[np.int64]
    features: npt.NDArray[np.float32]
    stride: int

    def read(self, begin: int, end: int) -> Tensor:
        """Return `begin` to `end` (exclusive) of the frames that are read, (n, D) float32."""
        frames = self.features[begin * self.stride : end * self.stride : self.stride]
        return torch.from_numpy(frames.copy())


class PoseData(VideoLabellingData):
    r"""Poses with a label for every frame: DeepLabCut's tables, or SLEAP's analysis files.

    `clip.h5` or `clipDLC_resnet50.csv` has its labels in `clip.csv` (or as `VideoData` reads them)
    beside it. Parts that are not sure lie where they were last; the body's middle is subtracted,
    and its length is the unit.

    Args:
        root: The folder. Its sub-folders train, val and test, where there are any, are the parts.
        center: The part of the body that is its middle; null: the mean of all.
        scale: Divide by the body's length.
        least: What is less sure than this was not found.
        fps: Frames a second, for labels in seconds.
        stride: s, read one of so many frames. Scores are at the full rate.
        classes: Names of the classes in the order of their numbers; null: those that occur, sorted.
        background: Names of the classes that edit and F1 leave out; null: none, or the
            checkpoint's.
        unlabelled: Name of the class of frames that no label is for; null: they count nowhere.
        columns: See `VideoData`.
        unit: See `VideoData`.
        ends: See `VideoData`.
        tiers: See `VideoData`.
        val_fraction: Share of the videos for validation where no folders say which; 0 for none.
        test_fraction: The same for the test.
        split_seed: Start of the pseudo-random numbers that choose those videos.
        batch_size: Videos of each process in a batch.
        chunk_length: The most frames of each of them in a batch of the training part; null: whole.
        windows: Train on random windows of `chunk_length` frames instead.
        eval_chunk_length: The same for validation and test.
        num_workers: Processes that prepare batches ahead.
        seed: Start of the pseudo-random numbers that order the training videos.
        spec: A checkpoint's spec. None for the folder's own.

    Examples:
        >>> folder = Path("mice/train")
        >>> folder.mkdir(parents=True)
        >>> lines = ["scorer,net,net,net,net", "bodyparts,nose,nose,tail,tail", "coords,x,y,x,y"]
        >>> lines += ["0,1,2,4,6", "1,2,2,5,6", "2,3,2,6,6"]
        >>> _ = (folder / "one.csv").write_text("\n".join(["start,end,label", "0,3,walk"]))
        >>> _ = (folder / "oneDLC_net.csv").write_text("\n".join(lines))
        >>> data = PoseData("mice")
        >>> data.prepare_data()
        >>> data.setup("fit")
        >>> batch = next(iter(data.train_dataloader()))
        >>> batch.input.shape, batch.target  # two parts; the body's step and length
        (torch.Size([3, 7]), tensor([[0, 0, 0]]))
    """

    pictures = False

    def __init__(
        self,
        root: str,
        *,
        center: str | None = None,
        scale: bool = True,
        least: float = 0.6,
        fps: float | None = None,
        stride: int = 1,
        classes: list[str] | None = None,
        background: list[str] | None = None,
        unlabelled: str | None = None,
        columns: str | None = None,
        unit: Literal["auto", "frames", "seconds"] = "auto",
        ends: Literal["auto", "excluded", "included"] = "auto",
        tiers: list[str] | None = None,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        batch_size: int = 8,
        chunk_length: int | None = None,
        windows: bool = False,
        eval_chunk_length: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
        spec: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            stride=stride,
            batch_size=batch_size,
            chunk_length=chunk_length,
            eval_chunk_length=eval_chunk_length,
            windows=windows,
            num_workers=num_workers,
            seed=seed,
            background=background,
            spec=spec,
        )
        shares(val_fraction, test_fraction, all_of_it=False)  # checks them
        if not 0 <= least <= 1:
            raise UsageError(f"least is {least}; it has to be from 0 to 1.")
        if fps is not None and not 0 < fps < 1e6:
            raise UsageError(f"fps is {fps}; it has to be above 0.")
        self.root = Path(root)
        self.settings: dict[str, Any] = {"center": center, "scale": scale, "least": least}
        if spec is not None:
            self.settings |= spec.get("pose") or {}
        self.fps = fps
        self.classes = classes
        self.unlabelled = unlabelled
        self.reading = AnnotationReading(chosen_columns(columns), unit, ends, tiers)
        self.fractions = {"val": val_fraction, "test": test_fraction}
        self.split_seed = split_seed
        self._videos: dict[Part, list[PoseVideo]] = {}

    @cached_property
    def found(self) -> dict[str, tuple[Path, Annotation]]:
        """The tables of poses and their labels, by name.

        Raises:
            DataError: There are none, or some lack their labels.
        """
        if not self.root.is_dir():
            raise DataError(f"There is no folder '{self.root}'.")
        there = {path for path in self.root.rglob("*") if _is_pose(path)}
        # DeepLabCut writes the same table twice: the CSV needs no library
        twice = {
            path for path in there if path.suffix != ".csv" and path.with_suffix(".csv") in there
        }
        files = sorted(there - twice, key=lambda path: natural(str(path)))
        if not files:
            raise DataError(
                f"'{self.root}' holds no tables of poses: DeepLabCut's .csv or .h5, SLEAP's .h5."
            )
        tables = {path: _labels_beside(path) for path in files}
        if bare := [path.name for path, table in tables.items() if table is None]:
            raise DataError(
                f"{len(bare)} table(s) of poses in '{self.root}' have no labels: {some(bare)}.\n"
                "Put clip.csv (start,end,label) beside clip.h5 or clipDLC....csv."
            )
        read = {
            path: read_annotations(table, self.reading) for path, table in tables.items() if table
        }
        for path, those in read.items():
            if len(those) > 1:
                raise DataError(
                    f"'{those[0].path}' is about {len(those)} videos, not '{path.name}'."
                )
        ends, reason = ends_of([those[0] for those in read.values()])
        rank_zero_info(f"{self.root}: the last frame of a segment is {ends} {reason}".strip())
        return {
            path.relative_to(self.root).as_posix(): (path, those[0].with_ends(ends))
            for path, those in read.items()
        }

    @cached_property
    def parts(self) -> dict[Part, list[str]]:
        """Names of each part's videos."""
        names = list(self.found)
        by_folder: dict[Part, list[str]] = {
            part: [name for name in names if name.split("/")[0] == part] for part in PARTS
        }
        if any(by_folder.values()):
            if not by_folder["val"]:
                by_folder["train"], by_folder["val"] = draw(
                    by_folder["train"], self.fractions["val"], self.split_seed, 1
                )
            return by_folder
        rest, test = draw(names, self.fractions["test"], self.split_seed, 2)
        share = self.fractions["val"] / (1 - self.fractions["test"])
        train, val = draw(rest, share, self.split_seed, 1)
        return {"train": train, "val": val, "test": test}

    def own_spec(self) -> dict[str, Any]:
        """Return the classes and the features as plain data, a `VideoSpec`."""
        occurring = {name for _, labels in self.found.values() for name in labels.names()}
        if self.unlabelled is not None:
            occurring.add(self.unlabelled)
        first, _ = next(iter(self.found.values()))
        spec = VideoSpec(
            classes=self.classes or sorted(occurring, key=natural),
            background=[],
            feature_size=features_of(read_pose(first), **self.settings).shape[1],
            image_size=0,
            stride=self.stride,
            pose=dict(self.settings),
        )
        return dict(spec)

    def setup(self, stage: str) -> None:
        """Say what there is."""
        rank_zero_info(
            f"{self.root}: {self.told()}; {len(self.spec['classes'])} classes, "
            f"{self.spec['feature_size']} features"
        )
        if unlabelled := self.told_unlabelled():
            rank_zero_info(f"{unlabelled} --data.unlabelled none makes a class of them.")

    def videos(self, part: Part) -> list[PoseVideo]:
        """Return the videos of a part.

        Raises:
            DataError: A table can't be read, has other parts, or its labels don't fit.
        """
        if part not in self._videos:
            self._videos[part] = [self._open(name) for name in self.parts[part]]
        return self._videos[part]

    def _open(self, name: str) -> PoseVideo:
        path, labels = self.found[name]
        features = features_of(read_pose(path), **self.settings)
        if features.shape[1] != self.spec["feature_size"]:
            raise DataError(
                f"'{path}' gives {features.shape[1]} features a frame; the others give "
                f"{self.spec['feature_size']}: have they the same parts and individuals?"
            )
        numbers = {name: number for number, name in enumerate(self.spec["classes"])}
        times = np.arange(len(features)) / self.fps if self.fps else np.full(len(features), np.nan)
        timing = Timing(len(features), times)
        if self.several:
            classes = labels.several_labels(numbers, timing)
        else:
            classes = labels.one_label(numbers, timing, unlabelled=self.unlabelled)
        return PoseVideo(name, classes, features, self.stride)


def _is_pose(path: Path) -> bool:
    """Say whether a file is a table of poses: SLEAP's, or a CSV that begins as DeepLabCut's."""
    if path.name.startswith(".") or not path.is_file():
        return False
    if path.suffix.lower() in (".h5", ".hdf5"):
        return True
    if path.suffix.lower() != ".csv":
        return False
    with path.open("rb") as file:
        return file.read(16).lstrip(b"\xef\xbb\xbf").startswith(b"scorer")


def _labels_beside(path: Path) -> Path | None:
    """Return the file with a video's labels: of the pose's name, up to DLC or .analysis."""
    stems = [path.stem, path.stem.partition("DLC")[0], path.stem.removesuffix(".analysis")]
    for stem in dict.fromkeys(stems):
        for suffix in STRONG:
            place = path.with_name(stem + suffix)
            if stem and place.is_file() and not _is_pose(place):
                return place
    return None
