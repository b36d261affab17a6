"""What the configuration of a run may name: classes of the kinds that are needed, and no others."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from ...class_paths import ClassPaths
from ...data.base import DataModule
from ...errors import DataError, UsageError, quoted
from ...loading import trusted_roots
from ...tasks.base import Task
from ..shell.shipped import read_yaml
from .request import Request

# Text that leaves a folder whatever it is for, and arguments whose text says where to write.
_OUT = re.compile(r"^[/~]|(^|[/\\])\.\.([/\\]|$)|://|^[a-zA-Z]:\\")
_PLACES = re.compile(r"(?<!^class_)(dir|path|folder|root|uri|url|location|file)$")


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
    name = f"The configuration beside '{request.checkpoint}'"
    rules = ClassPaths(name, roots, DataError, parsed=True)
    for config in request.configs:
        content = read_yaml(Path(config)) if config.endswith(".yaml") else yaml.safe_load(config)
        rules.refuse_strangers("config", content)
        if odd := next((key for key in content if not _is_section(key)), None):
            raise DataError(f"{rules.file} has the unknown key {odd!r}.")
        # before the parser imports what text in the place of a class names
        resolve(rules, content)
        _refuse_ways_out(rules, content.get("trainer"), request.run)
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


def _is_section(key: Any) -> bool:
    """Say whether a key is a section's: a dotted one is for a parser, which reads `config` too."""
    return str(key).isidentifier() and key != "config"


def _refuse_ways_out(rules: ClassPaths, trainer: Any, run: Path | None) -> None:
    """Refuse loggers, callbacks and profilers that would write outside of a run's folder."""
    inside = os.path.realpath(run or "")
    # the run's own folder takes the place of the trainer's
    settings = {key: value for key, value in (trainer or {}).items() if key != "default_root_dir"}
    waiting: list[tuple[str, Any]] = [("trainer", settings)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(str(key), item) for key, item in value.items()]
        elif isinstance(value, list):
            waiting += [(name, item) for item in value]
        elif isinstance(value, str):
            place = os.path.realpath(value)
            within = place == inside or place.startswith(inside + os.sep)
            if _OUT.search(value) or (_PLACES.search(name) and value and not within):
                raise rules.error(
                    f"{rules.file} has the trainer write to '{quoted(value)}' ({name}), which "
                    "leads out of the run's folder.\n"
                    "Resume a run of your own by its name: unrolled fit TASK --name NAME --resume."
                )


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


def refuse_rivals(keeper: ModelCheckpoint, others: Sequence[Callback]) -> None:
    """Refuse other callbacks that would write the files which a resumed run goes on from.

    Args:
        keeper: What keeps the run's checkpoints.
        others: The callbacks of the run, whose folders are known.

    Raises:
        UsageError: There is one.
    """
    for other in others:
        if other is keeper or not isinstance(other, ModelCheckpoint) or not other.dirpath:
            continue
        names = {str(other.filename), str(other.save_last and other.CHECKPOINT_NAME_LAST)}
        taken = sorted(names & {"last", "previous", "best"})
        if taken and os.path.realpath(other.dirpath) == os.path.realpath(keeper.dirpath or ""):
            raise UsageError(
                f"{type(other).__name__} among --trainer.callbacks would overwrite "
                f"{taken[0]}.ckpt, which the run keeps by itself:\nleave save_last and such a "
                "filename out, or give it a dirpath of its own."
            )
