"""Labelling a video file: what decoding costs, what the network costs, and both at a time.

    python benchmarks/video_pipeline.py
    python benchmarks/video_pipeline.py --frames 2000 --width 1280 --height 720

The limit is the slower of the two, not their sum, where there are two CPU cores for them.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
from measure import head, line, one_thread, parser
from unrolled.core import QRNN, FrameEncoder, SmallCNN
from unrolled.data.video.clips.module import write_video
from unrolled.data.video.frames import prefetch, read_frames
from unrolled.tasks import VideoModel


def noisy_video(path: Path, frames: int, height: int, width: int) -> None:
    """Write a video with motion and grain, which costs a decoder as much as a camera's does."""
    random = np.random.default_rng(0)
    scene = random.integers(40, 200, (height // 8, width // 8, 3)).repeat(8, 0).repeat(8, 1)
    grain = random.integers(-6, 6, (8, *scene.shape))
    write_video(
        path, ((np.roll(scene, 3 * n, 1) + grain[n % 8]).astype(np.uint8) for n in range(frames))
    )


def seconds(work: Callable[[], Iterable[object]]) -> tuple[float, float]:
    """Return wall and CPU seconds of going through something; the best of three times."""
    best = (float("inf"), float("inf"))
    for _ in range(3):
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in work():
            pass
        best = min(best, (time.perf_counter() - wall, time.process_time() - cpu))
    return best


def main() -> None:
    """Print the table."""
    options = parser(__doc__)
    options.add_argument("--frames", type=int, default=500)
    options.add_argument("--width", type=int, default=640)
    options.add_argument("--height", type=int, default=480)
    options.add_argument("--image_size", type=int, default=48)
    arguments = options.parse_args()
    one_thread()
    size = arguments.image_size
    spec = {
        "classes": ["a", "b"],
        "background": [],
        "feature_size": 0,
        "image_size": size,
        "stride": 1,
    }
    encoder = partial(FrameEncoder, backbone=partial(SmallCNN, channels=[8, 16, 32]), places=3)
    model = VideoModel(spec, partial(QRNN, hidden_size=128), encoder=encoder, projection_size=64)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        noisy_video(path, arguments.frames, arguments.height, arguments.width)
        pictures = [frame.picture for frame in read_frames(path, image_size=size)]
        rows: dict[str, Callable[[], Iterable[object]]] = {
            "decoding and scaling": lambda: read_frames(path, image_size=size),
            "network": lambda: model.label_frames(iter(pictures)),
            "one after the other": lambda: model.label_frames(
                frame.picture for frame in read_frames(path, image_size=size)
            ),
            "decoder ahead": lambda: model.label_frames(
                frame.picture for frame in prefetch(read_frames(path, image_size=size))
            ),
        }
        frames = arguments.frames
        print(f"{frames} frames of {arguments.width} x {arguments.height}, ", end="")
        print(f"read at {size} x {size}\n")
        head("", "frames/s", "CPU ms a frame")
        for name, work in rows.items():
            wall, cpu = seconds(work)
            line(name, f"{frames / wall:.0f}", f"{1000 * cpu / frames:.2f}")


if __name__ == "__main__":
    main()
