"""There is one reader of images and one opener of videos; neither reads another file or a bomb."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from unrolled.data.images import check_image, open_image, whole_image
from unrolled.data.video.frames import read_frames
from unrolled.data.video.stored import open_pictures
from unrolled.errors import DataError

PACKAGE = Path(__file__).parents[2]
# what names another file, or an address, and how it begins
PLAYLISTS = {
    "ffconcat": "ffconcat version 1.0\nfile {other}\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{other}\n#EXT-X-ENDLIST\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
    '<Period><AdaptationSet><Representation id="1"><BaseURL>{other}</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>",
    "imf": '<?xml version="1.0"?><CompositionPlaylist><Id>{other}</Id></CompositionPlaylist>',
    "asx": '<ASX version="3.0"><Entry><Ref href="{other}"/></Entry></ASX>',
    "rtsp": "[Reference]\nRef1={other}\n",
    "idx": "# VobSub index file, v7\nid: en, index: 0\n{other}\n",
    "svg": '<svg xmlns="http://www.w3.org/2000/svg"><image href="{other}"/></svg>',
    "eps": "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n({other}) run\n",
    "pdf": "%PDF-1.4\n{other}\n",
    "path": "{other}\n",
}


def write(path, size=16):
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=25)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for _ in range(3):
            image = np.zeros((size, size, 3), np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode())
    return path


@pytest.mark.parametrize("suffix", ["mp4", "ts", "m3u8", "txt"])
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_file_that_names_another_is_no_video(tmp_path, kind, suffix):
    for other in ("other.mp4", "other.ts"):
        write(tmp_path / other)
        path = tmp_path / f"a.{suffix}"
        path.write_text(PLAYLISTS[kind].format(other=other))
        with pytest.raises(DataError, match="is not a video of a kind that is read"):
            list(read_frames(path, image_size=8))
        with pytest.raises(DataError, match="is not a video of a kind that is read"):
            open_pictures(path, image_size=8, stride=1, cache=tmp_path)


@pytest.mark.parametrize("name", ["concat:other.mp4|other.mp4", "data:a", "http:a", "%03d.mp4"])
def test_a_name_is_no_address_and_no_pattern(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "other.mp4")
    write(tmp_path / "001.mp4")
    Path(name).write_text("no video")
    with pytest.raises(DataError, match="is not a video of a kind that is read"):
        list(read_frames(Path(name), image_size=8))
    Path(name).write_bytes((tmp_path / "other.mp4").read_bytes())
    assert len(list(read_frames(Path(name), image_size=8))) == 3


@pytest.mark.parametrize("suffix", ["png", "jpg", "eps"])
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_file_that_names_another_is_no_image(tmp_path, kind, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_text(PLAYLISTS[kind].format(other="other.png"))
    for read in (check_image, lambda path: open_image(path, 8), whole_image):
        with pytest.raises(DataError, match="is no image of a kind that is read"):
            read(path)


def test_pictures_larger_than_what_is_read_are_refused_with_the_number(tmp_path, monkeypatch):
    big = tmp_path / "a.mp4"
    big.write_bytes(b"YUV4MPEG2 W16000 H9000 F25:1\nFRAME\n" + bytes(100))
    with pytest.raises(DataError, match=r"16,000 x 9,000 pixels; more than 64,000,000"):
        list(read_frames(big, image_size=8))
    monkeypatch.setattr("unrolled.data.video.opening.MAX_PIXELS", 256 * 256)
    assert len(list(read_frames(write(tmp_path / "b.mp4", 256), image_size=8))) == 3
    with pytest.raises(DataError, match="258 x 258 pixels; more than 65,536"):
        list(read_frames(write(tmp_path / "c.mp4", 258), image_size=8))


def test_pictures_that_become_larger_on_the_way_are_refused(tmp_path, monkeypatch):
    """A raw stream may say another size in its middle."""
    for size in (16, 512):
        with av.open(str(tmp_path / f"{size}.m4v"), "w", format="m4v") as file:
            stream = file.add_stream("mpeg4", rate=25)
            stream.width = stream.height = size
            stream.pix_fmt = "yuv420p"
            for _ in range(3):
                image = np.zeros((size, size, 3), np.uint8)
                file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            file.mux(stream.encode())
    both = tmp_path / "both.m4v"
    both.write_bytes((tmp_path / "16.m4v").read_bytes() + (tmp_path / "512.m4v").read_bytes())
    assert len(list(read_frames(both, image_size=8))) == 6
    monkeypatch.setattr("unrolled.data.video.opening.MAX_PIXELS", 256 * 256)
    with pytest.raises(DataError, match="damaged after"):
        list(read_frames(both, image_size=8))


def test_refusing_a_bomb_allocates_nothing_large(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"YUV4MPEG2 W16000 H16000 F25:1\nFRAME\n" + bytes(100))
    code = (
        "import sys, resource, av\n"
        "from pathlib import Path\n"
        "from unrolled.data.video.frames import read_frames\n"
        "from unrolled.errors import DataError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    list(read_frames(Path(sys.argv[1]), image_size=8))\n"
        "except DataError:\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert int(done.stdout) < 100_000, done.stderr  # kilobytes; a picture has 384,000


def calls(tree, owner, name):
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == name
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == owner
    ]


def test_there_is_one_opener_of_each_kind():
    images, videos = [], []
    rooms = [path for path in PACKAGE.iterdir() if path.name[0] != "." and path.is_dir()]
    for file in [*PACKAGE.glob("*.py"), *(file for room in rooms for file in room.rglob("*.py"))]:
        place = file.relative_to(PACKAGE)
        text = file.read_text(encoding="utf-8")
        if place.parts[0] in ("tests", "benchmarks", "examples") or ".open(" not in text:
            continue
        tree = ast.parse(text)
        images += [place.as_posix() for _ in calls(tree, "Image", "open")]
        # a second argument, "w", is a file that is made
        opened = [call for call in calls(tree, "av", "open") if len(call.args) == 1]
        videos += [place.as_posix()] if opened else []
    assert images == ["data/images.py"]
    assert videos == ["data/video/opening.py"]
