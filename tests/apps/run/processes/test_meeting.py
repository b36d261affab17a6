"""Processes that wait for others say for whom, end when they don't come, and can be interrupted."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest
from tiny_runs import CPU, TINY, enter
from unrolled.apps.run.processes.meeting import SECONDS, seconds
from unrolled.errors import UsageError

ALONE = [
    *(sys.executable, "-m", "unrolled", "fit", "char_lm", *TINY, *CPU),
    *("--model.core.hidden_size", "8", "--trainer.max_steps", "2"),
    *("--trainer.num_nodes", "2", "--trainer.devices", "1", "--trainer.strategy", "ddp"),
]


def start(port: int, **settings: str) -> subprocess.Popen:
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), **settings}
    return subprocess.Popen(ALONE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.parametrize("node", ["0", "1"])
def test_alone_it_says_for_whom_it_waits_and_ends(tmp_path, monkeypatch, port, node):
    enter(tmp_path, monkeypatch)
    process = start(port, NODE_RANK=node, **{SECONDS: "2"})
    _, told = process.communicate(timeout=200)
    assert process.returncode == 4, told
    assert f"127.0.0.1:{port}" in told
    assert "Traceback" not in told
    if node == "0":
        assert f"waiting at 127.0.0.1:{port} for 2 processes on 2 machines, at most 2 s" in told
        assert "ranks 1" in told
    else:
        assert "could not reach the first" in told


def test_ctrl_c_ends_the_waiting(tmp_path, monkeypatch, port):
    enter(tmp_path, monkeypatch)
    process = start(port, NODE_RANK="0")
    try:
        while "waiting at" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130


@pytest.mark.slow  # two runs from the shell
def test_two_that_come_at_different_times_meet(tmp_path, monkeypatch, port):
    enter(tmp_path, monkeypatch)
    second = start(port, NODE_RANK="1")
    first = start(port, NODE_RANK="0")
    told = [process.communicate(timeout=200)[1] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], told


@pytest.mark.parametrize("given", ["-1", "soon", "0", "nan", "inf"])
def test_no_number_of_seconds(monkeypatch, given):
    monkeypatch.setenv(SECONDS, given)
    with pytest.raises(UsageError, match=SECONDS):
        seconds()
