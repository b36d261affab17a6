"""Processes that wait for others say for whom, end when they don't come, and can be interrupted."""

from __future__ import annotations

import os
import signal
import socket
from functools import partial

import pytest
from tiny_runs import CPU, TINY, enter
from unrolled.apps.run.processes.meeting import SECONDS, seconds
from unrolled.errors import UsageError

ALONE = [
    *("fit", "char_lm", *TINY, *CPU),
    *("--model.core.hidden_size", "8", "--trainer.max_steps", "2"),
    *("--trainer.num_nodes", "2", "--trainer.devices", "1", "--trainer.strategy", "ddp"),
]


@pytest.fixture
def start(forks, tmp_path, monkeypatch, port):
    """A function that starts one of two machines."""
    enter(tmp_path, monkeypatch)
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return partial(forks.start, tmp_path, ALONE, **place)


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.parametrize("node", ["0", "1"])
def test_alone_it_says_for_whom_it_waits_and_ends(start, port, node):
    with start(NODE_RANK=node, **{SECONDS: "2"}) as run:
        assert run.wait() == 4, run.err
        told = run.err
    assert f"127.0.0.1:{port}" in told
    assert "Traceback" not in told
    if node == "0":
        assert f"waiting at 127.0.0.1:{port} for 2 processes on 2 machines, at most 2 s" in told
        assert "ranks 1" in told
    else:
        assert "could not reach the first" in told


def test_ctrl_c_ends_the_waiting(start):
    with start(NODE_RANK="0") as run:
        assert run.wait_for(lambda: "waiting at" in run.err)
        os.kill(run.pid, signal.SIGINT)
        assert run.wait() == 130


def test_two_that_come_at_different_times_meet(start):
    with start(NODE_RANK="1") as second, start(NODE_RANK="0") as first:
        assert [first.wait(), second.wait()] == [0, 0], first.err + second.err


@pytest.mark.parametrize("given", ["-1", "soon", "0", "nan", "inf"])
def test_no_number_of_seconds(monkeypatch, given):
    monkeypatch.setenv(SECONDS, given)
    with pytest.raises(UsageError, match=SECONDS):
        seconds()
