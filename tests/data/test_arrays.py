"""Arrays that are made once: whole or not at all, by one process."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
from unrolled.data.arrays import ArrayFile, cached_array
from unrolled.errors import SetupError


def test_made_once_and_mapped(tmp_path):
    made = []

    def blocks():
        for begin in range(0, 10, 4):
            made.append(begin)
            yield np.arange(begin, min(begin + 4, 10), dtype=np.float16)[:, None] * np.ones(
                3, np.float16
            )

    for _ in range(2):
        array = cached_array(tmp_path / "rows.npy", 10, blocks)
        assert array.shape == (10, 3)
        assert len(array) == 10
        assert array[[7, 2]].tolist() == [[7] * 3, [2] * 3]
        assert array[3].tolist() == [3] * 3
    assert made == [0, 4, 8]
    assert np.load(tmp_path / "rows.npy").dtype == np.float16  # any program can read it
    array[0][:] = 9  # a copy
    assert array[0].tolist() == [0] * 3


def test_travels_as_a_path(tmp_path):
    array = cached_array(tmp_path / "rows.npy", 100_000, lambda: [np.zeros((100_000, 1))])
    data = pickle.dumps(array)
    assert len(data) < 1000
    assert isinstance(pickle.loads(data), ArrayFile)
    assert len(pickle.loads(data)) == 100_000


def test_nothing_is_left_of_what_was_interrupted(tmp_path):
    def blocks():
        yield np.zeros((2, 3))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_array(tmp_path / "rows.npy", 4, blocks)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == []
    assert len(cached_array(tmp_path / "rows.npy", 2, lambda: [np.zeros((2, 3))])) == 2


def test_no_room_is_noticed_before_it_is_used(tmp_path):
    with pytest.raises(SetupError, match=r"[Gk]B are left, and '.*' has .* [Gk]B"):
        cached_array(tmp_path / "rows.npy", 10**15, lambda: [np.zeros((2, 1000))])


SCRIPT = """
import sys, time
from pathlib import Path
import numpy as np
from unrolled.data.arrays import cached_array

folder = Path(sys.argv[1])
def blocks():
    (folder / f"made-{sys.argv[2]}").touch()
    for _ in range(20):
        time.sleep(0.02)
        yield np.ones((5, 2))
(folder / f"ready-{sys.argv[2]}").touch()
while len(list(folder.glob("ready-*"))) < 3:
    time.sleep(0.01)
assert cached_array(folder / "rows.npy", 100, blocks)[:].sum() == 200
"""


def test_one_process_makes_it_and_the_others_wait(tmp_path):
    processes = [
        subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path), str(rank)])
        for rank in range(3)
    ]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    assert len(list(tmp_path.glob("made-*"))) == 1
    assert {path.name for path in tmp_path.glob("rows.*")} == {"rows.npy", "rows.npy.sums"}
