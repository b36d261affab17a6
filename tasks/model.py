"""What every model is: a network and what it says to people, without what trains it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn


class Model(nn.Module):
    """The part of a task that is used when training is over: torch alone, no Lightning.

    A task makes it from those of its own arguments that have the same names, and a checkpoint says
    which they are, so that `unrolled.load` makes it again without the task.

    Args:
        spec: What the model knows of its data, as plain data.

    Attributes:
        symbol_rows: Names of the tensors of the state dict whose rows stand for symbols, and the
            key of the spec that lists these: a run that begins with another's weights takes such
            rows by symbol, not by position. Whoever adds such a tensor declares it here.
    """

    symbol_rows: ClassVar[Mapping[str, str]] = {}

    def __init__(self, spec: Any) -> None:
        super().__init__()
        self.spec = spec

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.parameters()).device
