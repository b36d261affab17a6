"""A disk that takes no more ends a run with the file's name, and costs nothing that it had."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from tiny_runs import RUNS, enter, fit, read
from unrolled.apps.run.folder import disk
from unrolled.apps.run.stopping import FiniteLoss
from unrolled.checkpoints import damage

FLAGS = ["--checkpoint.every_n_train_steps", "2", "--trainer.log_every_n_steps", "1"]


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    enter(tmp_path, monkeypatch, repeats=60)


@pytest.fixture
def small_disk(tmp_path):
    """Makes `runs` a disk of its own; a function that mounts it with some options."""
    place = tmp_path / "runs"
    place.mkdir()
    mounted = []

    def mount(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            pytest.skip(f"no mount here: {error}")
        if done.returncode:
            pytest.skip(f"no file system may be mounted here: {done.stderr.strip()}")
        mounted.append(place)
        return place

    yield mount
    for _ in mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path) -> None:
    """Leave no byte."""
    with (place / "filler").open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            with suppress(OSError):
                while True:
                    file.write(b"x" * size)


def use_inodes_up(place: Path) -> None:
    """Leave bytes, but no file."""
    (place / "fillers").mkdir(exist_ok=True)
    with suppress(OSError):
        for number in range(10_000):
            (place / "fillers" / str(number)).touch()


def at_step(monkeypatch, step: int, what) -> None:
    former = FiniteLoss.on_before_backward

    def hook(callback, trainer, pl_module, loss):
        if trainer.global_step == step:
            what()
        former(callback, trainer, pl_module, loss)

    monkeypatch.setattr(FiniteLoss, "on_before_backward", hook)


@pytest.mark.parametrize(
    ("way", "logger"),
    [
        (fill, "both"),
        (use_inodes_up, "both"),
        pytest.param(fill, "csv", marks=pytest.mark.slow),
        pytest.param(fill, "board", marks=pytest.mark.slow),
    ],
)
def test_it_is_used_up_in_mid_run(small_disk, monkeypatch, capsys, way, logger):
    place = small_disk("size=2m,nr_inodes=60")
    at_step(monkeypatch, 5, lambda: way(place))
    flags = {
        "both": [],
        "csv": ["--trainer.logger", "unrolled.apps.run.tables.MetricsTable"],
        "board": ["--trainer.logger", "unrolled.apps.run.tables.Board"],
    }[logger]
    if flags:
        flags += ["--trainer.logger.save_dir", "runs/char_lm/1", "--trainer.logger.name", ""]
        flags += ["--trainer.logger.version", ""]
    assert fit(*FLAGS, *flags, steps=200) == 4
    told = capsys.readouterr().err
    assert "no space left on the disk" in told
    assert "runs/char_lm/1/" in told
    assert "Traceback" not in told
    last = RUNS / "1" / "checkpoints" / "last.ckpt"
    assert damage(last) is None
    step = read("last")["global_step"]
    assert step >= 4
    fit(*FLAGS, *flags, "--resume", steps=step + 2)
    assert damage(last) is None
    assert read("last")["global_step"] >= step


@pytest.mark.parametrize("way", [fill, use_inodes_up])
def test_it_is_used_up_before_the_start(small_disk, capsys, way):
    place = small_disk("size=64k,nr_inodes=20")
    way(place)
    assert fit(*FLAGS) == 4
    told = capsys.readouterr().err
    assert "no space left on the disk" in told
    assert "runs" in told


def test_there_is_no_room_for_the_configuration(small_disk, monkeypatch, capsys):
    place = small_disk("size=1m")
    begin = disk.tidy

    def tidy(run: Path) -> None:
        begin(run)
        fill(place)

    monkeypatch.setattr("unrolled.apps.run.training.tidy", tidy)
    assert fit(*FLAGS, "--trainer.logger", "false") == 4
    assert "config.yaml: no space left on the disk" in capsys.readouterr().err


def test_a_read_only_folder(small_disk, capsys):
    place = small_disk("size=2m")
    assert fit(*FLAGS) == 0
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    for flags in ([], ["--resume"], ["--name", "new"]):
        assert fit(*FLAGS, *flags, steps=4) == 4
        told = capsys.readouterr().err
        assert "Read-only file system" in told
        assert "runs/char_lm" in told
    assert read("last")["global_step"] == 2


def test_output_that_nobody_takes_leaves_the_exit_code(small_disk):
    place = small_disk("size=64k")
    log = place / "log"
    log.touch()
    fill(place)
    with log.open("ab") as file:
        command = [sys.executable, "-m", "unrolled", "fit", "nothing"]
        code = subprocess.run(command, stdout=file, stderr=file, check=False).returncode
    assert code == 2


def test_what_killed_saves_left_is_removed_and_no_link_is_followed(tmp_path):
    assert fit(*FLAGS) == 0
    run, mine = RUNS / "1", tmp_path / "mine"
    mine.write_text("mine")
    left = [
        run / ".config.yaml.part",
        run / ".metrics.csv.part",
        run / "checkpoints" / ".last.ckpt.part",
        run / "checkpoints" / ".best.ckpt.part",
        run / "checkpoints" / ".previous.ckpt.part",
        run / "config.tmp",
        run / "metrics.tmp",
        run / "checkpoints" / "previous.tmp",
    ]
    for number, path in enumerate(left):
        if number % 2:
            path.write_text("half")
        else:
            path.symlink_to(mine)
    assert fit(*FLAGS, "--name", "1", "--resume", steps=4) == 0
    assert not [path for path in left if path.is_symlink() or path.exists()]
    assert mine.read_text() == "mine"
    assert read("last")["global_step"] == 4


def test_a_link_that_appears_in_the_last_moment_is_not_followed(tmp_path, monkeypatch):
    mine = tmp_path / "mine"
    mine.write_text("mine")
    place = tmp_path / "config.yaml"
    former = Path.unlink

    def unlink(path, missing_ok=False):
        former(path, missing_ok=missing_ok)
        if path.name.endswith(".part") and not path.is_symlink():
            os.symlink(mine, path)

    monkeypatch.setattr(Path, "unlink", unlink)
    with pytest.raises(FileExistsError), disk.replacing(place):
        raise AssertionError("it was opened")
    assert mine.read_text() == "mine"
