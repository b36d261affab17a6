"""What commands open: the trained model of a checkpoint, of the kind that they need."""

from __future__ import annotations

import os
import sys
from typing import TypeAlias, TypeVar

from ...checkpoints import WholeFile, find_checkpoint
from ...errors import UsageError, printable

Kind = TypeVar("Kind")
Opened: TypeAlias = Kind | str | os.PathLike[str]
"""A trained model, or where its checkpoint is."""


def model_file(given: str) -> WholeFile:
    """Return the checkpoint that a command shall use, and say which of a run's it is.

    Args:
        given: A checkpoint, or the folder of a run or of runs: its best, or the last.

    Raises:
        DataError: There is no such file, or it is no whole checkpoint.
    """
    file = find_checkpoint(given)
    if os.path.isdir(given):
        print(f"using {printable(str(file))}", file=sys.stderr, flush=True)
    return file


def open_model(
    checkpoint: WholeFile, kind: type[Kind], purpose: str, *, device: str, trust: str
) -> Kind:
    """Return the trained model of a checkpoint.

    Args:
        checkpoint: The checkpoint, as `model_file` returned it: that is known in no time.
        kind: The class that the model has to be of.
        purpose: What such a model does, for the message about another one.
        device: As for `load`.
        trust: As for `load`.

    Raises:
        UnrolledError: That of `load`, or it holds a model of another kind.
    """
    from ...loading import load

    model = load(checkpoint, device=device, trust=trust)
    if not isinstance(model, kind):
        raise UsageError(
            f"'{checkpoint}' holds a {type(model).__name__}, which does not {purpose}."
        )
    return model


def opened(
    model: Opened[Kind], kind: type[Kind], purpose: str, *, device: str = "cpu", trust: str = ""
) -> Kind:
    """Return a trained model, which may be there already.

    Args:
        model: The model, a checkpoint, or the folder of a run.
        kind: See `open_model`, also for the rest.
        purpose: See `open_model`.
        device: See `open_model`.
        trust: See `open_model`.

    Raises:
        UnrolledError: See `open_model`.
    """
    if isinstance(model, kind):
        return model
    if not isinstance(model, str | os.PathLike):
        raise UsageError(f"A {type(model).__name__} does not {purpose}.")
    checkpoint = find_checkpoint(model)
    return open_model(checkpoint, kind, purpose, device=device, trust=trust)
