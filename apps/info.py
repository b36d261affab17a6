"""Say what a checkpoint holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import printable
from .shell.models import checkpoint_file

if TYPE_CHECKING:
    from ..loading import CheckedCheckpoint


def info(checkpoint: str, *, trust: str = "") -> None:
    """Say what a checkpoint holds; nothing of it is executed.

    Args:
        checkpoint: A checkpoint, or the folder of a run.
        trust: Packages of your own, with commas in between, whose classes the checkpoint may name.
    """
    file = checkpoint_file(checkpoint)

    from ..loading import CheckedCheckpoint

    content = CheckedCheckpoint(file, trust=trust)
    print(content.path)
    rows = [*describe(content)]
    column = max(len(name) for name, _ in rows) + 2
    for name, value in rows:
        text = f"{name:<{column}}{value}".replace("\n", "\\n")
        print(f"  {printable(text)}")


def describe(checkpoint: CheckedCheckpoint) -> Iterator[tuple[str, str]]:
    """Yield what there is to say about a checkpoint, as names and values.

    Args:
        checkpoint: The checkpoint.
    """
    content = checkpoint.content
    yield "task", f"{_last(checkpoint.task)} (unrolled {content['unrolled'].get('version', '?')})"
    weights = checkpoint.weights
    yield (
        "weights",
        f"{sum(value.numel() for value in weights.values()):,} numbers in {len(weights)} tensors",
    )
    yield "trained", f"{content.get('global_step', '?')} steps, epoch {content.get('epoch', '?')}"
    for state in (content.get("callbacks") or {}).values():
        # a state of another kind
        with suppress(AttributeError, KeyError, TypeError, ValueError, RuntimeError):
            chosen_by = state.get("watched") or state["monitor"]
            yield "best", f"{chosen_by} {float(state['best_model_score']):.4f}"
    for name, value in checkpoint.model["init_args"].items():
        yield name, brief(value)
    for name, value in checkpoint.spec.items():
        yield f"spec.{name}", brief(value)


def brief(value: Any) -> str:
    """Return plain data as short text: a class as a call, a long text by its length.

    Args:
        value: The data.
    """
    if isinstance(value, dict) and "class_path" in value:
        given = {
            name: item for name, item in (value.get("init_args") or {}).items() if item is not None
        }
        arguments = ", ".join(f"{name}={brief(item)}" for name, item in given.items())
        return f"{_last(value['class_path'])}({arguments})"
    if isinstance(value, dict):
        return ", ".join(f"{name} {brief(item)}" for name, item in value.items())
    if isinstance(value, list) and len(value) > 8:
        return f"[{len(value)} items]"
    if isinstance(value, list):
        return f"[{', '.join(brief(item) for item in value)}]"
    if isinstance(value, str) and len(value) > 40:
        return f"{value[:24]!r}... ({len(value)} characters)"
    return str(value)


def _last(path: Any) -> str:
    return str(path).rpartition(".")[2]
