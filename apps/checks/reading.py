"""The data of a task, made as `unrolled fit` makes them: the same words, the same configuration."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningArgumentParser

from ...data.base import DataModule
from ...errors import UsageError
from ...loading import instantiate
from ..run.progress import hush_lightning
from ..run.request import parse
from ..run.training import TrainingCLI
from ..shell.arguments import cause, import_classes, lacking
from ..shell.shipped import class_name, find_config, read_yaml
from ..shell.source import classes_in

_PLACES = ("path", "root")  # the arguments that say where data are, for a word without a flag


class Read(NamedTuple):
    """What `fit` would begin with.

    Attributes:
        data: The data module.
        trainer: The trainer's settings.
    """

    data: DataModule
    trainer: dict[str, Any]


class _DataCLI(TrainingCLI):
    """Lightning's command line up to the data: no model, no trainer, no folder."""

    def instantiate_classes(self) -> None:
        """Make the data."""
        parser = LightningArgumentParser()
        parser.add_lightning_class_args(self._datamodule_class, "data", subclass_mode=True)
        try:
            config = parser.parse_object({"data": self.config_dump["data"]})
            self.datamodule = instantiate(parser, config)["data"]
        except ValueError as error:
            raise cause(error) from error

    def after_instantiate_classes(self) -> None:
        """Do nothing: there is no model."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Do nothing: nothing is trained."""


def read_as_fit(word: str, words: list[str]) -> Read:
    """Make the data module that `unrolled fit` would train on.

    Args:
        word: The task, its variant, or a YAML file.
        words: A file or folder, if any, and flags of `fit`.

    Raises:
        UsageError: There is no such task or flag, or the data can't be named by a word alone.
        DataError: The data are missing or damaged.
    """
    if words and not words[0].startswith("-"):
        words = [*_place(word, words[0]), *words[1:]]
    for flag in (flag.partition("=")[0] for flag in words):
        if flag in ("--resume", "--name", "--init_from"):
            raise UsageError(f"{flag} belongs to `unrolled fit`: a check makes no run.")
    request = parse("fit", [word, *words])
    import_classes()
    hush_lightning()
    cli = _DataCLI(request)
    try:
        cli.carry_out()
    except MisconfigurationException as error:
        raise UsageError(str(error)) from error
    except ImportError as error:
        raise lacking(error) from error
    return Read(cli.datamodule, dict(cli.config_dump.get("trainer") or {}))


def _place(word: str, given: str) -> list[str]:
    """Return the flag by which a data module is told where its data are."""
    config = read_yaml(find_config(word))
    name = class_name(config, "data")
    source = classes_in("data").get(name)
    known: set[str] = set()
    if source is not None:
        known = set(inspect.signature(getattr(import_module(source.module), name)).parameters)
    if "train" in known and not Path(given).is_dir():
        return ["--data.train", given]
    flag = next((place for place in _PLACES if place in known), None)
    if flag is None:
        raise UsageError(
            f"'{given}': {name or 'this data module'} is not told by one word where its data are; "
            "say it by the --data flags of `unrolled fit`."
        )
    return [f"--data.{flag}", given]
