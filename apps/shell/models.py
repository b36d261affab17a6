"""What commands open: the trained model of a checkpoint, of the kind that they need."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TypeVar

from ...checkpoints import WholeFile, find_checkpoint
from ...errors import DataError, UsageError, printable

Kind = TypeVar("Kind")


def model_file(given: str) -> WholeFile | Path:
    """Return the checkpoint that a command shall use, and say which of a run's it is.

    Args:
        given: A checkpoint, or the folder of a run or of runs: its best, or the last; or the folder
            of an exported model, which is returned.

    Raises:
        DataError: There is no such file, or it is no whole checkpoint.
    """
    return Path(given) if is_exported(given) else checkpoint_file(given)


def checkpoint_file(given: str) -> WholeFile:
    """Return the checkpoint that a command shall use, as `model_file`, and no exported model.

    Args:
        given: A checkpoint, or the folder of a run or of runs.

    Raises:
        DataError: There is no such file, or it is no whole checkpoint.
    """
    if is_exported(given):
        raise DataError(f"'{given}' is an exported model: give the checkpoint that it was made of.")
    file = find_checkpoint(given)
    if os.path.isdir(given):
        print(f"using {printable(str(file))}", file=sys.stderr, flush=True)
    return file


def open_model(
    checkpoint: WholeFile | Path, kind: type[Kind], purpose: str, *, device: str, trust: str
) -> Kind:
    """Return the trained model of a checkpoint.

    Args:
        checkpoint: The checkpoint or folder, as `model_file` returned it: that is known in no time.
        kind: The class that the model has to be of.
        purpose: What such a model does, for the message about another one.
        device: As for `load`.
        trust: As for `load`.

    Raises:
        UnrolledError: That of `load`, or it holds a model of another kind.
    """
    if isinstance(checkpoint, Path):
        from ..exports.running import open_folder

        if device != "cpu":
            raise UsageError(f"--device {device}: an exported model runs on the cpu.")
        model = open_folder(checkpoint)
    else:
        from ...loading import load

        model = load(checkpoint, device=device, trust=trust)
    if not isinstance(model, kind):
        raise UsageError(
            f"'{checkpoint}' holds a {type(model).__name__}, which does not {purpose}."
        )
    return model


def is_exported(given: str) -> bool:
    """Say whether a path is the folder of an exported model.

    Args:
        given: The path.
    """
    return "://" not in given and (Path(given) / "model.json").is_file()
