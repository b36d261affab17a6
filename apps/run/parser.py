"""The parser of `unrolled fit`, `validate`, `test` and `predict`, and what makes objects in it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext, suppress
from enum import Enum
from typing import Any

import torch
import yaml
from jsonargparse.typing import register_type
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, _InstantiatorFn

from ...class_paths import accepted
from ...core.allocation import Bounded
from ...core.vision.backbones import Backbone
from ...errors import UsageError, at_least
from ...tasks.base import Task
from ..shell.arguments import Parser
from .flags import task_flags


def _by_value(dumper: yaml.SafeDumper, value: Enum) -> yaml.Node:
    return dumper.represent_data(value.value)


# Defaults of some of Lightning's callbacks, where text is expected: `Timer` has one.
yaml.SafeDumper.add_multi_representer(Enum, _by_value)
register_type(torch.device)  # `StochasticWeightAveraging` has one


class TrainingParser(Parser, LightningArgumentParser):
    """LightningCLI's parser with our error messages, which know the flags of the task.

    Args:
        word: What names the configuration; the parsers inside have none.
    """

    def __init__(self, *args: Any, word: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._word = word

    def flags(self) -> list[str]:
        """Return every flag of this parser, of its subcommands, and of the task's classes."""
        known = super().flags()
        with suppress(UsageError):  # what a run was begun with may be gone
            known += task_flags(self._word) if self._word else []
        return known


class Instantiator(_InstantiatorFn):  # type: ignore[misc, unused-ignore]
    """Makes an object as Lightning does; its sizes may be those of a slip of the keyboard."""

    def __call__(
        self, class_type: type, *args: Any, applied_instantiation_links: Any, **kwargs: Any
    ) -> Any:
        """Make it.

        Args:
            class_type: Its class.
            *args: Its positional arguments.
            applied_instantiation_links: What it gets of other objects.
            **kwargs: The others.
        """
        with Bounded() if issubclass(class_type, Task) else nullcontext():
            return super().__call__(
                class_type,
                *args,
                applied_instantiation_links=applied_instantiation_links,
                **kwargs,
            )


def without_weights(cls: type[Backbone], **arguments: Any) -> Backbone:
    """Make a backbone that fetches no weights: the checkpoint brings them."""
    return cls(**arguments | accepted(cls, {"fetch": False}))


def refuse_too_small(trainer: Any) -> None:
    """Refuse what a trainer would divide by after it has begun.

    Args:
        trainer: Its settings.

    Raises:
        UsageError: One of them is too small.
    """
    names = ("accumulate_grad_batches", "check_val_every_n_epoch", "num_nodes")
    at_least(1, **{f"--trainer.{name}": trainer.get(name) for name in names})
    every = trainer.get("val_check_interval")
    if isinstance(every, int | float) and every <= 0:
        raise UsageError(f"--trainer.val_check_interval is {every}; it has to be above 0.")


def made_trainer(make: Callable[..., Trainer], settings: dict[str, Any]) -> Trainer:
    """Make a trainer; what it refuses is the configuration's fault.

    Args:
        make: Makes it.
        settings: What of its arguments the configuration doesn't say.

    Raises:
        UsageError: It refuses a setting.
    """
    try:
        return make(**settings)
    except (ValueError, TypeError) as error:
        raise UsageError(f"--trainer: {' '.join(str(error).split())}") from error
