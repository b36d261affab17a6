"""The one gate through which checkpoints are read: as data, never as code.

A checkpoint may come from anybody. Nothing of it is executed: the file is read with `weights_only`,
and every class that it names has to be a class of the kind that is needed there, in a trusted
package. Whatever reads a checkpoint takes a `CheckedCheckpoint`, and making one is the check. Where
the task is made again too, to train or to test, it is a `CheckedTask`, which looks at the kinds of
what only the task needs. Reading a model imports neither Lightning nor torchmetrics.
"""

from __future__ import annotations

import os
import pickle
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from .checkpoints import WEIGHTS_SUFFIX, find_checkpoint
from .class_paths import UNSEEN, ClassPaths, Recipe, parameters
from .errors import DataError, SetupError, UsageError, a, quoted
from .plain_weights import read_weights

if TYPE_CHECKING:
    import torch
    from jsonargparse import ArgumentParser, Namespace

    from .tasks.base import Task
    from .tasks.model import Model

M = TypeVar("M", bound="Model")

TRUSTED = (
    "unrolled.core",
    "unrolled.data",
    "unrolled.tasks",
    "torch.nn",
    "torch.optim",
    "torchvision.models",
    "torchmetrics.classification",
    "lightning.pytorch.cli.ReduceLROnPlateau",  # a schedule that follows a metric
)
# What a Lightning checkpoint holds besides, all of it read as data.
_REQUIRED = ("state_dict", "hyper_parameters", "unrolled")
_GLOBAL = re.compile(r"(?:GLOBAL|global|Unsupported class|type)\s+`?([\w.]+)`?")


def trusted_roots(trust: str | Sequence[str]) -> tuple[str, ...]:
    """Return the packages whose classes a checkpoint may name.

    Args:
        trust: Those besides `TRUSTED`: a list, or text with commas in between.
    """
    packages = trust.split(",") if isinstance(trust, str) else trust
    return (*TRUSTED, *(name for package in packages if (name := package.strip().rstrip("."))))


@overload
def load(
    path: str | os.PathLike[str],
    *,
    device: str | torch.device = "cpu",
    trust: str | Sequence[str] = (),
) -> Model: ...


@overload
def load(
    path: str | os.PathLike[str],
    *,
    kind: type[M],
    device: str | torch.device = "cpu",
    trust: str | Sequence[str] = (),
) -> M: ...


def load(
    path: str | os.PathLike[str],
    *,
    kind: type[Model] | None = None,
    device: str | torch.device = "cpu",
    trust: str | Sequence[str] = (),
) -> Model:
    """Return the trained model of a checkpoint, ready for use.

    Args:
        path: The checkpoint, or the folder of a run; hf://NAME is a model of the Hugging Face hub.
        kind: What the model has to be, as `unrolled.tasks.CharModel`; None: any.
        device: Where to put the model.
        trust: Packages of one's own that the checkpoint may name classes of, besides `unrolled`,
            `torch.nn` and `torch.optim`: a list, or text with commas in between.

    Returns:
        The model in evaluation mode.

    Raises:
        DataError: The file is missing, damaged, or not a checkpoint of `unrolled`, or its weights
            are no numbers.
        UsageError: There is no such kind of device, or the model is of another kind.
        SetupError: This machine has no such device.
    """
    checkpoint = CheckedCheckpoint(path, trust=trust)
    import torch

    from .tasks.model import refuse_broken

    try:
        torch.device(device)
    except RuntimeError as error:
        raise UsageError(
            f"There is no kind of device '{device}': say cpu, cuda, cuda:1 or mps."
        ) from error
    model = checkpoint.build()
    if kind is not None and not isinstance(model, kind):
        raise UsageError(f"'{path}' holds {a(type(model))}, not {a(kind)}.")
    weights = {
        name.removeprefix("model."): value
        for name, value in checkpoint.weights.items()
        if name.startswith("model.")
    }
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise DataError(
            f"'{path}': the weights don't fit the model that it names.\n{first_lines(error)}"
        ) from error
    try:
        model.take_more(checkpoint.content)
        refuse_broken(model)
    except DataError as error:
        raise DataError(f"'{path}': {error}") from error
    try:
        return model.to(device).eval()
    except (RuntimeError, AssertionError) as error:
        raise SetupError(f"There is no device '{device}' here: {first_lines(error, 1)}") from error


