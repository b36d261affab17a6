"""What a resumed run does otherwise than the run that it goes on with."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging

from ...data.base import DataModule
from ...tasks.plain import plain_scalar
from .progress import tell

# What the bits of a training step depend on; of the trainer's settings these alone.
_TRAINER = (
    *("precision", "accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm"),
    *("limit_train_batches", "overfit_batches"),
)
# Of the data's settings, what they don't depend on.
_HARMLESS = ("num_workers", "pin_memory", "prefetch_factor", "cache", "cache_size")
_CONTENT = "data.content"  # what `DataModule.fingerprint` says
_SHOWN = 5
# Callbacks that don't save all that they go by, and what does.
_FORGETFUL = {"EarlyStopping": "--early_stopping", "StochasticWeightAveraging": "averaging.EMA"}


class Sameness(Callback):
    """Says in a line what is no longer exact in a resumed run.

    Args:
        config: The configuration of the run as plain data.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self._content: str | None = None  # of the data, which does not change while they are read

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Say how this run is carried out."""
        checkpoint["conditions"] = self._conditions(trainer)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Compare."""
        if not isinstance(checkpoint.get("conditions"), dict):  # of an older version
            return
        # as text only: the checkpoint may be a stranger's, and names nothing that is looked up
        before = dict(_flat(checkpoint["conditions"]))
        now = dict(_flat(self._conditions(trainer)))
        before.setdefault(_CONTENT, now[_CONTENT])  # an older version's has none
        found = [
            f"{key} was {_brief(before.get(key))} and is {_brief(now.get(key))}"
            for key in sorted(before.keys() | now.keys())
            if before.get(key) != now.get(key)
        ]
        lightnings = {
            kind.__name__
            for kind in map(type, trainer.callbacks)  # type: ignore[attr-defined]
            if kind.__module__.startswith("lightning.")
        }
        found += [
            f"{name} of Lightning keeps too little ({instead} goes on exactly)"
            for name, instead in _FORGETFUL.items()
            if name in lightnings
        ]
        if found:
            more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            tell(
                "this run goes on, but no longer as the uninterrupted one would, bit for bit: "
                f"{'; '.join(found[:_SHOWN])}{more}"
            )

    def _conditions(self, trainer: Trainer) -> dict[str, Any]:
        data = self.config.get("data") or {}
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        arguments = data.get("init_args") or {}
        if self._content is None:
            module = getattr(trainer, "datamodule", None)
            self._content = module.fingerprint() if isinstance(module, DataModule) else ""
        return {
            "processes": trainer.world_size,
            "accelerator": trainer.strategy.root_device.type,
            "averaging": [
                type(callback).__name__
                for callback in callbacks
                if isinstance(callback, WeightAveraging)
            ],
            "torch": str(torch.__version__),
            "machine": platform.machine(),
            "seed": self.config.get("seed_everything"),
            **{name: _plain(getattr(trainer, name, None)) for name in _TRAINER},
            "data": {
                "class": str(data.get("class_path", "")).rpartition(".")[2],
                **{
                    name: _plain(value)
                    for name, value in arguments.items()
                    if name not in _HARMLESS
                },
                "content": self._content,
            },
        }


def _flat(nest: dict[str, Any], prefix: str = "", depth: int = 4) -> Iterator[tuple[str, Any]]:
    """Yield the settings of a nest by their names in dots."""
    for key, value in nest.items():
        if isinstance(value, dict) and depth:
            yield from _flat(value, f"{prefix}{key}.", depth - 1)
        else:
            yield f"{prefix}{key}", _plain(value)


def _plain(value: Any) -> Any:
    """Return what a checkpoint can hold of a setting."""
    scalar = plain_scalar(value)
    if value is None or scalar is not None:
        return scalar
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value)


def _brief(value: Any) -> str:
    text = "none" if value in (None, []) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
