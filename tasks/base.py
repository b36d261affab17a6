"""What every task shares: optimizer and schedule, losses that are exact over processes, checkpoints of plain data."""

from __future__ import annotations

import functools
import inspect
import math
from abc import ABC
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NoReturn

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.parsing import AttributeDict
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from ..core.empty import attach
from ..core.recurrent import RecurrentCore
from ..errors import UsageError
from .schedules import WarmupCosine


class Task(LightningModule, ABC):
    """A network, its loss and its metrics.

    Args:
        optimizer: Makes the optimizer from the parameters.
        lr_scheduler: Makes the schedule from the optimizer; it is stepped after every optimizer
            step.
        compile_core: Compile the recurrent cores with `torch.compile` when training starts.

    Attributes:
        symbol_rows: Names of the tensors of the state dict whose rows stand for symbols, and the
            key of the spec that lists these: a run that begins with another's weights takes such
            rows by symbol, not by position. Whoever adds such a tensor declares it here.
    """

    symbol_rows: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self,
        *,
        optimizer: OptimizerCallable,
        lr_scheduler: LRSchedulerCallable | None,
        compile_core: bool,
    ) -> None:
        super().__init__()
        self.make_optimizer = optimizer
        self.make_schedule = lr_scheduler
        self.compile_core = compile_core
        self.lost_hyperparameters: list[str] = []

    def setup(self, stage: str) -> None:
        """Take double precision at once: Lightning converts the model after it has loaded a checkpoint's weights."""
        if self.trainer.precision == "64-true":
            self.double()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer and, where there is one, its schedule by steps."""
        optimizer = self.make_optimizer(self.parameters())
        if self.make_schedule is None:
            return optimizer
        # The schedule's length is set in on_train_start: asking the trainer for it here would build
        # the loaders too early and lose their place in a resumed run.
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self.make_schedule(optimizer), "interval": "step"},
        }

    def on_fit_start(self) -> None:
        """Say at the start what a checkpoint will lack, and compile."""
        if self.lost_hyperparameters:
            rank_zero_warn(
                f"{', '.join(self.lost_hyperparameters)}: made by a function, which a checkpoint can't hold, so "
                "`unrolled.load` won't rebuild this model; give functools.partial(LSTM, hidden_size=256) instead"
            )
        if self.compile_core:
            for core in self.cores():
                core.compile()

    def on_train_start(self) -> None:
        """Tell the schedule how long the run is."""
        schedule = self.lr_schedulers()
        if isinstance(schedule, WarmupCosine):
            schedule.set_run_length(self._run_length())

    def _run_length(self) -> int:
        """Optimizer steps of the whole run, as the trainer's limits say."""
        trainer = self.trainer
        limits = []
        if trainer.max_steps >= 0:
            limits.append(trainer.max_steps)
        if (
            trainer.max_epochs is not None
            and trainer.max_epochs >= 0
            and math.isfinite(trainer.num_training_batches)
        ):
            limits.append(
                trainer.max_epochs
                * math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
            )
        if not limits:
            raise UsageError(
                "WarmupCosine needs the length of the run, and so does scheduled_sampling: give --trainer.max_steps or "
                "--trainer.max_epochs (WarmupCosine alone also goes by its total_steps)"
            )
        return int(min(limits))

    def cores(self) -> Iterator[RecurrentCore]:
        """The task's cores, not those inside of others."""
        waiting = list(self.children())
        while waiting:
            module = waiting.pop(0)
            if isinstance(module, RecurrentCore):
                yield module
            else:
                waiting = [*module.children(), *waiting]

    def zero(self) -> Tensor:
        """A zero that every parameter has a part in: the loss of a batch that leaves nothing to this process.

        Under ddp the processes wait for every gradient of each other.
        """
        return attach(torch.zeros((), device=self.device), self.parameters())

    def global_mean(self, total: Tensor, count: Tensor) -> Tensor:
        """The mean over all processes' items, in a form whose gradients Lightning may average over processes.

        Args:
            total: This process's sum, with its gradient.
            count: This process's number of items; wherever it is, nothing waits for it.

        Returns:
            total * processes / (all processes' count). In one process, total / count. Zero where
            there are no items.
        """
        if self._trainer is None or self.trainer.world_size == 1:
            return total / count.to(total.device, non_blocking=True).clamp(min=1)
        everyone = self.trainer.strategy.reduce(count.to(total.device, copy=True), reduce_op="sum")
        return total * (self.trainer.world_size / everyone.clamp(min=1))

    def save_hyperparameters(self, *args: Any, **kwargs: Any) -> None:
        """Keep the constructor's arguments as plain data, so that `weights_only=True` loads the checkpoint.

        What can't be had as plain data is left out, and named when training starts; a default is
        found again in the signature.

        Args:
            args: As Lightning's, whose method this is otherwise.
            kwargs: As Lightning's.
        """
        caller = inspect.currentframe()
        super().save_hyperparameters(
            *args, **{"frame": caller.f_back if caller else None, **kwargs}
        )
        parameters = inspect.signature(type(self).__init__).parameters
        plain: dict[str, Any] = {
            "_class_path": f"{type(self).__module__}.{type(self).__qualname__}"
        }
        for name, value in self.hparams.items():
            if name.startswith("_"):  # LightningCLI's own
                continue
            try:
                plain[name] = to_plain(value)
            except TypeError:
                if name not in parameters or value is not parameters[name].default:
                    self.lost_hyperparameters.append(name)
        self._hparams = AttributeDict(plain)
        self._hparams_initial = AttributeDict(plain)

    @classmethod
    def load_from_checkpoint(cls, *_: Any, **__: Any) -> NoReturn:
        """Refuse: Lightning would make what a checkpoint names without a look at the names.

        Raises:
            UsageError: Always; it says what to call.
        """
        raise UsageError(
            f"{cls.__name__}.load_from_checkpoint is not safe with strangers' files: use "
            "unrolled.load(path), which checks what a checkpoint names."
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say who made the checkpoint."""
        from .. import __version__

        checkpoint["unrolled"] = {
            "version": __version__,
            "task": self.hparams["_class_path"],
            "lost": self.lost_hyperparameters,
        }


def to_plain(value: Any) -> Any:
    """Plain data that jsonargparse turns into the value again.

    Args:
        value: Numbers, strings, lists, dicts; a class; a `functools.partial` of a class.

    Returns:
        The same as numbers, strings, lists and dicts; classes as `{"class_path": ..., "init_args":
        ...}`.

    Raises:
        TypeError: For anything else.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, functools.partial) and isinstance(value.func, type) and not value.args:
        return {**to_plain(value.func), "init_args": to_plain(value.keywords)}
    # in no function, in no other class
    if isinstance(value, type) and "." not in value.__qualname__:
        return {"class_path": f"{value.__module__}.{value.__qualname__}"}
    raise TypeError(f"{value!r} is no plain data")