class CheckedCheckpoint:
    """A checkpoint that was read as data, and in which every name was found to be trusted.

    Making one is the check, so there is none that was not checked.

    Args:
        path: The checkpoint, or the folder of a run.
        trust: Packages to trust besides `TRUSTED`: a list, or text with commas in between.
        mmap: Leave the weights in the file until they are needed.

    Attributes:
        path: The file.
        content: All of it, as Lightning wrote it, on the CPU.

    Raises:
        DataError: The file is missing, damaged, holds code, or is not a checkpoint of `unrolled`;
            or it names a function, or a class of another kind or of an untrusted package.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, trust: str | Sequence[str] = (), mmap: bool = True
    ) -> None:
        file = find_checkpoint(path)
        self.path = file.path
        self.content = _read(file.path, mmap=mmap)
        self._rules = rules = ClassPaths(f"'{self.path}'", trusted_roots(trust), DataError)
        if any(rules.names("spec", self.spec)):
            raise DataError(f"'{self.path}' names a class in its spec, which is data: not loaded.")
        made = self.content["unrolled"]
        for name in (made.get("task"), made["model"], self.task):
            rules.refuse_strangers("unrolled", {"class_path": name})
        rules.refuse_strangers("model", self.model)
        if self.task != made["task"]:
            raise DataError(
                f"'{self.path}' names two tasks, {quoted(made['task'])} and {quoted(self.task)}."
            )
        from .tasks.model import Model

        cls = rules.find(made["model"], (Model,), "its model")
        names = made.get("arguments") or ()
        own = {name: value for name, value in self.parameters.items() if name in names}
        others = {name: value for name, value in self.parameters.items() if name not in names}
        self._model = Recipe(cls, rules.arguments(cls, own))
        rules.resolve(others, UNSEEN, "its task")

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """The model's parameters and buffers by name."""
        weights: dict[str, torch.Tensor] = self.content["state_dict"]
        return weights

    @property
    def parameters(self) -> dict[str, Any]:
        """The arguments that the model was made with, as plain data, and its `spec`."""
        parameters = self.content["hyper_parameters"]
        # Names with a _ in front are Lightning's own: what it would make the model with.
        return {name: value for name, value in parameters.items() if not name.startswith("_")}

    @property
    def spec(self) -> dict[str, Any]:
        """What the model knows of its data."""
        spec: dict[str, Any] = self.parameters.get("spec") or {}
        return spec

    @property
    def task(self) -> Any:
        """The full name of the task's class."""
        return self.content["hyper_parameters"].get("_class_path")

    @property
    def lost(self) -> list[str]:
        """Arguments that are not there: functions had made them, in Python."""
        return self.content["unrolled"].get("lost") or []

    @property
    def model(self) -> dict[str, Any]:
        """What a configuration says at `model`: the task, without the spec, which the data give."""
        arguments = {name: value for name, value in self.parameters.items() if name != "spec"}
        return {"class_path": self.task, "init_args": arguments}

    def build(self) -> Model:
        """Return the model that the checkpoint describes, untrained.

        Raises:
            DataError: The class refuses its arguments, or not all of them are there.
        """
        known = parameters(self._model.cls)[0]
        model: Model = self._make(self._model, [name for name in self.lost if name in known])
        return model

    def _make(self, recipe: Recipe, lost: Sequence[str]) -> Any:
        from .core.allocation import Bounded, memory
        from .core.vision.backbones import Backbone

        if lost:
            raise DataError(
                f"'{self.path}' does not say what {', '.join(lost)} was: a function made it, in "
                "Python.\nMake the same model there, and give it the checkpoint's `state_dict`."
            )
        storages = {w.untyped_storage().data_ptr(): w for w in self.weights.values()}
        held = sum(weight.untyped_storage().nbytes() for weight in storages.values())
        # Weights may be kept in half precision; of a backbone a part is used, and all of it made.
        most = min(memory(), 4 * held + (1 << 30))
        try:
            with Bounded(most, f"is the most for a file with {held / 1e9:,.1f} GB of weights"):
                # Its state dict brings the weights of its backbone.
                return recipe.make(Backbone, fetch=False)
        # a constructor may raise anything where its data are not its own
        except Exception as error:
            raise DataError(
                f"'{self.path}' describes a model that can't be made: {first_lines(error)}"
            ) from error


