"""Shows at every validation what the model says: a line under the scores, more for loggers."""

from __future__ import annotations

import warnings
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy

from ...errors import one_line, printable, quoted
from ...loading import first_lines
from ...tasks.base import Task
from ...tasks.captioning.model import CaptioningModel
from ...tasks.samples import LabelledFrames, Sample
from ...tasks.translation.model import Translated
from ...tasks.video.model import VideoModel
from ..run.progress import tell
from .loggers import Pixels, log_sample, takes_pictures

_LONGEST = 200  # characters of a line
_DPI = 100


class Samples(Callback):
    """Shows an example of the validation's first batch, and gives it to the loggers.

    The weights are those that are validated (averaged, where they are). It draws from generators of
    its own, so that a run is the same with and without it. A model that is spread over devices says
    nothing, since all of them would have to take part.
    """

    def __init__(self) -> None:
        self._sample: Sample | None = None
        self._picture: Pixels | None = None
        self._failed = False

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Ask for an example, while the weights that are validated are there."""
        whole = isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy)
        if (
            batch_idx
            or dataloader_idx
            or self._failed
            or trainer.sanity_checking
            or not (whole and trainer.is_global_zero and isinstance(pl_module, Task))
        ):
            return
        self._sample = self._picture = None
        try:
            self._sample = pl_module.sample(batch)
            drawn = any(takes_pictures(logger) for logger in trainer.loggers)
            if drawn and self._sample is not None and self._sample.subject is not None:
                self._picture = picture_of(pl_module, self._sample)
        except Exception as error:  # no example is worth a run
            self._failed = True
            warnings.warn(
                f"no samples will be shown: {type(error).__name__}: {first_lines(error)}",
                stacklevel=2,
            )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the line, and log the example."""
        sample, picture = self._sample, self._picture
        self._sample = self._picture = None
        if sample is None or trainer.sanity_checking:
            return
        bar = trainer.progress_bar_callback
        line = f"sample: {quoted(printable(sample.line), _LONGEST)}"
        if isinstance(bar, RichProgressBar):
            from rich.markup import escape

            bar.print(escape(one_line(line)))
        elif bar is not None:
            tell(line)
        for logger in trainer.loggers:
            log_sample(logger, sample.line, picture, trainer.global_step)


def picture_of(task: Task, sample: Sample) -> Pixels | None:
    """Draw an example.

    Args:
        task: The task that it is of.
        sample: The example, with something to draw.

    Returns:
        (H, W, 3); None where nothing is known of such an example.
    """
    from ..pictures.canvas import pixels

    model, subject = task.model, sample.subject
    if isinstance(subject, Translated):
        from ..plots.alignment import draw as draw_alignment

        return pixels(draw_alignment(subject), _DPI)
    if isinstance(model, CaptioningModel):
        from ..plots.attention import draw as draw_attention
        from ..plots.attention import look, shift_of

        found, gates = look(model, subject, beam_size=1)
        return pixels(draw_attention(subject.cpu(), found, gates, shift=shift_of(model)), _DPI)
    if isinstance(subject, LabelledFrames) and isinstance(model, VideoModel):
        from ..plots.timeline import VideoLabels
        from ..plots.timeline import draw as draw_timeline

        labelled = VideoLabels(
            subject.name,
            subject.predicted.numpy(),
            subject.confidence.double().numpy(),
            subject.truth.numpy(),
        )
        return pixels(draw_timeline(labelled, model.classes, model.background), _DPI)
    return None
