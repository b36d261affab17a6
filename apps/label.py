"""Label every frame of videos."""

from __future__ import annotations

import csv
import math
import shutil
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ..errors import DataError, UnrolledError, UsageError, one_line
from .pictures.timeline import LabelBar, draw_timeline, palette
from .shell.exports import export_labels
from .shell.models import model_files, open_models
from .shell.outputs import left_out, outputs
from .shell.records import Format, Output, format_of

if TYPE_CHECKING:
    from ..data.video.live import Live
    from ..tasks.video.labels import FrameLabel
    from ..tasks.video.model import VideoModel

_COLUMNS = ("video", "frames", "seconds", "segments")
_REMEMBERED = 10_000  # frames whose latency counts; memory does not grow with the stream


def label(
    checkpoint: str,
    *videos: str,
    out: str | None = None,
    format: Format | None = None,
    overlay: bool = True,
    export: str = "",
    stream: bool = False,
    allow_network: bool = False,
    lines: Literal["frame", "change"] = "frame",
    chunk: int = 64,
    device: str = "cpu",
    trust: str = "",
) -> None:
    """Label every frame of videos.

    For each a CSV, a picture of the timeline, and the video with its labels burnt in; or, with
    --format, a record with its segments.

    Args:
        checkpoint: A checkpoint, or the folder of a run; several, with commas in between, speak as
            one: with the mean of their probabilities.
        *videos: Video files, folders of pictures, folders of such; .npy files for a model of
            features, tables of poses for one of poses; - is standard input. With --stream also 0
            for a camera, a FIFO, and rtsp:// with --allow_network.
        out: The folder for what is written, made if it is not there, `labels` unless given; of
            records the file, standard output unless given.
        format: Write one record for each video instead: its path, its frames, and its segments or
            what went wrong; null: as the name of --out ends, .tsv, .csv, .json or .jsonl, else
            files.
        overlay: Write the videos with their labels, too; false saves the time.
        export: Write the labels for other programs, too, where they can be corrected: boris, elan,
            or both with a comma in between.
        stream: Print labels as the frames come, one frame at a time, and the latency; nothing is
            written.
        allow_network: Let --stream open an rtsp:// address.
        lines: A line for every frame of a stream, or one where the label changes.
        chunk: Frames that are read at a time; memory depends on it, the labels don't.
        device: Where to run, for instance cpu or cuda.
        trust: Packages of your own, with commas in between, whose classes the checkpoint may name.
    """
    paths = model_files(checkpoint)
    if chunk < 1:
        raise UsageError(f"--chunk {chunk}: must be at least 1.")

    records = format or (format_of(Path(out)) if out else None)
    if stream and records:
        raise UsageError("--stream prints labels as they come; leave --format out, or --stream.")
    output = Output(_COLUMNS, records, out if records else None, [*videos, *paths])

    from ..tasks.video.model import VideoModel

    model = open_models(paths, VideoModel, "label videos", device=device, trust=trust)
    if stream and not model.causal:
        raise UsageError(
            f"--stream: the model's {type(model.core).__name__} reads the frames to come.\n"
            "Train one with a core that reads forwards only, or label whole videos, without "
            "--stream."
        )
    features = bool(model.spec["feature_size"])
    found = list(_found(videos, features=features, stream=stream, network=allow_network))
    exports = _exports(export)
    with tempfile.TemporaryDirectory(prefix="unrolled-") as folder, output:
        if not stream:
            found = [_rereadable(video, Path(folder)) for video in found]
        there = [video for video in found if isinstance(video, Path)]
        targets = {} if stream or records else outputs(there, out or "labels", "--out")
        for video in found:
            try:
                if isinstance(video, _Empty):
                    raise video.error
                if stream:
                    _stream(model, video, lines)
                elif isinstance(video, Path) and records:
                    output.put(_record(model, video, chunk))
                elif isinstance(video, Path):
                    _label(
                        model, video, targets[video], chunk=chunk, overlay=overlay, exports=exports
                    )
            except DataError as error:
                name = video if isinstance(video, Path) else video.name
                output.failed({"video": name}, error)
            output.flush()
        output.finish(len(found), "video(s)", "labelled")


class _Empty(NamedTuple):
    """A folder with nothing to label."""

    name: str
    error: DataError


def _exports(names: str) -> list[str]:
    found = [name.strip().lower() for name in names.split(",") if name.strip()]
    if wrong := [name for name in found if name not in ("boris", "elan")]:
        raise UsageError(f"--export {wrong[0]}: expected boris, elan or boris,elan.")
    return found


