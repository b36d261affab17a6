"""Features with a label for every frame, in the layout of MS-TCN.

Shapes: T frames of a video, D features, s stride.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from ...errors import DataError, UsageError, some
from ..spec import VideoSpec
from ..splits import Part, draw
from .base import VideoLabellingData
from .ms_tcn import Video, feature_shape, read_bundle, read_features, read_labels, read_mapping

Layout = Literal["auto", "features_first", "time_first"]


class FeatureVideo(NamedTuple):
    """A video's features and labels, a `LabelledVideo`.

    Attributes:
        name: Its name.
        labels: Its class numbers (T,) int64.
        file: The file of its features.
        transposed: Whether that holds (D, T).
        stride: s, one of so many frames is read.
    """

    name: str
    labels: npt.NDArray[np.int64]
    file: Path
    transposed: bool
    stride: int

    def read(self, begin: int, end: int) -> Tensor:
        """Return `begin` to `end` (exclusive) of the frames that are read, (n, D) float32."""
        begin, end = begin * self.stride, end * self.stride
        return read_features(self.file, begin, end, transposed=self.transposed, stride=self.stride)


class SegmentationData(VideoLabellingData):
    r"""Features with a label for every frame, as MS-TCN has them: Breakfast, 50Salads, GTEA, more.

    The folder holds `features/NAME.npy`, `groundTruth/NAME.txt` with a line for each frame,
    `mapping.txt` with a number and a name on each line, and `splits/{train,test}.splitN.bundle`
    with a video on each line. The bundles have no validation part: it is carved from the training
    videos, the same for all runs with one seed, so that the test videos choose nothing.

    Args:
        root: The folder.
        split: Which of the splits.
        background: Names of the classes that edit and F1 leave out; null for none, or for the
            checkpoint's.
        val_fraction: Share of the training videos for validation, at least one; 0 for none.
        val_seed: Start of the pseudo-random numbers that choose the validation videos.
        stride: s, read one of so many frames. Scores are at the full rate: a label holds until the
            next frame read.
        layout: Which axis of a feature file comes first: `features_first` (D, T) as MS-TCN's, or
            `time_first` (T, D). `auto` takes the axis of which all files have the same size for the
            features; where that does not decide, the one that is not as long as the labels.
        normalize: Subtract each feature's mean and divide by its standard deviation, both over the
            training part; they are kept in the spec.
        batch_size: Videos of each process in a batch.
        chunk_length: Train on chunks of so many frames, with the state carried from one to the next
            without its gradient; null: on whole videos, which a core that reads backwards needs.
        windows: Train on random windows of `chunk_length` frames instead, each from a fresh state.
        eval_chunk_length: The chunks of validation and test; only memory depends on it. null: whole
            videos.
        num_workers: Processes that prepare batches ahead.
        seed: Start of the pseudo-random numbers that order the training videos.
        spec: A checkpoint's spec: its classes, its features. None for the folder's own.

    Examples:
        >>> root = Path("salads")
        >>> for folder in ("features", "groundTruth", "splits"):
        ...     (root / folder).mkdir(parents=True)
        >>> _ = (root / "mapping.txt").write_text("0 cut\n1 mix\n")
        >>> for name in ("one", "two"):
        ...     np.save(root / f"features/{name}.npy", np.zeros((16, 3), np.float32))  # (D, T)
        ...     _ = (root / f"groundTruth/{name}.txt").write_text("cut\ncut\nmix\n")
        >>> _ = (root / "splits/train.split1.bundle").write_text("one.txt\n")
        >>> _ = (root / "splits/test.split1.bundle").write_text("two.txt\n")
        >>> data = SegmentationData("salads", val_fraction=0)
        >>> data.prepare_data()
        >>> data.setup("fit")
        >>> batch = next(iter(data.train_dataloader()))
        >>> batch.input.shape, batch.target
        (torch.Size([3, 16]), tensor([[0, 0, 1]]))
    """

    pictures = False

    def __init__(
        self,
        root: str,
        *,
        split: int = 1,
        background: list[str] | None = None,
        val_fraction: float = 0.2,
        val_seed: int = 0,
        stride: int = 1,
        layout: Layout = "auto",
        normalize: bool = False,
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
        if not 0 <= val_fraction < 1:
            raise UsageError(
                f"val_fraction is {val_fraction}; it has to be at least 0 and below 1."
            )
        self.root = Path(root)
        self.split = split
        self.val_fraction = val_fraction
        self.val_seed = val_seed
        self.layout: Layout = layout
        self.normalize = normalize

    @cached_property
    def classes(self) -> list[str]:
        """Names of the classes: the checkpoint's where one was given, else those of mapping.txt."""
        if self.spec_override is not None:
            return list(self.spec_override["classes"])
        return read_mapping(self.root / "mapping.txt")

    @cached_property
    def parts(self) -> dict[Part, list[str]]:
        """Names of each part's videos.

        Raises:
            DataError: A bundle is missing or empty, names a video twice or one that is not there,
                or one that the other bundle names, too.
        """
        bundles = {
            part: read_bundle(self.root / "splits", part, self.split) for part in ("train", "test")
        }
        known = {path.stem for path in (self.root / "groundTruth").glob("*.txt")}
        unknown = [name for names in bundles.values() for name in names if name not in known]
        if unknown:
            raise DataError(
                f"Split {self.split} names {len(unknown)} video(s) without a file in "
                f"{self.root / 'groundTruth'}: {some(unknown)}."
            )
        if both := sorted(set(bundles["train"]) & set(bundles["test"])):
            raise DataError(
                f"Split {self.split} has {len(both)} video(s) in both train and test: "
                f"{some(both)}.\nA test of videos that were trained on says nothing: take "
                "them out of one bundle."
            )
        train, val = draw(bundles["train"], self.val_fraction, self.val_seed)
        return {"train": train, "val": val, "test": bundles["test"]}

    @cached_property
    def files(self) -> dict[str, Video]:
        """All videos of the split, their labels read and the shapes of their features known.

        Raises:
            DataError: A file is missing, damaged or does not fit the others.
        """
        numbers = {name: number for number, name in enumerate(self.classes)}
        found = {}
        for name in (name for names in self.parts.values() for name in names):
            features = self.root / "features" / f"{name}.npy"
            labels = read_labels(self.root / "groundTruth" / f"{name}.txt", numbers)
            found[name] = Video(name, features, feature_shape(features, name), labels)
        return found

    @cached_property
    def transposed(self) -> bool:
        """Whether the files hold (D, T).

        Raises:
            DataError: A file has another width than the others, or another number of frames than
                labels.
        """
        videos = list(self.files.values())
        transposed = self._is_transposed(videos)
        widths = Counter(video.shape[0 if transposed else 1] for video in videos)
        width = widths.most_common(1)[0][0]
        if self.spec_override is not None:
            width = int(self.spec_override["feature_size"])
        for video in videos:
            frames, found = video.shape[::-1] if transposed else video.shape
            if found != width:
                others = (
                    "the checkpoint's model takes"
                    if self.spec_override is not None
                    else "the other files have"
                )
                raise DataError(f"{video.features}: {found} features a frame; {others} {width}.")
            if frames != len(video.labels):
                raise DataError(
                    f"{video.name}: {frames} frames of features in {video.features}, "
                    f"{len(video.labels)} labels in {self.root / 'groundTruth'}; there has to be a "
                    "label for every frame."
                )
        return transposed

    def _is_transposed(self, videos: list[Video]) -> bool:
        if self.layout != "auto":
            return self.layout == "features_first"
        same = [
            Counter(video.shape[axis] for video in videos).most_common(1)[0][1] for axis in (0, 1)
        ]
        if same[0] != same[1]:
            return same[0] > same[1]
        fits = [sum(video.shape[axis] == len(video.labels) for video in videos) for axis in (0, 1)]
        return fits[1] >= fits[0]

    def own_spec(self) -> dict[str, Any]:
        """Return the classes and the features as plain data, a `VideoSpec`."""
        video = next(iter(self.files.values()))
        spec = VideoSpec(
            classes=self.classes,
            background=[],
            feature_size=video.shape[0 if self.transposed else 1],
            image_size=0,
            stride=self.stride,
        )
        if self.normalize:
            mean, deviation = self._moments()
            spec["feature_mean"], spec["feature_deviation"] = mean.tolist(), deviation.tolist()
        return dict(spec)

    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of each feature over the training part."""
        count, total, squares = 0, 0.0, 0.0
        for name in self.parts["train"]:
            video = self.files[name]
            features = (
                read_features(video.features, 0, len(video.labels), transposed=self.transposed)
                .double()
                .numpy()
            )
            count, total, squares = (
                count + len(features),
                total + features.sum(0),
                squares + (features**2).sum(0),
            )
        mean = np.asarray(total / count)
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
        # a constant feature stays one
        return mean, np.where(deviation > 1e-6 * np.abs(mean), deviation, 1.0)

    def setup(self, stage: str) -> None:
        """Find what is wrong with the files before anything is trained, and say what there is.

        Features that are no numbers are found now if there is less than a gigabyte of them, else
        when they are read.
        """
        if sum(video.features.stat().st_size for video in self.files.values()) < 1e9:
            for video in self.files.values():
                read_features(video.features, 0, len(video.labels), transposed=self.transposed)
        order = "(D, T)" if self.transposed else "(T, D)"
        rank_zero_info(
            f"{self.root}, split {self.split}: {self.told()}; {len(self.classes)} classes, "
            f"{self.spec['feature_size']} features, files hold {order}"
        )

    def videos(self, part: Part) -> list[FeatureVideo]:
        """Return the videos of a part; none where it was asked to be empty."""
        found = (self.files[name] for name in self.parts[part])
        return [
            FeatureVideo(video.name, video.labels, video.features, self.transposed, self.stride)
            for video in found
        ]
