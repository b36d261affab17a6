"""What commands open: the trained model of a checkpoint, of the kind that they need."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from ...checkpoints import WholeFile, find_checkpoint, is_exported
from ...errors import UsageError, a, printable

if TYPE_CHECKING:
    from ...tasks.model import Model

Kind = TypeVar("Kind")
Opened: TypeAlias = Kind | str | os.PathLike[str]
"""A trained model, or where its checkpoint is."""


def model_file(given: str) -> WholeFile | Path:
    """Return the checkpoint that a command shall use, and say which of a run's it is.

    Args:
        given: A checkpoint, or the folder of a run or of runs: its best, or the last; or the folder
            of an exported model, which is returned.

    Raises:
        DataError: There is no such file, or it is no whole checkpoint.
    """
    return path if is_exported(path := Path(given)) else checkpoint_file(given)


def checkpoint_file(given: str) -> WholeFile:
    """Return the checkpoint that a command shall use, as `model_file`, and no exported model.

    Args:
        given: A checkpoint, or the folder of a run or of runs.

    Raises:
        DataError: There is no such file, or it is no whole checkpoint.
    """
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
    model = any_model(checkpoint, device=device, trust=trust)
    if not isinstance(model, kind):
        raise UsageError(f"'{checkpoint}' holds {a(type(model))}, which does not {purpose}.")
    return model


def model_files(given: str) -> list[WholeFile | Path]:
    """Return the checkpoints that a command shall use together; see `model_file`.

    Args:
        given: A checkpoint, or several with commas in between.

    Raises:
        DataError: One is not there, or is no whole checkpoint.
    """
    whole = os.path.exists(given) or "," not in given  # a name may have a comma in it
    names = [given] if whole else [name.strip() for name in given.split(",")]
    return [model_file(name) for name in names if name] or [model_file(given)]


def open_models(
    checkpoints: Sequence[WholeFile | Path],
    kind: type[Kind],
    purpose: str,
    *,
    device: str,
    trust: str,
) -> Kind:
    """Return the model of a checkpoint, or of several one that speaks for all of them.

    Args:
        checkpoints: As `model_files` returned them.
        kind: As for `open_model`, also the rest.
        purpose: As there.
        device: As there.
        trust: As there.

    Raises:
        UnrolledError: That of `open_model`, or they can't speak together.
    """
    if len(checkpoints) > 1 and (exported := [one for one in checkpoints if isinstance(one, Path)]):
        raise UsageError(
            f"'{exported[0]}' is an exported model, which speaks alone: give checkpoints."
        )
    settings = {"device": device, "trust": trust}
    models = [open_model(one, kind, purpose, **settings) for one in checkpoints]
    if len(models) == 1:
        return models[0]
    from ...tasks.ensembles import ensemble

    return ensemble(models, [f"'{one}'" for one in checkpoints])  # type: ignore[type-var]


def any_model(checkpoint: WholeFile | Path, *, device: str, trust: str) -> Model:
    """Return the trained model of a checkpoint, of whatever kind.

    Args:
        checkpoint: See `open_model`.
        device: As for `load`.
        trust: As for `load`.

    Raises:
        UnrolledError: That of `load`, or an exported model can't be there.
    """
    if isinstance(checkpoint, Path):
        from ..exports.running import open_folder

        if device != "cpu":
            raise UsageError(f"--device {device}: an exported model runs on the cpu.")
        return open_folder(checkpoint)
    if device.startswith("meta"):
        raise UsageError(f"--device {device} holds no weights: say cpu, cuda, cuda:1 or mps.")
    from ...loading import load

    return load(checkpoint, device=device, trust=trust)


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
        raise UsageError(f"{a(type(model), capital=True)} does not {purpose}.")
    checkpoint = find_checkpoint(model)
    return open_model(checkpoint, kind, purpose, device=device, trust=trust)


def summary(model: Model) -> str:
    """Say what a model is made of: its core, and how many parameters it has.

    Args:
        model: The model.
    """
    parameters = sum(weight.numel() for weight in model.parameters())
    if not parameters:
        return "graphs in onnxruntime"
    core = getattr(model, "core", None) or getattr(getattr(model, "decoder", None), "core", None)
    named = f"{type(core).__name__}, " if core is not None else ""
    return f"{named}{parameters:,} parameters"
