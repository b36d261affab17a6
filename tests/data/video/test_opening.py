"""What a video file may hold beside its pictures."""

from __future__ import annotations

import av
import numpy as np
from unrolled.data.video.opening import open_video


def test_a_title_in_no_encoding_hinders_nobody(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "X" * 8
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        for _ in range(3):
            picture = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    content = path.read_bytes()
    assert b"X" * 8 in content
    path.write_bytes(content.replace(b"X" * 8, b"\xff\xfe\xfd\xe9 mkv"))
    with open_video(path) as (container, stream):
        assert "title" in container.metadata
        assert len(list(container.decode(stream))) == 3
