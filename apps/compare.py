"""Whether a checkpoint fits what a command asks for, and which of its weights do."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

from torch import nn

from ..errors import UsageError

if TYPE_CHECKING:
    from ..loading import CheckedCheckpoint


def model_of(checkpoint: CheckedCheckpoint) -> dict[str, Any]:
    """Return a checkpoint's model as a configuration says it, without the spec, which the data gives.

    Args:
        checkpoint: The checkpoint.
    """
    arguments = {
        key: value for key, value in checkpoint.parameters.items() if not key.startswith("_") and key != "spec"
    }
    return {"class_path": checkpoint.task, "init_args": arguments}


def same_model(checkpoint: CheckedCheckpoint, config: dict[str, Any]) -> None:
    """Refuse a configuration of another model than the checkpoint's.

    Args:
        checkpoint: What is resumed.
        config: The `model` section that the command line results in.

    Raises:
        UsageError: They differ; it shows both values.
    """
    ours = {**config, "init_args": {key: value for key, value in config["init_args"].items() if key != "spec"}}
    stored = model_of(checkpoint)
    # A hyper-parameter that the checkpoint does not know is newer than it, and has its default.
    changes = [change for change in differences("model", stored, ours) if change[1] is not _MISSING]
    if changes:
        shown = "; ".join(f"{key} is {_brief(old)} there and {_brief(new)} here" for key, old, new in changes[:3])
        raise UsageError(
            f"'{checkpoint.path}' can't be resumed with another model: {shown}.\n"
            "Leave the --model flags out, or begin a new run with its weights: --init_from."
        )


def same_spec(checkpoint: CheckedCheckpoint, spec: Any) -> None:
    """Refuse data that need another model than the checkpoint's.

    Args:
        checkpoint: What is resumed.
        spec: What the data module says about its data.

    Raises:
        UsageError: They differ; it shows both values.
    """
    changes = list(differences("spec", checkpoint.spec, spec))
    if changes:
        shown = "; ".join(f"{key} is {_contrast(old, new)}" for key, old, new in changes[:2])
        raise UsageError(
            f"'{checkpoint.path}' was trained on other data: {shown}.\n"
            "Resume with the data it was begun with, or begin a new run with its weights: --init_from."
        )


def differences(key: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield every place where two nests of plain data differ: its name and both values.

    Args:
        key: What to call the whole.
        old: One.
        new: The other.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        names = old.get("class_path", _MISSING), new.get("class_path", _MISSING)
        if _class(names[0]) is not _class(names[1]):
            yield key, *names
            return
        for name in sorted((old.keys() | new.keys()) - {"class_path"}):
            inner = key if name == "init_args" else f"{key}.{name}"
            yield from differences(inner, old.get(name, _MISSING), new.get(name, _MISSING))
    elif _plain(old) != _plain(new):
        yield key, old, new


def _class(path: Any) -> Any:
    """Return the class of a path, which may name it where it is defined or where it is exported."""
    module, _, name = path.rpartition(".") if isinstance(path, str) else ("", "", "")
    return getattr(import_module(module), name) if module else path


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


_MISSING = _Missing()


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _brief(value: Any) -> str:
    is_class = isinstance(value, str) and all(part.isidentifier() for part in value.split("."))
    text = value.rpartition(".")[2] if is_class else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _contrast(old: Any, new: Any) -> str:
    """Show two values, and of long texts only what each has alone."""
    if isinstance(old, str) and isinstance(new, str) and old and new and len(old) + len(new) > 60:
        lost = "".join(sorted(set(old) - set(new)))
        gained = "".join(sorted(set(new) - set(old)))
        return f"{len(old)} symbols there and {len(new)} here (only there: {lost[:20]!r}, only here: {gained[:20]!r})"
    return f"{_brief(old)} there and {_brief(new)} here"


def take_weights(model: nn.Module, checkpoint: CheckedCheckpoint) -> str:
    """Give a new model the weights of a checkpoint that fit it, and say which do not.

    Args:
        model: The new model, changed in place.
        checkpoint: Where the weights come from.

    Returns:
        A line that says what was taken.

    Raises:
        UsageError: No weight fits.
    """
    own, given = model.state_dict(), checkpoint.weights
    fitting = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
    if not fitting:
        raise UsageError(f"No weight of '{checkpoint.path}' fits this model: nothing to begin with.")
    model.load_state_dict(fitting, strict=False)
    left = [
        f"{name} ({_shape(value)} there, {_shape(own[name])} here)" if name in own else f"{name} (not in this model)"
        for name, value in given.items()
        if name not in fitting
    ]
    left += [f"{name} (not in the checkpoint)" for name in own if name not in given]
    rest = f"; not taken: {', '.join(left)}" if left else ""
    return f"took {len(fitting)} of {len(given)} tensors from {checkpoint.path}{rest}"


def _shape(value: Any) -> str:
    return "x".join(str(size) for size in value.shape) or "scalar"
