"""Reading checkpoints: as data, never as code.

A checkpoint may come from anybody. Nothing of it is executed: the file is read with `weights_only`, and every class
that it names is compared with a list of trusted packages before anything is imported.
"""

from __future__ import annotations

import inspect
import pickle
import re
import warnings
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from .checkpoints import find_checkpoint
from .errors import DataError, SetupError, UsageError

if TYPE_CHECKING:
    import torch
    from jsonargparse import ArgumentParser, Namespace

    from .tasks.base import Task

TRUSTED = ("unrolled.", "torch.")
# The one class of Lightning that a hyper-parameter may be: a schedule that follows a metric.
_TRUSTED_CLASSES = ("lightning.pytorch.cli.ReduceLROnPlateau",)
# What a Lightning checkpoint holds besides, all of it read as data.
_REQUIRED = ("state_dict", "hyper_parameters", "unrolled")
_GLOBAL = re.compile(r"(?:GLOBAL|global|Unsupported class|type)\s+`?([\w.]+)`?")


def load(path: str | Path, *, device: str | torch.device = "cpu", trust: Sequence[str] = ()) -> Task:
    """Return the trained model of a checkpoint, ready for use.

    Args:
        path: The checkpoint, or the folder of a run.
        device: Where to put the model.
        trust: Packages of one's own that the checkpoint may name classes of, besides `unrolled` and `torch`.

    Returns:
        The task in evaluation mode.

    Raises:
        DataError: The file is missing, damaged, or not a checkpoint of `unrolled`.
        UsageError: There is no such kind of device.
        SetupError: This machine has no such device.
    """
    checkpoint = read_checkpoint(path, trust=trust)
    import torch

    try:
        torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"There is no kind of device '{device}': say cpu, cuda, cuda:1 or mps.") from error
    task = build(checkpoint, path)
    try:
        task.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        raise DataError(f"'{path}': the weights don't fit the model that it names.\n{_first_lines(error)}") from error
    try:
        return task.to(device).eval()
    except (RuntimeError, AssertionError) as error:
        raise SetupError(f"There is no device '{device}' here: {_first_lines(error, 1)}") from error


