"""What loggers can take beside numbers: texts, pictures, the configuration."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
from lightning.pytorch.loggers import (
    CometLogger,
    Logger,
    MLFlowLogger,
    TensorBoardLogger,
    WandbLogger,
)

Pixels = npt.NDArray[np.uint8]
_SHOWS = (TensorBoardLogger, WandbLogger, MLFlowLogger, CometLogger)


def takes_pictures(logger: Logger) -> bool:
    """Say whether a logger can take texts and pictures; a table of numbers can't.

    Args:
        logger: The logger.
    """
    return isinstance(logger, _SHOWS)


def log_sample(logger: Logger, text: str, picture: Pixels | None, step: int) -> None:
    """Log an example, where the logger can take it.

    Args:
        logger: The logger.
        text: The example in words.
        picture: (H, W, 3); None where there is none.
        step: The step that it is of.
    """
    name = "val/sample"
    if isinstance(logger, TensorBoardLogger):
        # Markdown: what a model writes is no formatting
        logger.experiment.add_text(name, f"    {text}", step)
        if picture is not None:
            logger.experiment.add_image(name, picture, step, dataformats="HWC")
    elif isinstance(logger, WandbLogger):
        # its own count of steps is of calls; the run's goes with what is logged
        logger.log_text(name, columns=["step", "sample"], data=[[str(step), text]], step=step)
        if picture is not None:
            logger.log_image(f"{name}_picture", [picture], step=step)
    elif isinstance(logger, MLFlowLogger):
        logger.experiment.log_text(logger.run_id, text, f"samples/{step}.txt")
        if picture is not None:
            logger.experiment.log_image(logger.run_id, picture, f"samples/{step}.png")
    elif isinstance(logger, CometLogger):
        logger.experiment.log_text(text, step=step)
        if picture is not None:
            logger.experiment.log_image(picture, name=name, step=step)


def log_configuration(logger: Logger, configuration: dict[str, Any]) -> None:
    """Log the whole configuration of a run as hyper-parameters.

    Args:
        logger: The logger.
        configuration: The configuration as plain data.
    """
    logger.log_hyperparams(configuration)
    if not isinstance(logger, TensorBoardLogger):
        return
    # Lightning leaves TensorBoard's own table of hyper-parameters out where no metric is given with
    # them; the names are enough, the values come with the run
    from torch.utils.tensorboard.summary import hparams

    monitor = (configuration.get("checkpoint") or {}).get("monitor") or "val/loss"
    flat = flattened(configuration)
    with suppress(AttributeError):  # a writer that does nothing, on all ranks but the first
        writer = logger.experiment._get_file_writer()
        for summary in hparams(flat, {"val/loss": 0.0, monitor: 0.0}):
            writer.add_summary(summary)


def flattened(configuration: Any, name: str = "") -> dict[str, bool | int | float | str]:
    """Return nested data as values by their whole names, as `model.init_args.core.class_path`.

    Args:
        configuration: Plain data.
        name: What it is called.
    """
    if isinstance(configuration, dict) and configuration:
        parts = configuration.items()
    elif isinstance(configuration, list) and any(isinstance(i, dict) for i in configuration):
        parts = enumerate(configuration)  # type: ignore[assignment]
    else:
        plain = isinstance(configuration, bool | int | float | str)
        return {name: configuration if plain else str(configuration)}
    found: dict[str, bool | int | float | str] = {}
    for key, value in parts:
        found |= flattened(value, f"{name}.{key}" if name else str(key))
    return found
