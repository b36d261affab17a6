"""What the configuration of a run may name: classes of the kinds that are needed, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import Callback, Trainer

from ...class_paths import ClassPaths
from ...data.base import DataModule
from ...errors import DataError, UsageError
from ...loading import trusted_roots
from ...tasks.base import Task
from ..shell.shipped import read_yaml
from .request import Request


def rules_of(request: Request) -> ClassPaths:
    """Return which classes a command's configuration may name: any, where its user has named it.

    Args:
        request: The command.

    Raises:
        DataError: A configuration that lay beside a checkpoint names a class of another package.
    """
    if not request.foreign:
        return ClassPaths("The configuration", None, UsageError)
    roots = (
        *trusted_roots(request.trust),
        "unrolled.apps",
        "lightning.pytorch",
        "lightning.fabric",
    )
    rules = ClassPaths(f"The configuration beside '{request.checkpoint}'", roots, DataError)
    for config in request.configs:
        content = read_yaml(Path(config)) if config.endswith(".yaml") else yaml.safe_load(config)
        rules.refuse_strangers("config", content)
        if odd := next((key for key in content if not str(key).isidentifier()), None):
            raise DataError(f"{rules.file} has the unknown key {odd!r}.")
        # before the parser imports what text in the place of a class names
        resolve(rules, content)
    return rules


def resolve(rules: ClassPaths, config: dict[str, Any]) -> None:
    """Refuse a configuration in which a name is of no class of the kind that is needed there.

    Args:
        rules: Which names it may hold.
        config: The whole of it, as the parser dumps it.

    Raises:
        UnrolledError: The rules' `error`: there is such a name.
    """
    trainer = config.get("trainer") or {}
    if not isinstance(trainer, dict):
        raise rules.error(
            f"{rules.file} gives {trainer!r} for trainer, which takes settings by name."
        )
    rules.arguments(Trainer, trainer)
    for section, base in (("model", Task), ("data", DataModule)):
        rules.resolve(config.get(section), base, section)


def refuse_twins(callbacks: list[Callback]) -> None:
    """Refuse two callbacks that would have one place in a checkpoint.

    Args:
        callbacks: Those of a run.

    Raises:
        UsageError: There are two.
    """
    keys = [one.state_key for one in callbacks if type(one).state_dict is not Callback.state_dict]
    if twins := [key for key in keys if keys.count(key) > 1]:
        name = twins[0].partition("{")[0]
        raise UsageError(f"--trainer.callbacks names {name} twice: one of them has to go.")
