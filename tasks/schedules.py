"""Learning rate schedules that know the length of the run."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..errors import UsageError

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

Made = TypeVar("Made")


class WarmupCosine(LRScheduler):
    """Linear warm-up, then half a cosine down to a fraction of the peak, over the whole run.

    The factor at step t of N is min(1, (t + 1) / (warmup N)) * (final + (1 - final) (1 + cos(pi t /
    N)) / 2).

    Args:
        optimizer: Its learning rates are the peaks.
        total_steps: N, optimizer steps; 0: the length of the run, which the task fills in when
            training starts.
        warmup: The share of N that is warm-up.
        final: The last factor.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        total_steps: int = 0,
        warmup: float = 0.02,
        final: float = 0.01,
    ) -> None:
        if total_steps < 0:
            raise ValueError(
                f"total_steps={total_steps}: must be at least 0 (0: the length of the run)"
            )
        if not 0 <= warmup < 1:
            raise ValueError(f"warmup={warmup}: must be a share of the run, at least 0 and below 1")
        if not 0 <= final <= 1:
            raise ValueError(f"final={final}: must be a share of the peak, between 0 and 1")
        self.total_steps = total_steps
        self.follows_run = total_steps == 0
        self.warmup = warmup
        self.final = final
        super().__init__(optimizer)

    def set_run_length(self, steps: int) -> None:
        """Take the length of the run as N, unless one was given, and set the learning rates anew.

        Args:
            steps: Optimizer steps of the whole run, those before a resume included.
        """
        if self.follows_run:
            self.total_steps = steps
            for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
                group["lr"] = rate

    def get_lr(self) -> list[float | Tensor]:
        """Return the learning rates of this step, in closed form: no rounding error gathers."""
        total = max(self.total_steps, 1)
        rise = min(1.0, (self.last_epoch + 1) / (self.warmup * total)) if self.warmup else 1.0
        fall = (1 + math.cos(math.pi * min(1.0, self.last_epoch / total))) / 2
        return [
            float(base) * rise * (self.final + (1 - self.final) * fall) for base in self.base_lrs
        ]


def run_length(trainer: Trainer) -> int:
    """Return the optimizer steps of a whole run, as the trainer's limits say.

    Args:
        trainer: The trainer, with its loaders.

    Raises:
        UsageError: It has no limit.
    """
    limits = []
    if trainer.max_steps >= 0:
        limits.append(trainer.max_steps)
    epochs, batches = trainer.max_epochs, trainer.num_training_batches
    if epochs is not None and epochs >= 0 and math.isfinite(batches):
        limits.append(epochs * math.ceil(batches / trainer.accumulate_grad_batches))
    if not limits:
        raise UsageError(
            "WarmupCosine needs the length of the run, and so does scheduled_sampling: give "
            "--trainer.max_steps or --trainer.max_epochs (WarmupCosine alone also goes by its "
            "total_steps)"
        )
    return int(min(limits))


def configured(name: str, make: Callable[..., Made], *arguments: Any) -> Made:
    """Make an optimizer or a schedule; what it refuses is the configuration's fault.

    Args:
        name: The argument of the task that describes it.
        make: Makes it.
        *arguments: What it is made of.

    Raises:
        UsageError: It refuses a setting.
    """
    try:
        return make(*arguments)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise UsageError(f"--model.{name}: {' '.join(str(error).split())}") from error
