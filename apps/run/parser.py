"""The parser of `unrolled fit`, `validate`, `test` and `predict`."""

from __future__ import annotations

from contextlib import suppress
from enum import Enum
from typing import Any

import yaml
from lightning.pytorch.cli import LightningArgumentParser

from ...errors import UsageError
from ..shell.arguments import Parser
from .flags import task_flags


def _by_value(dumper: yaml.SafeDumper, value: Enum) -> yaml.Node:
    return dumper.represent_data(value.value)


# Defaults of some of Lightning's callbacks, where text is expected: `Timer` has one.
yaml.SafeDumper.add_multi_representer(Enum, _by_value)


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
