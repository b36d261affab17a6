"""When one process of a run is killed, all of them end, soon and not with 0."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from forks import HELPERS
from tiny_tasks import CASES

LIMIT = 30.0  # seconds until all are gone


def alive(pid: int) -> bool:
    """Say whether a process runs; one that nobody has waited for doesn't."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def children(pid: int) -> set[int]:
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return set()
    own = set(map(int, listed.split()))
    return own | {one for child in own for one in children(child)}


@pytest.fixture
def run(tmp_path):
    """Two processes with a loader worker each, in the midst of training: the first, the others."""
    case = CASES[0]
    case.write(tmp_path)
    command = [
        *(sys.executable, "-m", "unrolled", "fit", case.variant, "--name", "a", *case.flags),
        *("--data.batch_size", "2", "--data.num_workers", "1", "--trainer.max_steps", "1000000"),
        *("--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp"),
        *("--checkpoint.every_n_train_steps", "5", "--trainer.limit_val_batches", "0"),
    ]
    paths = os.pathsep.join(filter(None, (str(HELPERS), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": paths}, start_new_session=True
    )
    last = tmp_path / "runs" / case.task / "a" / "checkpoints" / "last.ckpt"
    until = time.monotonic() + 200
    while not last.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.1)
    assert last.exists()
    found = children(process.pid)
    assert len(found) >= 3
    yield process, found
    for pid in (process.pid, *found):
        if alive(pid):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks /proc who lives")
@pytest.mark.slow  # four runs of two processes from the shell
@pytest.mark.parametrize("victim", ["rank 0", "rank 1", "worker of rank 0", "worker of rank 1"])
def test_all_end_soon_and_not_with_0(run, victim):
    process, others = run
    (second,) = {
        pid
        for pid in others
        if b"LOCAL_RANK=1\0" in Path(f"/proc/{pid}/environ").read_bytes()
        and children(pid)
        and "unrolled" in command_of(pid)
    }
    workers = {
        "worker of rank 1": children(second),
        "worker of rank 0": children(process.pid) - children(second) - {second},
    }
    killed = {"rank 0": {process.pid}, "rank 1": {second}}.get(victim) or workers[victim]
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + LIMIT
    while time.monotonic() < until:
        code = process.poll()
        if code is not None and not any(map(alive, others)):
            break
        time.sleep(0.1)
    assert process.poll() not in (None, 0)
    assert [pid for pid in others if alive(pid)] == []


@pytest.mark.slow  # as above
def test_ctrl_c_ends_all_with_a_checkpoint(run, tmp_path):
    process, others = run
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=LIMIT) == 130
    until = time.monotonic() + LIMIT
    while any(map(alive, others)) and time.monotonic() < until:
        time.sleep(0.1)
    assert [pid for pid in others if alive(pid)] == []