def _found(
    videos: Sequence[str], *, features: bool, stream: bool, network: bool
) -> Iterator[Path | Live | _Empty]:
    """Yield the videos that are named, and those in the folders that are."""
    from ..data.formats.folders import files_in, is_pipe, refuse_address
    from ..data.video.live import live_source
    from ..data.video.media import is_pictures, media_in, natural

    for name in videos:
        live = None if features else live_source(name, network=network)
        if live and stream:
            yield live
            continue
        if live and name != "-" and not is_pipe(name):
            raise UsageError(f"{live} is live: its labels are printed with --stream.")
        refuse_address(name)
        path = Path("/dev/stdin" if name == "-" else name)
        if not path.is_dir() or (not features and is_pictures(path)):
            yield path
            continue
        if features:
            there = sorted(files_in(path), key=lambda file: natural(str(file)))
            inside = [file for file in there if file.suffix.lower() in (".npy", ".h5")]
            others = [file for file in there if file not in set(inside)]
            what = "no feature files (.npy)"
        else:
            media = media_in(path)
            inside, others, what = media.videos, media.left_out, "neither videos nor pictures"
        if not inside:
            yield _Empty(name, DataError(f"'{name}' is a folder with {what} in it."))
        elif others:
            why = "no feature files" if features else "no videos"
            print(left_out(others, path, why), file=sys.stderr)
        yield from inside


def _rereadable(video: Path | Live | _Empty, folder: Path) -> Path | Live | _Empty:
    """Return a file that can be read twice, once for the labels and once for the pictures."""
    from ..data.formats.folders import is_pipe

    if not isinstance(video, Path) or not is_pipe(video):
        return video
    copy = folder / ("stdin" if str(video) == "/dev/stdin" else video.name)
    with video.open("rb") as pipe, copy.open("wb") as file:
        shutil.copyfileobj(pipe, file)
    return copy


def frames_of(model: VideoModel, video: Path | Live, times: deque[float]) -> Iterator[Any]:
    """Yield what the model reads of each frame, decoded ahead.

    Args:
        model: The model.
        video: A video file, a folder of pictures, a file of features, a table of poses, or what
            is live.
        times: Gets the second that each frame is shown at, NaN where nothing says so.
    """
    if model.spec["feature_size"] and isinstance(video, Path):
        size, pose = model.spec["feature_size"], model.spec.get("pose")
        for row in _features(video, size) if pose is None else _poses(video, size, pose):
            times.append(math.nan)
            yield row.copy()  # out of the file
        return
    from ..data.video.frames import prefetch, read_frames

    for frame in prefetch(
        read_frames(video, image_size=model.spec["image_size"], stride=model.spec["stride"])
    ):
        times.append(frame.time)
        yield frame.picture


def _features(path: Path, size: int) -> Any:
    """Return the features of a file as (T, D), whichever axis comes first in it."""
    import numpy as np

    from ..data.arrays import read_array

    if not path.is_file():
        raise DataError(f"There is no file of features '{path}'.")
    try:
        features = read_array(path, f"'{path}'")
    except DataError as error:
        raise DataError(
            f"{error}\nThis model reads features, ({size}, T) or (T, {size})."
        ) from error
    if features.ndim != 2 or size not in features.shape or features.dtype.kind not in "fiu":
        raise DataError(
            f"'{path}' holds {features.dtype} {features.shape}; this model reads numbers, "
            f"({size}, T)."
        )
    if not np.isfinite(features).all():
        raise DataError(f"'{path}' holds features that are not finite (NaN or infinity).")
    return features.T if features.shape[0] == size else features


def _poses(path: Path, size: int, settings: dict[str, Any]) -> Any:
    """Return the features of a table of poses (T, D), made as those that were trained on."""
    from ..data.video.pose.tables import features_of, read_pose

    features = features_of(read_pose(path), **settings)
    if features.shape[1] != size:
        raise DataError(
            f"'{path}' gives {features.shape[1]} features a frame, and this model reads {size}: it "
            "was trained on other parts of the body, or another number of individuals."
        )
    return features


