"""Two runs never write into one folder, and a dead one is in nobody's way."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tiny_runs import RUNS, enter, fit, read
from unrolled.apps.run.folder import lock
from unrolled.apps.run.folder.lock import NAME, RunLock
from unrolled.errors import DataError, UsageError

HOLD = """
import sys, time
from pathlib import Path
from unrolled.apps.run.folder.lock import RunLock
held = RunLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(300)
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    enter(tmp_path, monkeypatch, repeats=60)


@pytest.fixture
def holder():
    """A function that starts a process which holds a run's lock."""
    started = []

    def hold(run: Path) -> subprocess.Popen:
        run.mkdir(parents=True, exist_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(run)], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.communicate()


def test_a_second_run_and_a_second_resume_are_refused_with_host_and_process(holder, capsys):
    assert fit("--name", "a") == 0
    before = {path: path.read_bytes() for path in (RUNS / "a").rglob("*") if path.is_file()}
    process = holder(RUNS / "a")
    who = f"process {process.pid} on {socket.gethostname()}"
    last = str(RUNS / "a" / "checkpoints" / "last.ckpt")
    for flags in (
        ["--name", "a"],
        ["--name", "a", "--resume"],
        ["--resume"],
        ["--resume", str(RUNS / "a")],
        ["--resume", last],
    ):
        assert fit(*flags, steps=4) == 2
        assert who in capsys.readouterr().err
    assert {path: path.read_bytes() for path in before} == before
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert fit("--name", "a", "--resume", steps=4) == 0
    assert read("last", "a")["global_step"] == 4
    assert not (RUNS / "a" / NAME).exists()


def test_a_run_that_has_written_nothing_yet_is_locked_too(holder, capsys):
    process = holder(RUNS / "new")
    assert fit("--name", "new") == 2
    assert f"process {process.pid} on" in capsys.readouterr().err
    process.kill()
    process.wait()
    assert (RUNS / "new" / NAME).exists()
    assert fit("--name", "new") == 0


def test_one_process_is_no_two_runs(tmp_path):
    held = RunLock(tmp_path)
    with pytest.raises(UsageError, match=f"process {os.getpid()} on"):
        RunLock(tmp_path)
    with pytest.raises(UsageError, match=f"process {os.getpid()} on"):
        lock.refuse_locked(tmp_path)
    held.release()
    RunLock(tmp_path).release()
    assert not (tmp_path / NAME).exists()


def test_a_link_to_the_folder_is_the_folder(tmp_path, holder):
    process = holder(tmp_path / "run")
    (tmp_path / "link").symlink_to("run")
    with pytest.raises(UsageError, match=f"process {process.pid} on"):
        RunLock(tmp_path / "link")


def test_only_one_of_many_takes_over(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / NAME).write_text(json.dumps({"host": socket.gethostname(), "pid": dead.pid}))
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    many = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    threads = [threading.Thread(target=process.wait) for process in many]
    try:
        for thread in threads:
            thread.start()
        while sum(process.poll() is None for process in many) > 1:
            threads[0].join(0.05)
        (winner,) = (process for process in many if process.poll() is None)
        assert winner.stdout.readline() == "held\n"
        losers = [process for process in many if process is not winner]
        assert all(f"process {winner.pid} on" in loser.stderr.read() for loser in losers)
    finally:
        for process in many:
            process.kill()
            process.communicate()


class TestAnotherHost:
    """The system's lock may end at the host; the file then says whether its owner lives."""

    @pytest.fixture(autouse=True)
    def _fast(self, tmp_path, monkeypatch):
        monkeypatch.setattr(lock, "BEAT", 0.1)
        (tmp_path / NAME).write_text(json.dumps({"host": "elsewhere", "pid": 7}))

    def test_that_is_silent_is_dead(self, tmp_path, capsys):
        RunLock(tmp_path).release()
        told = capsys.readouterr().err
        assert "process 7 on elsewhere was writing" in told
        assert "remove" in told

    def test_that_touches_its_lock_lives(self, tmp_path):
        ended = threading.Event()

        def live():
            while not ended.wait(0.02):
                os.utime(tmp_path / NAME)

        thread = threading.Thread(target=live)
        thread.start()
        try:
            with pytest.raises(UsageError, match="process 7 on elsewhere and lives"):
                RunLock(tmp_path)
        finally:
            ended.set()
            thread.join()


def test_the_holder_gives_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT", 0.01)
    held = RunLock(tmp_path)
    os.utime(tmp_path / NAME, (0, 0))
    pause = threading.Event()
    while not os.stat(tmp_path / NAME).st_mtime:
        pause.wait(0.01)
    held.release()


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "folder"])
def test_a_planted_lock_is_not_written_through(tmp_path, kind):
    run, mine = tmp_path / "run", tmp_path / "mine"
    run.mkdir()
    mine.write_text("mine")
    if kind == "link":
        (run / NAME).symlink_to(mine)
    elif kind == "hard link":
        os.link(mine, run / NAME)
    elif kind == "pipe":
        os.mkfifo(run / NAME)
    else:
        (run / NAME).mkdir()
    with pytest.raises(Exception, match=r"\.lock") as error:
        RunLock(run)
    assert isinstance(error.value, DataError) or error.value.exit_code == 4
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("said", ["", "[", "[1]", "9" * 5000, '{"host": "\\u001b[2J"}', "[" * 999])
def test_a_lock_that_says_nonsense_of_a_dead_process_is_taken_over(tmp_path, monkeypatch, said):
    monkeypatch.setattr(lock, "BEAT", 0.01)
    (tmp_path / NAME).write_text(said)
    RunLock(tmp_path).release()
