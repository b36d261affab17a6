"""SIGTERM, Ctrl-C and SIGHUP end a run well."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from tiny_runs import CPU, RUNS, TINY, enter
from unrolled.apps.run.preemption import Preempted, Preemption

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
ENDLESS = [
    *("fit", "char_lm", *TINY, *CPU, "--model.core.hidden_size", "8"),
    *("--trainer.max_steps", "1000000", "--checkpoint.every_n_train_steps", "10"),
    *("--trainer.limit_val_batches", "0", "--data.num_workers", "1"),
]
LAST = RUNS / "1" / "checkpoints" / "last.ckpt"


class Kill(Callback):
    """Sends a signal to this process in the middle of a step, or before the first."""

    def __init__(self, step: int, number: int) -> None:
        self.step = step
        self.number = number

    def on_sanity_check_start(self, trainer, pl_module):
        if self.step < 0:
            os.kill(os.getpid(), self.number)

    def on_before_backward(self, trainer, pl_module, loss):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_finishes_the_step_saves_and_stops(
    task_and_data, tmp_path, trainer, number, monkeypatch
):
    monkeypatch.setattr(os, "isatty", lambda _: False)  # the tests' terminal stays
    model, data = task_and_data
    before = [signal.getsignal(one) for one in SIGNALS]
    saved = ModelCheckpoint(tmp_path / "ckpt")
    run = trainer(
        max_epochs=1,
        limit_val_batches=0,
        callbacks=[Kill(5, number), Preemption(), saved],
        enable_checkpointing=True,
    )
    with pytest.raises(
        Preempted, match=r"saved .*last\.ckpt at step 6; go on with --resume"
    ) as error:
        run.fit(model, data)
    assert error.value.exit_code == 128 + number
    assert torch.load(tmp_path / "ckpt" / "last.ckpt", weights_only=True)["global_step"] == 6
    assert [signal.getsignal(one) for one in SIGNALS] == before


def test_sigterm_before_the_first_step_ends_the_run_there(task_and_data, trainer):
    model, data = task_and_data
    before = signal.getsignal(signal.SIGTERM)
    run = trainer(max_epochs=1, callbacks=[Kill(-1, signal.SIGTERM), Preemption()])
    with pytest.raises(Preempted, match="before the first step") as error:
        run.fit(model, data)
    assert error.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_was_switched_off_stays_off(task_and_data, trainer, number):
    model, data = task_and_data
    before = signal.signal(number, signal.SIG_IGN)
    try:
        trainer(max_steps=3, limit_val_batches=0, callbacks=[Kill(1, number), Preemption()]).fit(
            model, data
        )
    finally:
        signal.signal(number, before)
    assert model.trainer.global_step == 3


def wait_for(path: Path, process: subprocess.Popen) -> None:
    until = time.monotonic() + 120
    while not path.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    assert path.exists()


def start(**settings) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "unrolled", *ENDLESS], text=True, **settings)


def ctrl_c(group: int) -> None:
    os.killpg(group, signal.SIGINT)


def test_ctrl_c_reaches_workers_too_and_saves_and_twice_it_ends(tmp_path, monkeypatch):
    enter(tmp_path, monkeypatch)
    default = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    process = start(stderr=subprocess.PIPE, start_new_session=True, **default)
    try:
        wait_for(LAST, process)
        ctrl_c(process.pid)
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, error
    assert "Ctrl-C once more ends at once" in error
    assert "asked to stop (Ctrl-C): saved" in error
    assert "Traceback" not in error


# An endless step: the second Ctrl-C must not wait for its end.
STUCK = """
import os, signal, sys, time
from lightning.pytorch import Trainer
from unrolled.apps.run.preemption import Preemption
signal.signal(signal.SIGINT, signal.default_int_handler)
callback = Preemption()
class Fake:
    global_step = 0
callback.on_train_start(Fake(), None)
print("ready", flush=True)
while True:
    try:
        time.sleep(1)
    except BaseException:
        pass
"""


def test_the_second_ctrl_c_ends_at_once():
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline() == "\n"
        assert "Ctrl-C once more" in process.stderr.readline()
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130


def test_a_terminal_that_is_closed_costs_nothing(tmp_path, monkeypatch):
    enter(tmp_path, monkeypatch)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-m", "unrolled", *ENDLESS])
    os.set_blocking(terminal, False)
    until = time.monotonic() + 120
    while not LAST.exists() and time.monotonic() < until:
        try:
            os.read(terminal, 1 << 16)
        except BlockingIOError:
            time.sleep(0.05)
    before = torch.load(LAST, weights_only=True)["global_step"]
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 129
    assert torch.load(LAST, weights_only=True)["global_step"] >= before
