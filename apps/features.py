"""Write the features of videos, for models that read features."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError, UsageError, one_line, printable, typed
from .shell.outputs import outputs

if TYPE_CHECKING:
    import torch

    from ..core.vision.encoders import FrameEncoder
    from ..data.video.files import LabelledFile

_CHUNK = 64  # pictures that go through the network at a time


def features(
    source: str,
    *videos: str,
    out: str = "features",
    weights: str = "default",
    image_size: int = 224,
    stride: int = 1,
    places: int = 1,
    unlabelled: str = "background",
    test_fraction: float = 0.2,
    device: str = "cpu",
    trust: str = "",
) -> None:
    """Write what a network sees in the frames of videos, in the layout of MS-TCN.

    features/NAME.npy has (D, T) numbers. Where all videos have labels, groundTruth, mapping.txt and
    splits are written, too, so that `unrolled fit video/segmentation --data.root OUT` reads them.

    Args:
        source: A checkpoint of a model that labels videos, or the name of a torchvision model, as
            resnet18.
        *videos: Video files, folders of pictures, folders of such.
        out: The folder for what is written, made if it is not there.
        weights: Of a torchvision model: default (downloaded), a file, or none for random ones.
        image_size: Side of the square pictures of a torchvision model; a checkpoint has its own.
        stride: Take one of so many frames.
        places: Cut the picture into places x places parts, with the features of each.
        unlabelled: The class of frames that have no label.
        test_fraction: Share of the videos for the test, where no folders train and test say which.
        device: Where to run, for instance cpu or cuda.
        trust: Packages of your own, with commas in between, whose classes the checkpoint may name.
    """
    for name, value in (("stride", stride), ("image_size", image_size), ("places", places)):
        if value < 1:
            raise UsageError(f"--{name} {value}: must be at least 1.")
    if not 0 <= test_fraction < 1:
        raise UsageError(f"--test_fraction {test_fraction}: must be at least 0 and below 1.")
    encoder, size = _encoder(source, weights, image_size, places, device, trust)
    found, parts = _found(videos)
    targets = outputs([file.path for file in found], str(Path(out) / "features"), "--out")
    truth: dict[str, tuple[LabelledFile, Any]] = {}
    broken = 0
    for file in found:
        target = targets[file.path].with_name(f"{targets[file.path].name}.npy")
        try:
            timing = _write(encoder, file.path, target, size, stride, device)
        except DataError as error:
            broken += 1
            target.unlink(missing_ok=True)
            print(f"unrolled: {printable(str(error))}", file=sys.stderr)
            continue
        print(f"{one_line(file.path)}: {timing.frames} frames: {one_line(target)}", flush=True)
        truth[target.stem] = (file, timing)
    if truth and all(file.labels or file.label for file, _ in truth.values()):
        by_name = {targets[file.path].name: parts.get(file.name, "") for file in found}
        _write_labels(Path(out), truth, by_name, unlabelled, stride, test_fraction)
    if broken:
        raise DataError(f"{broken} of {len(found)} video(s) could not be read.")


def _encoder(
    source: str, weights: str, image_size: int, places: int, device: str, trust: str
) -> tuple[FrameEncoder, int]:
    """Return what makes features of pictures, and the side of these."""
    from ..core import FrameEncoder
    from ..core.vision.backbones import TorchvisionBackbone

    if Path(source).exists() or "/" in source or source.endswith(".ckpt"):
        from ..checkpoints import find_checkpoint
        from ..tasks.video.model import VideoModel
        from .shell.models import open_model

        path = find_checkpoint(source)
        model = open_model(path, VideoModel, "look at videos", device=device, trust=trust)
        if not isinstance(model.encoder, FrameEncoder):
            raise UsageError(f"'{source}' holds a model of features: it has no encoder of frames.")
        return model.encoder.eval(), model.spec["image_size"]
    try:
        encoder = FrameEncoder(
            lambda: TorchvisionBackbone(source, weights=weights, frozen=True), places=places
        )
    except ValueError as error:
        hint = ".\nIts flag is --weights FILE, a file with a state dict."
        raise UsageError(f"{error}{hint if 'weights' in str(error) else ''}") from error
    return encoder.to(device).eval(), image_size


def _found(videos: Sequence[str]) -> tuple[list[LabelledFile], dict[str, str]]:
    """Return the videos with the labels that they have, and the parts where folders say so."""
    from ..data.video.files import LabelledFile, find_videos
    from ..data.video.media import is_pictures, media_in

    found: list[LabelledFile] = []
    parts: dict[str, str] = {}
    for name in videos:
        path = Path(name)
        if not path.is_dir() or is_pictures(path):
            found.append(LabelledFile(path.name, path, None, ""))
            continue
        try:
            inside = find_videos(path)
        except DataError as error:
            there = media_in(path).videos
            if not there:
                raise
            print(f"unrolled: without labels: {printable(str(error))}", file=sys.stderr)
            found += [LabelledFile(one.name, one, None, "") for one in there]
            continue
        found += inside.videos
        parts |= inside.parts
    return found, parts


def _write(
    encoder: FrameEncoder, path: Path, target: Path, size: int, stride: int, device: str
) -> Any:
    """Write the features of a video, and return its timing."""
    import numpy as np
    import torch

    from ..data.video.annotations.segments import Timing
    from ..data.video.frames import prefetch, read_frames

    times: list[float] = []
    waiting: list[torch.Tensor] = []
    made: list[torch.Tensor] = []

    def encode() -> None:
        with torch.inference_mode():
            made.append(encoder(torch.stack(waiting).to(device)).float().cpu())
        waiting.clear()

    for frame in prefetch(read_frames(path, image_size=size, stride=stride)):
        times.append(frame.time)
        if frame.picture is not None:
            waiting.append(frame.picture)
        if len(waiting) == _CHUNK:
            encode()
    if waiting:
        encode()
    np.save(target, torch.cat(made).t().contiguous().numpy())  # (D, T)
    return Timing(len(times), np.array(times))


def _write_labels(
    out: Path,
    truth: dict[str, tuple[LabelledFile, Any]],
    parts: dict[str, str],
    unlabelled: str,
    stride: int,
    test_fraction: float,
) -> None:
    """Write groundTruth, mapping.txt and splits."""
    from ..data.splits import draw
    from ..data.video.annotations.segments import ends_of
    from ..data.video.media import natural

    ends, _ = ends_of([file.labels for file, _ in truth.values() if file.labels])
    occurring = {name for file, _ in truth.values() for name in file.names()} | {unlabelled}
    classes = [unlabelled, *sorted(occurring - {unlabelled}, key=natural)]
    numbers = {name: number for number, name in enumerate(classes)}
    (out / "groundTruth").mkdir(exist_ok=True)
    said = {}
    for name, (file, timing) in truth.items():
        labels = file.labels.with_ends(ends) if file.labels else None
        its = file._replace(labels=labels).numbers(numbers, timing, unlabelled=unlabelled)
        # of a row that says that there is no label, too
        said[name] = [classes[max(number, 0)] for number in its[::stride].tolist()]
    if not any(unlabelled in names for names in said.values()):
        classes.remove(unlabelled)
    for name, names in said.items():
        lines = "".join(f"{label}\n" for label in names)
        (out / "groundTruth" / f"{name}.txt").write_text(lines, encoding="utf-8")
    mapping = "".join(f"{number} {name}\n" for number, name in enumerate(classes))
    (out / "mapping.txt").write_text(mapping, encoding="utf-8")
    train, test = draw(list(truth), test_fraction, 0)
    if any(parts.values()):
        train = [name for name in truth if parts[name] != "test"]
        test = [name for name in truth if parts[name] == "test"]
    (out / "splits").mkdir(exist_ok=True)
    for part, names in (("train", train), ("test", test)):
        bundle = "".join(f"{name}.txt\n" for name in names)
        (out / "splits" / f"{part}.split1.bundle").write_text(bundle, encoding="utf-8")
    print(
        f"{len(truth)} videos with {len(classes)} classes: "
        f"unrolled fit video/segmentation --data.root {typed(out)}"
    )
