"""What lies in a folder is found by what it is; what is left out is known; addresses are none."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest
from PIL import Image
from unrolled.data import CaptionData, ParallelData, TextData, VideoData
from unrolled.data.formats.folders import files_in, is_pipe, refuse_address
from unrolled.data.images import is_image, open_image
from unrolled.data.video.clips.module import write_video
from unrolled.data.video.media import media_in
from unrolled.errors import DataError, UsageError

PICTURE = Image.fromarray(np.full((9, 9, 3), 90, np.uint8))


def names(root, paths) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


def test_every_file_once(tmp_path):
    for name in ("a.txt", "sub/b.TXT", ".hidden/c", "sub/.d"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "e").touch()
    (tmp_path / "sub" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "sub" / "round").symlink_to(tmp_path)
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert names(tmp_path, files_in(tmp_path)) == ["a.txt", "elsewhere/e", "sub/b.TXT"]
    assert names(tmp_path / "sub", files_in(tmp_path / "sub")) == ["b.TXT", "link/e", "round/a.txt"]


@pytest.fixture
def clips(tmp_path):
    write_video(tmp_path / "10.mp4", np.zeros((4, 16, 16, 3), np.uint8))
    write_video(tmp_path / "9.MOV.mkv", np.zeros((4, 16, 16, 3), np.uint8))
    (tmp_path / "9.MOV.mkv").rename(tmp_path / "9.MOV")
    return tmp_path


def test_a_stray_picture_hides_no_video(clips):
    PICTURE.save(clips / "thumbnail.jpg")
    (clips / "notes.txt").write_text("words")
    found = media_in(clips)
    assert names(clips, found.videos) == ["9.MOV", "10.mp4"]
    assert names(clips, found.beside) == ["notes.txt"]
    assert names(clips, found.left_out) == ["thumbnail.jpg"]
    for name in ("10", "9"):
        (clips / f"{name}.csv").write_text("frame,label\n" + "".join(f"{n},a\n" for n in range(4)))
    (clips / "notes.txt").unlink()
    data = VideoData(str(clips), val_fraction=0, test_fraction=0)
    told = data.found.media.told(clips)
    assert told == f"1 file(s) in '{clips}' are no videos and left out: thumbnail.jpg"
    assert [file.name for file in data.files["train"]] == ["9.MOV", "10.mp4"]


def test_videos_and_pictures_are_known_by_what_they_are(clips):
    (clips / "10.mp4").rename(clips / "take one")
    (clips / "9.MOV").rename(clips / "x.data")
    PICTURE.save(clips / "shot", "JPEG")
    (clips / "broken.bin").write_bytes(b"\0" * 99)
    found = media_in(clips)
    assert names(clips, found.videos) == ["take one", "x.data"]
    assert names(clips, found.left_out) == ["broken.bin", "shot"]
    assert is_image(clips / "shot")
    assert not is_image(clips / "x.data")


def test_folders_of_pictures_stand_for_videos_where_nothing_lies_deeper(tmp_path):
    for folder in ("a", "b/c"):
        (tmp_path / folder).mkdir(parents=True)
        PICTURE.save(tmp_path / folder / "1.PNG")
    PICTURE.save(tmp_path / "cover.png")
    found = media_in(tmp_path)
    assert names(tmp_path, found.videos) == ["a", "b/c"]
    assert names(tmp_path, found.left_out) == ["cover.png"]
    assert media_in(tmp_path / "a").videos == [tmp_path / "a"]


def through_a_pipe(path, content: bytes):
    """Write to a pipe that is read elsewhere."""
    os.mkfifo(path)
    thread = threading.Thread(target=lambda: path.write_bytes(content), daemon=True)
    thread.start()
    assert is_pipe(path)
    return path


def test_images_through_pipes(tmp_path):
    PICTURE.save(tmp_path / "a.png")
    pipe = through_a_pipe(tmp_path / "image", (tmp_path / "a.png").read_bytes())
    assert open_image(pipe, 4).equal(open_image(tmp_path / "a.png", 4))
    with pytest.raises(DataError, match="is empty"):
        open_image(through_a_pipe(tmp_path / "empty", b""), 4)


@pytest.mark.parametrize(
    "make",
    [
        refuse_address,
        lambda path: TextData(path).spec,
        lambda path: ParallelData(train=path).prepare_data(),
        lambda path: CaptionData(path).references("train"),
        VideoData,
    ],
)
@pytest.mark.parametrize("address", ["https://a.b/c.csv", "rtsp://a.b/c", "s3://a/b"])
def test_an_address_is_told_as_one(make, address):
    with pytest.raises(UsageError, match=f"'{address}' is an address.*download it first"):
        make(address)


def test_what_only_looks_like_an_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "take:").mkdir()
    (tmp_path / "take:" / "a").touch()
    for path in ("take:/a", "C:\\a", "a:b", "/a/b:c"):
        refuse_address(path)
