"""Two machines (network namespaces and a cable) train one run, fail as one, and go on.

The processes of one machine can't reach the other's but through the cable, as on a cluster.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_tasks import CASES

pytestmark = pytest.mark.slow  # five starts of two processes each

ADDRESSES = ("10.213.77.1", "10.213.77.2")
CASE = CASES[0]
SECONDS = 300  # for a run of some forty steps, on a busy machine


def ip(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=check)


def lose(machine: str) -> None:
    """Kill everything on a machine at once: one that loses its power says no good-bye."""
    for pid in ip("netns", "pids", machine, check=False).stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


@pytest.fixture(scope="module")
def machines() -> Iterator[list[str]]:
    """Yield the names of two namespaces that reach each other by a pair of virtual interfaces."""
    if shutil.which("ip") is None:
        pytest.skip("no `ip` (iproute2): network namespaces can't be made")
    names = [f"unrolled{os.getpid()}{side}" for side in "ab"]
    wires = [f"u{os.getpid()}{side}" for side in "ab"]
    try:
        if (made := ip("netns", "add", names[0], check=False)).returncode:
            pytest.skip(f"network namespaces may not be made here: {made.stderr.strip()}")
        ip("netns", "add", names[1])
        ip("link", "add", wires[0], "type", "veth", "peer", "name", wires[1])
        for name, wire, address in zip(names, wires, ADDRESSES, strict=True):
            ip("link", "set", wire, "netns", name)
            ip("-n", name, "link", "set", wire, "name", "cable0")
            ip("-n", name, "address", "add", f"{address}/24", "dev", "cable0")
            ip("-n", name, "link", "set", "cable0", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            lose(name)
            ip("netns", "delete", name, check=False)  # and its end of the cable
        ip("link", "delete", wires[0], check=False)  # where it never came into a namespace


def start(
    machine: str, rank: int, folder: Path, port: int, name: str, *more: str
) -> subprocess.Popen:
    """Start one machine's side of a run, as docs/scaling.md says."""
    command = [
        *("ip", "netns", "exec", machine, sys.executable, "-m", "torch.distributed.run"),
        *f"--nnodes 2 --nproc_per_node 1 --node_rank {rank}".split(),
        *f"--master_addr {ADDRESSES[0]} --master_port {port} --max_restarts 0".split(),
        *("-m", "unrolled", "fit", CASE.variant, "--name", name, *CASE.flags),
        *"--trainer.num_nodes 2 --trainer.devices 1 --trainer.strategy ddp".split(),
        *"--trainer.accelerator cpu --trainer.precision 64-true --data.batch_size 2".split(),
        *"--trainer.max_epochs 2 --checkpoint.every_n_train_steps 5".split(),
        *("--trainer.callbacks+", "kill_at.KillAt", *more),
    ]
    environment = {
        **os.environ,
        "GLOO_SOCKET_IFNAME": "cable0",
        "PYTHONPATH": str(Path(__file__).resolve().parent / "helpers"),
        "OMP_NUM_THREADS": "1",
    }
    with (folder / f"{name}{rank}.log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)


def run(machines: list[str], folder: Path, port: int, name: str, *more: str) -> list[int]:
    """Train on both machines to the end; return their exit codes."""
    sides = [start(m, rank, folder, port, name, *more) for rank, m in enumerate(machines)]
    return [side.wait(SECONDS) for side in sides]


def last(folder: Path, name: str) -> Path:
    return folder / "runs" / CASE.task / name / "checkpoints/last.ckpt"


def test_a_lost_machine_ends_the_run_on_the_other_and_both_go_on_exactly(machines, tmp_path):
    CASE.write(tmp_path)
    assert run(machines, tmp_path, 29511, "whole") == [0, 0]
    whole = torch.load(last(tmp_path, "whole"), weights_only=True)

    sides = [start(m, rank, tmp_path, 29512, "cut") for rank, m in enumerate(machines)]
    until = time.monotonic() + SECONDS
    while not last(tmp_path, "cut").exists() and time.monotonic() < until:
        time.sleep(0.05)
    lose(machines[1])
    lost = time.monotonic()
    assert sides[0].wait(SECONDS) != 0
    assert time.monotonic() - lost < 60
    sides[1].wait()
    cut = torch.load(last(tmp_path, "cut"), weights_only=True)
    assert 0 < cut["global_step"] < whole["global_step"]

    assert run(machines, tmp_path, 29513, "cut", "--resume") == [0, 0]
    resumed = torch.load(last(tmp_path, "cut"), weights_only=True)
    assert resumed["global_step"] == whole["global_step"]
    for part in ("state_dict", "carried_state"):
        torch.testing.assert_close(resumed[part], whole[part], rtol=0, atol=0)