def read_checkpoint(path: str | Path, *, trust: Sequence[str] = ()) -> dict[str, Any]:
    """Return what a checkpoint holds, with every class name in it found to be trusted.

    Args:
        path: The checkpoint, or the folder of a run.
        trust: Packages to trust besides `unrolled` and `torch`.

    Returns:
        Lightning's checkpoint: `state_dict`, `hyper_parameters`, `unrolled` and more, on the CPU.

    Raises:
        DataError: The file is missing, damaged, holds code, or is not a checkpoint of `unrolled`.
    """
    file = find_checkpoint(str(path))
    import torch

    if problem := torch_problem(torch.__version__):
        warnings.warn(f"Load only checkpoints that you trust: {problem}", stacklevel=2)
    try:
        checkpoint = torch.load(str(file), map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        found = _GLOBAL.search(str(error))
        what = f" ({found[1]})" if found else ""
        raise DataError(
            f"'{file}' holds pickled code{what} and was not loaded: only weights and plain data are.\n"
            "A checkpoint of `unrolled` holds nothing else."
        ) from error
    except (RuntimeError, EOFError, KeyError, ValueError) as error:
        raise DataError(f"'{file}' is not a checkpoint: {_first_lines(error, 1)}") from error
    if not isinstance(checkpoint, dict) or any(not isinstance(checkpoint.get(key), dict) for key in _REQUIRED):
        raise DataError(
            f"'{file}' is not a checkpoint of `unrolled`: it lacks one of {', '.join(_REQUIRED)}.\n"
            "Weights of another program can't be used as they are."
        )
    for where, name in class_names_in(checkpoint):
        _check_name(file, where, name, trust)
    return checkpoint


def torch_problem(version: str) -> str | None:
    """Say what is known to be unsafe about reading checkpoints with a version of torch; None: nothing.

    Args:
        version: As `torch.__version__` says.
    """
    number = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if number < (2, 6):
        return f"torch {version} can be made to run code by a checkpoint (CVE-2025-32434, mended in 2.6)."
    if number < (2, 10):
        return f"torch {version} can be made to corrupt memory by a checkpoint (CVE-2026-24747, mended in 2.10)."
    return None


def class_names_in(checkpoint: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield every place of a checkpoint's hyper-parameters that names a class, and the name.

    Args:
        checkpoint: What was read.
    """
    yield "unrolled.task", checkpoint["unrolled"].get("task")
    for key, value in checkpoint["hyper_parameters"].items():
        if key == "_class_path":
            yield key, value
        elif key not in ("_instantiator", "spec"):
            yield from _class_names(key, value)


def _class_names(where: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "class_path":
                yield where, item
            else:
                yield from _class_names(f"{where}.{key}", item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _class_names(where, item)


def _check_name(file: Path, where: str, name: Any, trust: Sequence[str]) -> None:
    prefixes = (*TRUSTED, *(f"{package.rstrip('.')}." for package in trust))
    if isinstance(name, str) and (name.startswith(prefixes) or name in _TRUSTED_CLASSES):
        return
    package = str(name).partition(".")[0]
    raise DataError(
        f"'{file}' asks for the class {name!r} ({where}), which is neither of `unrolled` nor of `torch`: not loaded.\n"
        f"If you know where the checkpoint comes from, trust it: --trust {package}, or trust=['{package}'] in Python."
    )


def build(checkpoint: dict[str, Any], path: str | Path = "the checkpoint") -> Task:
    """Return the untrained model that a checkpoint describes.

    Args:
        checkpoint: What `read_checkpoint` returned.
        path: What to call it in an error message.

    Raises:
        DataError: A hyper-parameter is none of the class's.
    """
    from jsonargparse import ArgumentParser
    from lightning.pytorch.core.mixins.hparams_mixin import _given_hyperparameters_context

    from .core.vision import weights_follow
    from .tasks.base import Task

    parameters = dict(checkpoint["hyper_parameters"])
    parameters.pop("_instantiator", None)
    class_path = parameters.pop("_class_path", checkpoint["unrolled"]["task"])
    if lost := checkpoint["unrolled"].get("lost"):
        raise DataError(
            f"'{path}' does not say what {', '.join(lost)} was: a function made it, in Python.\n"
            "Make the same model there, and give it the checkpoint's `state_dict`."
        )
    _check_schema(path, class_path, parameters)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Task, "task", fail_untyped=False)
    try:
        parsed = parser.parse_object({"task": {"class_path": class_path, "init_args": parameters}})
        hparams = {"_class_path": class_path, **parameters}
        instantiator = "lightning.pytorch.cli.instantiate_module"
        with weights_follow(), _given_hyperparameters_context(hparams=hparams, instantiator=instantiator):
            task = instantiate(parser, parsed).task
    except DataError:
        raise
    except Exception as error:  # jsonargparse raises what a class raises
        raise DataError(f"'{path}' describes a model that can't be made: {_first_lines(error)}") from error
    if not isinstance(task, Task):
        raise DataError(f"'{path}': '{class_path}' is not a task.")
    return task


def instantiate(parser: ArgumentParser, config: Namespace) -> Namespace:
    """Make the objects that a configuration describes.

    Args:
        parser: The parser that it came from.
        config: The configuration.
    """
    # jsonargparse 4.49 gave the method its new name, and warns about the old one
    make = getattr(parser, "instantiate", None) or parser.instantiate_classes
    made: Namespace = make(config)
    return made


def _check_schema(path: str | Path, class_path: str, arguments: dict[str, Any]) -> None:
    """Refuse arguments that the class does not have, and text where it expects an object.

    Text for an object would be read by jsonargparse as YAML, as a file or as the name of any function.

    Args:
        path: The checkpoint.
        class_path: A class whose name is trusted.
        arguments: Its arguments.
    """
    cls = _find_class(path, class_path)
    known = inspect.signature(cls).parameters
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
    try:
        hints = get_type_hints(cls.__init__)  # type: ignore[misc]
    except Exception:  # a class of torch may not resolve its own annotations; then text is refused
        hints = {}
    for name, value in arguments.items():
        if name not in known and not open_ended:
            raise DataError(
                f"'{path}': {cls.__name__} has no argument '{name}'. The checkpoint may be of another version."
            )
        if name != "spec":
            _check_value(path, f"{cls.__name__}.{name}", value, _takes_text(hints.get(name)))


def _check_value(path: str | Path, where: str, value: Any, text: bool) -> None:
    if isinstance(value, str) and not text:
        raise DataError(f"'{path}' gives the text {value[:60]!r} for {where}, which takes none: not loaded.")
    if isinstance(value, dict) and "class_path" in value:
        if unknown := set(value) - {"class_path", "init_args"}:
            raise DataError(f"'{path}': {where} has the unknown key '{min(unknown, key=str)}': not loaded.")
        _check_schema(path, value["class_path"], value.get("init_args") or {})
    elif isinstance(value, dict):
        for item in value.values():
            _check_value(path, where, item, text)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_value(path, where, item, text)


def _takes_text(hint: Any) -> bool:
    """Say whether a type takes text as it is: str, a Literal of strings, a Path, or a union or list of such."""
    if isinstance(hint, str) or hint in (str, Path):
        return True
    return any(_takes_text(part) for part in get_args(hint) if not isinstance(part, list))


def _find_class(path: str | Path, class_path: str) -> type:
    from torch import nn, optim

    module, _, name = class_path.rpartition(".")
    try:
        cls = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise DataError(f"'{path}' asks for '{class_path}', which this version does not have.") from error
    kinds: tuple[type, ...] = (nn.Module, optim.Optimizer, optim.lr_scheduler.LRScheduler)
    if not isinstance(cls, type) or not issubclass(cls, kinds):
        raise DataError(f"'{path}': '{class_path}' is no module, optimizer or schedule: not loaded.")
    return cls


def _first_lines(error: Exception, count: int = 2) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:count])[:300]
