"""Shows how a language model reads a short text, step by step, before and after training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer

from ...data.text.module import TextData
from ...errors import UsageError, a
from ...tasks.char_lm.task import CharLM
from ..pictures.fonts import visible
from ..run.folder import folders

if TYPE_CHECKING:
    from ...tasks.char_lm.model import CharModel

_UNITS = 8  # of the hidden state that a line has room for
_TOP = 4  # likeliest characters


class StepTable(Callback):
    """Prints input, hidden state, output and target at each step, and draws them at the end.

    The table is printed before the first step of training and after the last; the picture,
    `unrolled.png`, lies in the run's folder.

    Args:
        text: What is read, up to 13 characters. None: the beginning of what is trained on.

    Examples:
        >>> StepTable("hello").text
        'hello'
    """

    def __init__(self, text: str | None = None) -> None:
        self.text = text

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the table of the weights that training begins with."""
        step = trainer.global_step
        self._print(trainer, pl_module, f"At step {step}" if step else "Before training")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the table of the trained weights, and draw it."""
        self._print(trainer, pl_module, f"After {trainer.global_step} steps")
        if not trainer.is_global_zero or getattr(trainer, "fast_dev_run", False):
            return
        from ..pictures.canvas import save
        from ..plots.unrolled import unrolled

        model, text = self._subject(trainer, pl_module)
        training = model.training
        picture = save(unrolled(model, text), Path(trainer.default_root_dir) / "unrolled.png")
        model.train(training)
        print(f"Picture: {folders.short(picture)}")

    def _print(self, trainer: Trainer, pl_module: LightningModule, title: str) -> None:
        if not trainer.is_global_zero:
            return
        from ..plots.unrolled import SIGNS

        model, text = self._subject(trainer, pl_module)
        training = model.training
        print(f"{title}:")
        lines = list(table(model, text))
        for line in lines:
            print(f"  {line}")
        found = [f"{sign} {SIGNS[sign]}" for sign in SIGNS if any(sign in line for line in lines)]
        if found:
            print(f"  (beside the characters: {', '.join(found)})")
        model.train(training)

    def _subject(self, trainer: Trainer, pl_module: LightningModule) -> tuple[CharModel, str]:
        """Return the model and the text that it reads."""
        from ..plots.unrolled import MOST

        if not isinstance(pl_module, CharLM):
            raise UsageError(f"StepTable shows language models, not {a(type(pl_module))}.")
        text, data = self.text, getattr(trainer, "datamodule", None)
        if text is None and isinstance(data, TextData):
            first, end = data.bounds("train")
            vocabulary = data.vocabulary
            hidden = (vocabulary.END, *vocabulary.never_written)
            ids = data.tokens[first : min(end + 1, first + MOST + 2)].tolist()
            found = vocabulary.decode([number for number in ids if number not in hidden])
            text = found if isinstance(found, str) else found.decode("ascii", "ignore")
        if text is None or len(text) < 2:
            raise UsageError("StepTable shows texts of two characters or more: give it a `text`.")
        return pl_module.model, text[: MOST + 1]


def table(model: CharModel, text: str) -> Iterator[str]:
    """Yield the lines of the table: a head, then one a step.

    Args:
        model: A model of characters, which is in evaluation afterwards.
        text: The text; each character but the first is a target.
    """
    from ..plots.unrolled import read_steps

    hidden, chances = read_steps(model, text)  # (T, H)
    lively = np.sort(np.argsort(-hidden.std(0), kind="stable")[:_UNITS])
    units = hidden.shape[1]
    head = "hidden state" if units <= _UNITS else f"hidden state ({_UNITS} of {units} units)"
    rows = [("input", head, "output, the likeliest first", "target")]
    for t, target in enumerate(text[1:]):
        ranked = sorted(chances[t].items(), key=lambda pair: -pair[1])[:_TOP]
        state = " ".join(f"{value:5.2f}" for value in hidden[t, lively])
        output = "  ".join(f"{sign} {100 * chance:3.0f} %" for sign, chance in ranked)
        right = "" if ranked[0][0] == visible(target) else "  (not the likeliest)"
        rows.append((visible(text[t]), state, output, visible(target) + right))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)]
        yield "   ".join([*cells, row[3]])
