from __future__ import annotations

from pathlib import Path

import pytest
from unrolled.apps.shell.outputs import outputs
from unrolled.errors import UsageError


def test_no_two_inputs_get_one_place(tmp_path):
    inputs = [Path(name) for name in ("a.mp4", "deep/a.mp4", "a_2.mp4", "a.mp4", "b.avi")]
    found = outputs(inputs, str(tmp_path / "new" / "out"), "--out")
    assert [found[path].name for path in inputs] == ["a", "a_2", "a_2_2", "a", "b"]
    assert {path.parent for path in found.values()} == {tmp_path / "new" / "out"}
    assert (tmp_path / "new" / "out").is_dir()


def test_a_file_in_the_folders_place_is_named_with_its_flag(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"--out '.*file' can't be made a folder"):
        outputs([], str(tmp_path / "file"), "--out")
