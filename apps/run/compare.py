"""Whether a checkpoint fits what a command asks for, and which of its weights do."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ...data.alphabet import Match, alphabet, match
from ...errors import DataError, UsageError
from ...tasks.base import Task

if TYPE_CHECKING:
    from ...loading import CheckedTask

_SHOWN = 10


def same_model(checkpoint: CheckedTask, config: dict[str, Any]) -> None:
    """Refuse a configuration of another model than the checkpoint's.

    Args:
        checkpoint: What is resumed.
        config: The `model` section that the command line results in.

    Raises:
        UsageError: They differ; it shows both values.
    """
    arguments = {key: value for key, value in config["init_args"].items() if key != "spec"}
    found = differences("model", checkpoint.model, {**config, "init_args": arguments})
    # A hyper-parameter that the checkpoint does not know is newer than it, and has its default.
    changes = [change for change in found if change[1] is not _MISSING]
    if changes:
        shown = "; ".join(
            f"{key} is {_brief(old)} there and {_brief(new)} here" for key, old, new in changes[:3]
        )
        raise UsageError(
            f"'{checkpoint.path}' can't be resumed with another model: {shown}.\n"
            "Leave the --model flags out, or begin a new run with its weights: --init_from."
        )


def same_spec(checkpoint: CheckedTask, spec: Any) -> None:
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
            "Resume with the data it was begun with, or begin a new run with its weights: "
            "--init_from."
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
        for name in sorted((old.keys() | new.keys()) - {"class_path"}, key=str):
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
        return (
            f"{len(old)} symbols there and {len(new)} here "
            f"(only there: {lost[:20]!r}, only here: {gained[:20]!r})"
        )
    return f"{_brief(old)} there and {_brief(new)} here"


def take_weights(model: Task, checkpoint: CheckedTask) -> str:
    """Give a new model the weights of a checkpoint that fit it, and say which do not.

    Rows that stand for symbols are matched by symbol; those of new symbols stay as they are.

    Args:
        model: The new model, changed in place.
        checkpoint: Where the weights come from.

    Returns:
        A line that says what was taken.

    Raises:
        UsageError: No weight fits.
    """
    own, given = model.state_dict(), checkpoint.weights
    matches = _matches(model, checkpoint)
    whole, taken, left = {}, 0, []
    for name, value in given.items():
        if name not in own:
            left.append(f"{name} (not in this model)")
            continue
        same = matches.get(model.symbol_rows.get(name, ""))
        rows = own[name].shape[:1] if same is None else (same.size,)
        if value.shape != (*rows, *own[name].shape[1:]):
            left.append(f"{name} ({_shape(value)} there, {_shape(own[name])} here)")
        elif name not in model.symbol_rows:
            whole[name] = value
        elif same is None or not same.matched:
            left.append(f"{name} (its rows stand for other symbols)")
        else:
            # In place, and so one after the other into a table that several names share.
            own[name][same.new] = value[same.old].to(own[name])
            taken += 1
    taken += len(whole)
    if not taken:
        raise UsageError(
            f"No weight of '{checkpoint.path}' fits this model: nothing to begin with."
        )
    model.load_state_dict(whole, strict=False)
    left += [f"{name} (not in the checkpoint)" for name in own if name not in given]
    parts = [f"took {taken} of {len(given)} tensors from {checkpoint.path}"]
    if left:
        more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
        parts.append(f"not taken: {', '.join(left[:_SHOWN])}{more}")
    return "; ".join(parts + list(dict.fromkeys(same.told for same in matches.values())))


def _matches(model: Task, checkpoint: CheckedTask) -> dict[str, Match]:
    """Match the symbols of each part of a model's spec with those of a checkpoint's."""
    ours, theirs = model.hparams.get("spec") or {}, checkpoint.spec
    named = dict.fromkeys(model.symbol_rows.values())
    keys = [key for key in named if key in ours and key in theirs]
    try:
        pairs = {key: (alphabet(theirs[key]), alphabet(ours[key])) for key in keys}
    except Exception as error:  # a stranger's spec may hold anything
        raise DataError(f"'{checkpoint.path}': its spec names no symbols: {error}") from error
    told = {key: " and ".join(k for k in keys if pairs[k] == pairs[key]) for key in keys}
    return {key: match(*pairs[key], role=told[key] if len(keys) > 1 else "") for key in keys}


def _shape(value: Any) -> str:
    return "x".join(str(size) for size in value.shape) or "scalar"


def left_out(chosen: Any, final: Any, flag: str = "-") -> Iterator[str]:
    """Yield a line for every class of a configuration in whose place flags put another one.

    The parser keeps the arguments that the new class has too, and drops the others silently.

    Args:
        chosen: The configuration.
        final: What came of it and the flags.
        flag: The flag of this part.
    """
    if not isinstance(chosen, dict) or not isinstance(final, dict):
        return
    before, after = (str(part.get("class_path")).rpartition(".")[2] for part in (chosen, final))
    given, kept = chosen.get("init_args") or {}, final.get("init_args") or {}
    if before == after:
        for part, other in ((chosen, final), (given, kept)):
            for name in part.keys() - {"class_path", "init_args"}:
                yield from left_out(
                    part[name], other.get(name), f"{flag}.{name}".replace("-.", "--")
                )
    elif lost := [_setting(name, given[name]) for name in given if name not in kept]:
        stay = ", ".join(_setting(name, given[name]) for name in given if name in kept)
        yield f"{flag} is {after}: {before}'s {', '.join(lost)} left out{stay and f', {stay} kept'}"


def _setting(name: str, value: Any) -> str:
    return name if isinstance(value, dict) else f"{name} {value}"