def _label(
    model: VideoModel,
    video: Path,
    target: Path,
    *,
    chunk: int,
    overlay: bool,
    exports: Sequence[str] = (),
) -> None:
    """Write a video's files; nothing is left of a video that breaks off."""
    suffixes = (".csv", ".png", ".mp4", ".boris", ".eaf")
    files = [target.with_name(target.name + suffix) for suffix in suffixes]
    if target.parent.resolve() == video.parent.resolve():  # where labels made by hand lie, too
        raise UsageError(
            f"--out would overwrite '{video}' or what lies beside it: name another folder."
        )
    try:
        segments, seconds = _write_csv(model, video, files[0], chunk)
        names = list(dict.fromkeys(segment.label for segment in segments))
        together = [name for name in names if name not in model.classes]  # several at a time
        colours = palette([*model.classes, *together], [*model.background, ""])
        draw_timeline(segments, colours, title=str(video), seconds=seconds).save(files[1])
        written = files[:2]
        if overlay and not model.spec["feature_size"]:
            from .pictures.burn_in import burn_in

            burn_in(video, files[2], segments, colours)
            written = files[:3]
        if exports:
            written += export_labels(files[0], video, model.classes, exports)
    except BaseException:  # also when interrupted
        for file in files:
            file.unlink(missing_ok=True)
        raise
    print(
        f"{one_line(video)}: {segments[-1].end} frames, {len(segments)} segments: "
        f"{', '.join(map(one_line, written))}",
        flush=True,
    )


def _write_csv(
    model: VideoModel, video: Path, file: Path, chunk: int
) -> tuple[list[LabelBar], float]:
    """Write a row a frame; return the segments, and the last frame's time (NaN: not known)."""
    segments: list[LabelBar] = []
    last = math.nan
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        several = model.multilabel
        columns = model.classes if several else ("label", "probability")
        writer.writerow(("frame", "time", *columns))
        for number, last, label in _labels(model, video, chunk):
            name = label.name
            said = [name, f"{label.probability:.4f}"]
            if several:
                there = getattr(label, "names", ())
                said = ["1" if one in there else "0" for one in model.classes]
            writer.writerow((number, "" if math.isnan(last) else f"{last:.4f}", *said))
            if segments and segments[-1].label == name:
                segments[-1] = segments[-1]._replace(end=number + 1)
            else:
                segments.append(LabelBar(number, number + 1, name))
    return segments, last


def _record(model: VideoModel, video: Path, chunk: int) -> dict[str, Any]:
    """Return a video's segments; each with the mean of its frames' probabilities."""
    segments: list[dict[str, Any]] = []
    frames, seconds = 0, math.nan
    for number, time_shown, (name, probability) in _labels(model, video, chunk):
        seconds = time_shown
        if not segments or segments[-1]["label"] != name:
            segments.append({"start": number, "end": number, "label": name, "probability": 0.0})
        segments[-1]["end"] = frames = number + 1
        segments[-1]["probability"] += probability
    for segment in segments:
        segment["probability"] /= segment["end"] - segment["start"]
    return {"video": video, "frames": frames, "seconds": seconds, "segments": segments}


def _labels(model: VideoModel, video: Path, chunk: int) -> Iterator[tuple[int, float, FrameLabel]]:
    """Yield each frame's number, time (NaN: not known) and label.

    Raises:
        DataError: There is no frame.
    """
    times: deque[float] = deque()
    labels = model.label_frames(frames_of(model, video, times), chunk=chunk)
    number = -1
    for number, label in enumerate(_named(labels, video)):
        yield number, times.popleft(), label
    if number < 0:
        raise DataError(f"'{video}' holds no frames.")


def _named(labels: Iterator[FrameLabel], video: Path | Live) -> Iterator[FrameLabel]:
    """Name the video where a frame is not what the model reads."""
    try:
        yield from labels
    except UnrolledError:
        raise
    except ValueError as error:
        raise DataError(f"'{video}': {error}.") from error


def _stream(model: VideoModel, video: Path | Live, lines: str) -> None:
    """Print labels as the frames come."""
    step = model.stream()
    times: deque[float] = deque()
    latencies: deque[float] = deque(maxlen=_REMEMBERED)
    number, before = 0, ""
    for frame in frames_of(model, video, times):
        begin = time.perf_counter()
        try:
            name, probability = step(frame)
        except ValueError as error:
            raise DataError(f"'{video}', frame {number}: {error}.") from error
        latencies.append(time.perf_counter() - begin)
        seconds = times.popleft()
        if lines == "frame" or name != before:
            print(
                number,
                "-" if math.isnan(seconds) else f"{seconds:.3f}",
                one_line(name),
                f"{probability:.3f}",
                sep="\t",
                flush=True,
            )
        number, before = number + 1, name
    if len(latencies) > 1:
        parts = statistics.quantiles(latencies, n=20, method="inclusive")
        print(
            f"{video}: {number} frames; from a decoded frame to its label: median "
            f"{1000 * parts[9]:.2f} ms, 95 % within {1000 * parts[18]:.2f} ms",
            file=sys.stderr,
        )
