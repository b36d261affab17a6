"""The tab of a model of videos: labels come as the frames do, from a file or a camera."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
import numpy.typing as npt

from ...data.images import whole_image
from ...errors import DataError, UnrolledError
from ..label import frames_of
from ..pages.html import Html, element, joined
from .bands import Line, named, swatch
from .captions import address
from .limits import FRAMES, IMAGE_BYTES, UPLOAD_BYTES, problem, uploaded
from .sessions import Sessions

if TYPE_CHECKING:
    from ...tasks.video.labels import FrameLabel
    from ...tasks.video.model import VideoModel

_REDRAWN = 0.15  # seconds from one picture of the labels to the next
_EVERY = 0.2  # seconds from one frame of a camera to the next
_LIMIT = 120  # seconds that a camera runs at most, before others have a turn


class _Camera:
    """What a visitor's camera has shown so far.

    Args:
        model: What labels it.
    """

    def __init__(self, model: VideoModel) -> None:
        self.stream = model.stream()
        self.line = Line(model)
        self.begin = time.monotonic()
        self.turn = threading.Lock()


def tab(model: VideoModel, queue_id: str) -> None:
    """Lay out the tab of a model of videos, in the tab that is open.

    Args:
        model: The model.
        queue_id: What its requests wait for together.
    """
    pictures = not model.spec["feature_size"]
    takes = "a video" if pictures else "a file of features (.npy)"
    if model.spec.get("pose") is not None:
        takes = "a table of poses (.csv, .h5)"
    if not (model.causal and not model.postprocesses):
        why = "smooths its labels" if model.causal else "reads the frames to come, too"
        note = f"This model {why}: its labels come when the whole is read."
        gr.HTML(element("p", note, class_="quiet"), apply_default_css=False)
    file = gr.File(
        label=f"Drop {takes}: at most {UPLOAD_BYTES >> 20} MB and {FRAMES:,} frames",
        height=150,
        elem_classes="video",
    )
    shown = gr.HTML(elem_classes="labels", apply_default_css=False)

    def label(name: str) -> Iterator[Any]:
        try:
            with uploaded(name) as path:
                yield from labelled(model, path)
        except (UnrolledError, ValueError) as error:
            yield problem(error)

    file.clear(lambda: "", None, shown, show_progress="hidden")
    file.upload(
        label,
        file,
        shown,
        show_progress="minimal",
        concurrency_limit=2,
        concurrency_id=queue_id,
    )
    if pictures and model.causal:
        with gr.Accordion("Camera", open=False, elem_classes="camera-box"):
            _camera(model, queue_id)


def _camera(model: VideoModel, queue_id: str) -> None:
    camera = gr.Image(
        label=f"Camera: {_LIMIT} seconds at most",
        sources=["webcam"],
        streaming=True,
        type="filepath",
        image_mode=None,  # it is decoded by the one reader of images, not before
        height=300,
        elem_classes="camera",
    )
    again = gr.Button("Forget what was seen")
    shown = gr.HTML(elem_classes="live", apply_default_css=False)
    cameras = Sessions(lambda: _Camera(model))

    def see(name: str | None, request: gr.Request) -> Any:
        if name is None:
            return gr.skip()
        one = cameras[str(request.session_hash)]
        try:
            with uploaded(name, IMAGE_BYTES) as path, one.turn:
                if len(one.line.sure) >= FRAMES:
                    raise DataError(f"{FRAMES:,} frames were labelled: forget them to go on.")
                picture = whole_image(path, model.spec["image_size"])  # (S, S, 3)
                found = one.stream(picture)
                one.line.add(found, time.monotonic() - one.begin)
                return _now(one.line, found, picture)
        except (UnrolledError, ValueError) as error:
            return problem(error)

    def forget(request: gr.Request) -> str:
        cameras.forget(str(request.session_hash))
        return ""

    camera.stream(
        see,
        camera,
        shown,
        show_progress="hidden",
        stream_every=_EVERY,
        time_limit=_LIMIT,
        concurrency_limit=4,
        concurrency_id=f"{queue_id} camera",
    )
    again.click(forget, None, shown, show_progress="hidden")


def labelled(model: VideoModel, path: Path) -> Iterator[Html]:
    """Yield what is shown of a video while it is read, and at its end.

    A causal model labels each frame as it comes, from the state that the frames before have left.

    Args:
        model: The model.
        path: The video, or the features or poses.

    Raises:
        DataError: It can't be read, or has no frames.
    """
    times: deque[float] = deque()
    line, cut = Line(model), False
    picture: npt.NDArray[np.uint8] | None = None
    frames = frames_of(model, path, times)

    def read() -> Iterator[Any]:
        nonlocal picture, cut
        for number, frame in enumerate(frames):
            if number == FRAMES:
                cut = True
                return
            if frame is not None and not model.spec["feature_size"]:
                picture = frame.permute(1, 2, 0).numpy()  # (S, S, 3)
            yield frame

    live = model.causal and not model.postprocesses
    found = map(model.stream(), read()) if live else model.label_frames(read())
    drawn = time.monotonic()
    last: FrameLabel | None = None
    for last in found:
        line.add(last, times.popleft())
        if live and time.monotonic() - drawn > _REDRAWN:
            yield _now(line, last, picture)
            drawn = time.monotonic()
    if last is None:
        raise DataError(f"'{path}' holds no frames.")
    note = f"{len(line.sure):,} frames, {len(line.bands):,} segments"
    if cut:
        note += f"; the frames after the first {FRAMES:,} were not read"
    yield joined([_now(line, last, picture), element("p", f"{note}.", class_="done")])


def _now(line: Line, label: FrameLabel, picture: npt.NDArray[np.uint8] | None) -> Html:
    """Return the newest label with its frame, and the line so far."""
    said = element(
        "div",
        element("p", swatch(line.colours[label.name]), named(label.name), class_="label"),
        element("p", f"{100 * label.probability:.0f} %, frame {len(line.sure) - 1}"),
    )
    shown = None
    if picture is not None:
        shown = element("img", src=address(picture), alt="The frame, as the model sees it")
    return joined([element("div", shown, said, class_="now"), line.drawn()])
