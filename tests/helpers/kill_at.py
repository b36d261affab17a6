"""A callback for runs that have to end early; found through PYTHONPATH."""

from __future__ import annotations

import os
import signal

from lightning.pytorch import Callback


class KillAt(Callback):
    """Ends the run after the step that KILL_AT names, in the way that KILL_WAY names.

    The ways: a signal to the process, SIGKILL if none is named; `stop` and `stop in validation`, as
    callbacks do; `SIGKILL in validation`.
    """

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        way = os.environ.get("KILL_WAY", "SIGKILL")
        if trainer.global_step == int(os.environ.get("KILL_AT", "-1")):
            if way == "stop":
                trainer.should_stop = True
            elif " " not in way:
                os.kill(os.getpid(), getattr(signal, way))

    def on_validation_start(self, trainer, pl_module):
        if os.environ.get("KILL_WAY") == "SIGKILL in validation" and trainer.global_step >= int(
            os.environ["KILL_AT"]
        ):
            os.kill(os.getpid(), signal.SIGKILL)

    def on_validation_end(self, trainer, pl_module):
        if os.environ.get("KILL_WAY") == "stop in validation":
            trainer.should_stop = trainer.global_step >= int(os.environ["KILL_AT"])
