"""SIGTERM, Ctrl-C and SIGHUP end a run well."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress

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


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_before_the_first_step_ends_the_run_there(task_and_data, trainer, number):
    model, data = task_and_data
    before = [signal.getsignal(one) for one in SIGNALS]
    run = trainer(max_epochs=1, callbacks=[Kill(-1, number), Preemption()])
    with pytest.raises(Preempted, match="before the first step") as error:
        run.fit(model, data)
    assert error.value.exit_code == 128 + number
    assert [signal.getsignal(one) for one in SIGNALS] == before


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


def test_ctrl_c_reaches_workers_too_and_saves_and_twice_it_ends(forks, tmp_path, monkeypatch):
    enter(tmp_path, monkeypatch)
    with forks.start(tmp_path, ENDLESS) as run:
        assert run.wait_for(LAST.exists)
        os.killpg(run.pid, signal.SIGINT)
        assert run.wait() == 130, run.err
        assert "Ctrl-C once more ends at once" in run.err
        assert "asked to stop (Ctrl-C): saved" in run.err
        assert "Traceback" not in run.err


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


def test_a_terminal_that_is_closed_costs_nothing(forks, tmp_path, monkeypatch):
    enter(tmp_path, monkeypatch)
    terminal, its = pty.openpty()
    os.set_blocking(terminal, False)

    def saved() -> bool:
        with suppress(BlockingIOError):
            os.read(terminal, 1 << 16)
        return LAST.exists()

    with forks.start(tmp_path, ENDLESS, terminal=os.ttyname(its)) as run:
        assert run.wait_for(saved)
        os.close(its)
        before = torch.load(LAST, weights_only=True)["global_step"]
        os.close(terminal)
        assert run.wait() == 129
    assert torch.load(LAST, weights_only=True)["global_step"] >= before