class CheckedTask(CheckedCheckpoint):
    """A checkpoint of which everything that the task needs was checked too: of which kind it is.

    Args:
        path: As for `CheckedCheckpoint`, also the rest.
        trust: As there.
        mmap: As there.

    Raises:
        DataError: As there.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, trust: str | Sequence[str] = (), mmap: bool = True
    ) -> None:
        super().__init__(path, trust=trust, mmap=mmap)
        from .tasks.base import Task

        cls = self._rules.find(self.task, (Task,), "its task")
        self._task = Recipe(cls, self._rules.arguments(cls, self.parameters))

    def build_task(self) -> Task:
        """Return the task that the checkpoint describes, its model untrained.

        Raises:
            DataError: The class refuses its arguments, or not all of them are there.
        """
        task: Task = self._make(self._task, self.lost)
        return task


def _read(file: Path, *, mmap: bool) -> dict[str, Any]:
    """Return what a checkpoint file holds, read without running anything."""
    import torch

    if problem := torch_problem(torch.__version__):
        warnings.warn(f"Load only checkpoints that you trust: {problem}", stacklevel=3)
    if file.suffix == WEIGHTS_SUFFIX:
        return _checked(file, read_weights(file))
    try:
        content = torch.load(str(file), map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        found = _GLOBAL.search(str(error))
        what = f" ({quoted(found[1])})" if found else ""
        raise DataError(
            f"'{file}' holds pickled code{what} and was not loaded: only weights and plain data "
            "are.\nA checkpoint of `unrolled` holds nothing else."
        ) from error
    except Exception as error:  # the bytes of a pickle can make its reader raise anything
        raise DataError(f"'{file}' is not a checkpoint: {first_lines(error, 1)}") from error
    return _checked(file, content)


def _checked(file: Path, content: Any) -> dict[str, Any]:
    """Return the content of a checkpoint whose parts are of the kinds that they have to be."""
    import torch

    if not isinstance(content, dict) or any(
        not isinstance(content.get(key), dict) for key in _REQUIRED
    ):
        raise DataError(
            f"'{file}' is not a checkpoint of `unrolled`: it lacks one of {', '.join(_REQUIRED)}.\n"
            "Weights of another program can't be used as they are."
        )
    for part in ("state_dict", "hyper_parameters"):
        if any(not isinstance(name, str) for name in content[part]):
            raise DataError(f"'{file}': a name in its {part} is no text.")
    if odd := [name for name in content["hyper_parameters"] if not name.isidentifier()]:
        raise DataError(f"'{file}': {quoted(odd[0])!r} can't be the name of an argument.")
    for name, value in content["state_dict"].items():
        plain = isinstance(value, torch.Tensor) and value.layout is torch.strided
        if not plain or value.is_nested or value.is_quantized or value.is_meta:
            raise DataError(f"'{file}': its weight {quoted(name)!r} is no tensor of numbers.")
        if value.nbytes > value.untyped_storage().nbytes():
            raise DataError(
                f"'{file}': its weight {quoted(name)!r} of {tuple(value.shape)} claims "
                f"{value.nbytes:,} bytes, and has {value.untyped_storage().nbytes():,}."
            )
    made = content["unrolled"]
    if "model" not in made:
        raise DataError(f"'{file}' is of an early version of `unrolled`: train the model again.")
    others = {
        "spec": (dict, content["hyper_parameters"].get("spec")),
        "version": (str, made.get("version")),
        "arguments": (list, made.get("arguments")),
        "lost": (list, made.get("lost")),
        "global_step": (int, content.get("global_step")),
        "epoch": (int, content.get("epoch")),
        "callbacks": (dict, content.get("callbacks")),
    }
    for name, (kind, value) in others.items():
        if value is not None and not isinstance(value, kind):
            raise DataError(f"'{file}': its {name} is {a(type(value))}, not {a(kind)}.")
    for name in (*(made.get("arguments") or ()), *(made.get("lost") or ())):
        if not isinstance(name, str):
            raise DataError(f"'{file}': the name of an argument is no text.")
    return content


def torch_problem(version: str) -> str | None:
    """Say what is unsafe about reading checkpoints with a version of torch; None: nothing known.

    Args:
        version: As `torch.__version__` says.
    """
    release = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if release < (2, 6):
        what, number, mended = "run code", "2025-32434", "2.6"
    elif release < (2, 10):
        what, number, mended = "corrupt memory", "2026-24747", "2.10"
    else:
        return None
    return (
        f"torch {version} can be made to {what} by a checkpoint (CVE-{number}, mended in {mended})."
    )


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


def first_lines(error: Exception, count: int = 2) -> str:
    """Return the beginning of an error's message as one line.

    Args:
        error: What was raised.
        count: How many lines of it.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:count])[:300] or type(error).__name__
