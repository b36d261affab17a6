"""What was damaged in the cache is noticed and made again: no batch ever differs."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image
from unrolled.data import CaptionData, CLDRData, ClipsData, ScenesData, TextData
from unrolled.data import cache as cache_module
from unrolled.data.cache import cached
from unrolled.errors import SetupError


def text(folder):
    if not (folder / "a.txt").exists():
        (folder / "a.txt").write_text("the cat sat on the mat. " * 40)
    return TextData(str(folder / "a.txt"), batch_size=2, chunk_length=16)


def translation(folder):
    return CLDRData(num_sentences=60, num_val=8, num_test=8, vocabulary_size=120, batch_size=4)


def scenes(folder):
    return ScenesData(12, 4, test_size=0, batch_size=4)


def captions(folder):
    if not (folder / "captions.csv").exists():
        rows = ["image,caption"]
        for number in range(40):
            Image.new("RGB", (16, 16), (number, 0, 0)).save(folder / f"{number}.png")
            rows.append(f"{number}.png,a red square")
        (folder / "captions.csv").write_text("\n".join(rows))
    return CaptionData(str(folder), image_size=16, batch_size=4, cache_images=True)


def video(folder):
    return ClipsData(image_size=16, train_clips=2, val_clips=1, test_clips=0, batch_size=1)


TASKS = [text, translation, scenes, captions, video]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "cache"))
    return tmp_path


def batches(task, folder):
    """Return what the model would see, made by a process that has looked at nothing yet."""
    cache_module._whole.clear()
    data = task(folder)
    data.prepare_data()
    data.setup("fit")
    return plain([data.spec, *islice(data.train_dataloader(), 3), *data.val_dataloader()])


def plain(value):
    if isinstance(value, torch.Tensor | np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


def files_in(folder):
    return sorted(path for path in (folder / "cache").rglob("*") if path.is_file())


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]


DAMAGES = {
    "last byte cut off": lambda content: content[:-1],
    "half cut off": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "longer": lambda content: content + b"\0",
    "a bit flipped": flipped,
    "last bit flipped": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "zeros": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("kind", ["empty", "a bit flipped"])
@pytest.mark.parametrize("task", TASKS)
def test_damage_to_all_files_changes_no_batch(task, kind, folder):
    expected = batches(task, folder)
    for file in files_in(folder):
        file.write_bytes(DAMAGES[kind](file.read_bytes()))
    with pytest.warns(UserWarning, match="the entry is made again"):
        assert batches(task, folder) == expected
    assert batches(task, folder) == expected


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_damage_of_any_kind_to_any_file_changes_no_batch(task, folder):
    expected = batches(task, folder)
    kinds = list(DAMAGES.values())
    for number, file in enumerate(files_in(folder)):
        file.write_bytes(kinds[number % len(kinds)](file.read_bytes()))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = batches(task, folder)
        assert found == expected, file
        named = [str(each.message) for each in said if "made again" in str(each.message)]
        if not named:  # nothing reads it, as what was made of clips that were made again
            file.unlink()
            assert batches(task, folder) == expected
            assert not file.exists()
            continue
        assert len(named) == 1, (file, named)
        assert "\n" not in named[0]
    assert batches(task, folder) == expected


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("large", [False, True])
def test_every_kind_of_damage_is_noticed(tmp_path, monkeypatch, kind, large):
    if large:
        monkeypatch.setattr(cache_module, "_LARGE", 8)
        monkeypatch.setattr(cache_module, "_TICK", 0)

    def make(made):
        made.mkdir()
        (made / "a.bin").write_bytes(bytes(range(100)))

    for _ in range(3):
        cache_module._whole.clear()
        folder = cached(tmp_path / "entry", make)
    (folder / "a.bin").write_bytes(DAMAGES[kind](bytes(range(100))))
    if large:  # what a copy or `touch -r` does
        os.utime(folder / "a.bin", ns=(1, 1))
    cache_module._whole.clear()
    with pytest.warns(UserWarning, match=r"In the cache '.*a.bin' has .*: the entry is made again"):
        cached(tmp_path / "entry", make)
    assert (folder / "a.bin").read_bytes() == bytes(range(100))


@pytest.mark.parametrize("change", ["more", "fewer", "no sums"])
def test_a_folder_has_the_files_that_were_written(tmp_path, change):
    def make(made):
        made.mkdir()
        for name in "ab":
            (made / name).write_text(name)

    folder = cached(tmp_path / "entry", make)
    if change == "more":
        (folder / "c").write_text("c")
    else:
        (folder / "b" if change == "fewer" else tmp_path / "entry.sums").unlink()
    with pytest.warns(UserWarning, match="the entry is made again"):
        cached(tmp_path / "entry", make)
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b"]
    assert (tmp_path / "entry.sums").exists()


def test_a_large_file_is_added_up_once_while_nobody_writes_to_it(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "_LARGE", 8)
    monkeypatch.setattr(cache_module, "_TICK", 0)
    added = []
    real = cache_module._sum
    monkeypatch.setattr(cache_module, "_sum", lambda file: added.append(file) or real(file))
    for _ in range(4):
        cache_module._whole.clear()  # another process
        cached(tmp_path / "a", lambda made: made.write_bytes(bytes(100)))
        cached(tmp_path / "small", lambda made: made.write_bytes(bytes(4)))
    names = [file.name for file in added]
    assert names.count("a") == 2  # when it was made, and when it was read first
    assert names.count("small") == 4


def refuse(*_, **__):
    raise OSError(30, "Read-only file system")


@pytest.mark.parametrize("task", TASKS)
def test_a_whole_cache_that_can_only_be_read_is_used(task, folder, monkeypatch):
    expected = batches(task, folder)
    for path in (folder / "cache").rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    for name in ("data.cache.FileLock", "data.cache.tempfile.TemporaryDirectory"):
        monkeypatch.setattr(f"unrolled.{name}", refuse)  # root may write everywhere
    monkeypatch.setattr("os.replace", refuse)
    try:
        assert batches(task, folder) == expected
        damaged = max(files_in(folder), key=lambda path: path.suffix == ".json")
        damaged.chmod(0o644)
        damaged.write_bytes(b"")
        if task is not captions and task is not video:
            with pytest.raises(SetupError, match=r"(?s)In the cache .*Read-only.*--data.cache_dir"):
                batches(task, folder)
    finally:
        for path in (folder / "cache").rglob("*"):
            path.chmod(0o755)


TWO = """
import sys, time
from pathlib import Path
from unrolled.data.cache import cached

folder = Path(sys.argv[1])

def make(made):
    with (folder / "log").open("a") as log:
        log.write("made\\n")
    # long enough for the other process to come, which is what is tried here
    until = time.monotonic() + 20
    while not (folder / "second").exists() and time.monotonic() < until:
        time.sleep(0.05)
    made.write_text("whole")

if sys.argv[2] == "second":
    (folder / "second").touch()
print(cached(folder / "entry", make).read_text())
"""


@pytest.mark.parametrize("damaged", [False, True])
def test_of_two_processes_one_makes_and_the_other_waits(tmp_path, damaged):
    if damaged:
        cached(tmp_path / "entry", lambda made: made.write_text("whole"))
        (tmp_path / "entry").write_text("other")

    def start(name):
        command = [sys.executable, "-W", "ignore", "-c", TWO, str(tmp_path), name]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    first = start("first")
    while not (tmp_path / "log").exists():
        assert first.poll() is None
    second = start("second")
    assert [process.communicate(timeout=60)[0] for process in (first, second)] == ["whole\n"] * 2
    assert (tmp_path / "log").read_text() == "made\n"
