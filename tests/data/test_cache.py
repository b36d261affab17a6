"""The cache: an entry is made once, whole or not at all, and never taken for another one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from unrolled.data.cache import cache_folder, cached, cached_json, key_of, stamps, workplace
from unrolled.data.sources import path_source
from unrolled.errors import DataError, SetupError


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def write_folder(text):
    def make(made):
        made.mkdir()
        (made / "a.txt").write_text(text)

    return make


def test_an_entry_is_made_once_and_nothing_else_is_left(tmp_path):
    for text in ("first", "second"):
        file = cached(tmp_path / "a.txt", lambda made, text=text: made.write_text(text))
        folder = cached(tmp_path / "folder", write_folder(text))
        assert file == tmp_path / "a.txt"
        assert file.read_text() == (folder / "a.txt").read_text() == "first"
    assert left(tmp_path) == ["a.txt", "a.txt.sums", "folder", "folder.sums"]


def test_data_come_back_as_they_were_written(tmp_path):
    data = {"text": "ä\ud800", "numbers": [1, 2.5, None]}
    for make in (lambda: data, lambda: pytest.fail("was made again")):
        assert cached_json(tmp_path / "a.json", make) == data
    (tmp_path / "a.json").unlink()
    assert cached_json(tmp_path / "a.json", lambda: 3) == 3


def test_an_entry_may_be_made_of_another(tmp_path):
    def make():
        return [*cached_json(tmp_path / "inner.json", lambda: [1]), 2]

    assert cached_json(tmp_path / "outer.json", make) == [1, 2]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_of_what_failed(tmp_path, error):
    def make(made):
        write_folder("half")(made)
        raise error

    with pytest.raises(error):
        cached(tmp_path / "folder", make)
    assert [name for name in left(tmp_path) if not name.endswith(".lock")] == []
    assert cached(tmp_path / "folder", write_folder("whole")).is_dir()


KILLED = """
import os, signal, sys
from pathlib import Path
from unrolled.data.cache import cached

def make(made):
    made.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)

cached(Path(sys.argv[1]) / "a.txt", make)
"""


def test_a_process_that_is_killed_half_way_leaves_no_entry(tmp_path):
    process = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "a.txt").exists()
    assert cached(tmp_path / "a.txt", lambda made: made.write_text("all")).read_text() == "all"
    assert left(tmp_path) == ["a.txt", "a.txt.sums"]  # nor what it had begun


def test_what_killed_processes_have_begun_is_removed_and_what_others_make_is_not(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with workplace(tmp_path, "spool") as mine:
        (mine / "copy").write_text("")
        gone = mine.name.replace(f"-{os.getpid()}-", f"-{ended.pid}-")
        host = mine.name.split("-")[1]
        elsewhere = gone.replace(host, "0" * 8)
        for name in (gone, elsewhere):
            (tmp_path / name).mkdir()
            (tmp_path / name / "copy").write_text("")
        outside = tmp_path / "outside"
        outside.mkdir()
        (tmp_path / f"{gone}x").symlink_to(outside)
        with workplace(tmp_path, "spool"):
            assert not (tmp_path / gone).exists()
            assert mine.exists()
            assert (tmp_path / elsewhere).exists()
            assert outside.exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_in_the_place_of_checksums_is_not_waited_for(tmp_path):
    path = cached(tmp_path / "a.txt", lambda made: made.write_text("all"))
    path.with_name("a.txt.sums").unlink()
    os.mkfifo(path.with_name("a.txt.sums"))
    with pytest.warns(UserWarning, match="damaged: the entry is made again"):
        assert cached(path, lambda made: made.write_text("anew")).read_text() == "anew"


def test_a_link_in_the_place_of_a_lock_is_not_written_through(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "a.txt.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(SetupError, match=r"can't be written: .*a\.txt\.lock: "):
        cached(tmp_path / "a.txt", lambda made: made.write_text("all"))
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_tilde_without_such_a_user_is_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "~nobody-of-that-name"
    assert cache_folder("~nobody-of-that-name/x") == folder / "x" / "text"
    with pytest.raises(DataError, match=r"'~nobody-of-that-name/a\.txt' does not exist"):
        path_source("~nobody-of-that-name/a.txt", "*", tmp_path)


def refuse_to_lock(*_):
    raise PermissionError(13, "Permission denied")


def test_a_cache_that_can_only_be_read_is_read(tmp_path, monkeypatch):
    cached_json(tmp_path / "a.json", lambda: 1)
    monkeypatch.setattr("unrolled.data.cache.FileLock", refuse_to_lock)
    assert cached_json(tmp_path / "a.json", lambda: 2) == 1
    with pytest.raises(SetupError, match=r"(?s)can't be written: .*denied.*--data.cache_dir"):
        cached_json(tmp_path / "b.json", lambda: 2)


def test_a_full_disk_is_named(tmp_path):
    def make(made):
        write_folder("half")(made)
        raise OSError(28, "No space left on device")

    with pytest.raises(SetupError, match=r"No space left on device.\n.*UNROLLED_CACHE"):
        cached(tmp_path / "folder", make)
    assert not (tmp_path / "folder").exists()


def test_another_machine_without_our_lock_may_be_faster(tmp_path):
    def make(made):
        write_folder("ours")(made)
        there = cached(tmp_path / "other" / "folder", write_folder("theirs"))
        for path in (there, there.with_name("folder.sums")):
            path.rename(tmp_path / path.name)

    (tmp_path / "other").mkdir()
    assert (cached(tmp_path / "folder", make) / "a.txt").read_text() == "theirs"
    assert left(tmp_path) == ["folder", "folder.sums", "other"]


def test_a_key_says_everything_and_no_order():
    assert key_of({"a": 1, "b": [2]}) == key_of({"b": (2,), "a": 1})
    assert len({key_of("a", 1), key_of("a", 2), key_of(["a", 1]), key_of("a", "1")}) == 4
    assert json.dumps(key_of("ä\ud800"))


def test_a_stamp_changes_whenever_a_file_does(tmp_path):
    path = tmp_path / "a.txt"
    assert stamps(path) == [[str(path)]]
    path.write_text("one")
    os.utime(path, ns=(1, 1))
    first = stamps(path)
    assert stamps(path, tmp_path / "b.txt") == [*first, [str(tmp_path / "b.txt")]]
    path.write_text("two")
    assert stamps(path) != first
    path.write_text("longer")
    os.utime(path, ns=(1, 1))
    assert stamps(path) != first
