"""What a run says at its beginning and at its end: what is trained, what came of it, what next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch import Trainer

from ...errors import typed
from ...tasks.base import Task
from ...tasks.model import Model
from ..run.folder import folders
from ..run.progress import tell
from ..run.saving import Checkpoint
from ..shell.processor import multiplies_bf16
from .ending import draw_curves

_GIVEN = {
    "generate": "--prompt ...",
    "translate": "FILE",
    "caption": "IMAGE...",
    "label": "VIDEO...",
}


def say_what_begins(task: Task, trainer: Trainer, folder: Path | None) -> None:
    """Say what is trained, where, and where it is kept.

    Args:
        task: The task.
        trainer: Its trainer.
        folder: The run's folder; None where nothing is kept.
    """
    size = sum(weight.numel() for weight in task.parameters() if weight.requires_grad)
    cores = " and ".join(type(core).__name__ for core in task.cores())
    device = f"{trainer.world_size} x {trainer.strategy.root_device.type}"
    where = f"in {folders.short(folder)}" if folder else "a trial that writes nothing"
    tell(f"{type(task).__name__} with {cores}, {size:,} parameters, on {device}, {where}")
    if trainer.strategy.root_device.type == "cpu" and (hint := _faster(str(trainer.precision))):
        tell(hint)


def _faster(precision: str) -> str:
    """Say where this processor would train faster in another precision."""
    if precision.startswith("bf16") and not multiplies_bf16():
        return (
            f"this processor has no products in bfloat16: {precision} is slower than float32 here "
            "(--trainer.precision 32-true)"
        )
    if precision == "32-true" and multiplies_bf16():
        return "this processor multiplies in bfloat16: --trainer.precision bf16-mixed trains faster"
    return ""


def say_what_next(task: Task, keeper: Checkpoint, folder: Path, trust: Sequence[str]) -> None:
    """Say where the checkpoints and the curves are, and what can be done with them.

    Args:
        task: The task.
        keeper: What has saved the checkpoints.
        folder: The run's folder.
        trust: The packages that the model needs.
    """
    last, best = Path(keeper.last_model_path), keeper.best_model_path
    if not last.is_file():
        if not task.global_step:
            limits = ("max_steps", "max_epochs", "max_time", "limit_train_batches")
            zero = [name for name in limits[::-1] if getattr(task.trainer, name, None) == 0]
            why = f"--trainer.{zero[0]} is 0" if zero else f"see {', '.join(limits)}"
            tell(f"no step was trained, and nothing is saved: {why}")
        return
    named = ""
    if best:
        score = f"{keeper.watched} {float(keeper.best_model_score or 0):.4f}"
        named = f" (best {score}: {folders.short(Path(best))})"
    print(f"Trained to step {task.global_step}: {folders.short(last)}{named}")
    if picture := draw_curves(folder):
        print(f"Picture: {folders.short(picture)}")
    if app := app_of(task.model):
        features = app in ("label", "caption") and task.model.spec.get("feature_size")
        words = [typed(folders.short(folder)), "FEATURES.npy" if features else _GIVEN[app]]
        words += ["--trust", ",".join(trust)] if trust else []
        print(f"Next: unrolled {app} {' '.join(words)}")


def app_of(model: Model) -> str | None:
    """Return the command that uses such a model, where there is one.

    Args:
        model: A task's model.
    """
    return next((app for app in _GIVEN if hasattr(model, app)), None)
