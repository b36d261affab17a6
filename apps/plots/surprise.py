"""A text coloured by how unlikely each character was to a language model.

Shapes: T characters, V vocabulary.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from ...errors import at_least
from ..pictures.canvas import INK, Picture, bare
from ..pictures.letters import CELL, COLUMNS, draw_letters, lines_of, runs_from_right
from ..pictures.texts import ids_of, read_text
from ..shell.models import Opened, opened

if TYPE_CHECKING:
    from ...tasks.char_lm.model import CharModel

_BITS = 12.0  # the end of the scale
_GUESS = 0.95  # height of a row of guesses


def surprise(
    model: Opened[CharModel],
    text: str,
    *,
    length: int = 160,
    top: int = 5,
    trust: str = "",
) -> Picture:
    """Colour a text by how unlikely each character was, with the likeliest below it.

    Darker is less likely. Below a character stand those that the model held likeliest in its place,
    the first on top; a darker blue is a higher probability, and the right one has a frame.

    Args:
        model: A language model, its checkpoint, or the folder of its run.
        text: A text, the path of a file with one, or - for standard input.
        length: Characters that are shown, from the beginning.
        top: How many of the likeliest to show.
        trust: Packages of your own, with commas in between, whose classes the checkpoint may name.
    """
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    at_least(0, top=top)
    text = read_text(text, length)

    from ...tasks.char_lm.model import CharModel

    model = opened(model, CharModel, "read text by itself", trust=trust)
    ids = ids_of(model, text)
    bits, guesses, chances = _read(model, ids, top)
    dark, blue = colormaps["YlOrBr"], colormaps["Blues"]
    from_right = runs_from_right(text)
    rows: list[list[str]] = []
    heights, colours, frames = [], [], []
    for start, end in lines_of(text):
        rows.append(list(text[start:end]))
        heights.append(1.35)
        line = np.ones((COLUMNS, 3))
        line[: end - start] = dark(np.clip(bits[start:end] / _BITS, 0, 1) * 0.9)[:, :3]
        colours.append(line)
        for place in range(top):
            rows.append([guesses[t][place] for t in range(start, end)])
            heights.append(_GUESS)
            line = np.ones((COLUMNS, 3))
            line[: end - start] = blue(chances[start:end, place] * 0.75)[:, :3]
            colours.append(line)
            frames += [
                (t - start, len(rows) - 1)
                for t in range(start, end)
                if guesses[t][place] == text[t]
            ]
        rows.append([])
        heights.append(0.45)
        colours.append(np.ones((COLUMNS, 3)))
    tall = sum(heights) * CELL * 1.25
    figure = Picture(tall + 0.75, layout=None)
    axes = figure.add_axes((0.015, 0.6 / (tall + 0.75), 0.97, tall / (tall + 0.75)))
    quiet = [len(row) > 0 and height == _GUESS for row, height in zip(rows, heights, strict=True)]
    draw_letters(axes, rows, np.stack(colours), heights=heights, from_right=from_right, quiet=quiet)
    edges = np.concatenate(([0.0], np.cumsum(heights)))
    for column, row in frames:
        left = COLUMNS - 1 - column if from_right else column
        axes.add_patch(
            Rectangle((left, edges[row]), 1, heights[row], fill=False, edgecolor=INK, linewidth=0.7)
        )
    scale = bare(figure.add_axes((0.06, 0.34 / (tall + 0.75), 0.5, 0.13 / (tall + 0.75))))
    scale.imshow(dark(np.linspace(0, 0.9, 120))[None], aspect="auto", extent=(0, _BITS, 0, 1))
    scale.set_xticks([0, 4, 8, 12], ["0", "4", "8", "12 bits"], fontsize=9)
    scale.tick_params(length=2, pad=1)
    mean = float(bits.mean())
    figure.text(
        0.62, 0.38 / (tall + 0.75), f"mean {mean:.2f} bits per character", fontsize=9, va="center"
    )
    many = f"{len(text)} characters" if len(text) > 1 else "1 character"
    figure.said = [f"{many}, {mean:.4f} bits each in the mean"]
    worst = [int(t) for t in np.argsort(-bits)[:3]]
    figure.said += [f"  {text[t]!r} at {t}: {bits[t]:.2f} bits" for t in worst]
    return figure


@torch.inference_mode()
def _read(
    model: CharModel, ids: list[list[int]], top: int
) -> tuple[np.ndarray, list[list[str]], np.ndarray]:
    """Return each character's bits, and the likeliest in its place with their probabilities.

    Args:
        model: The model.
        ids: Those of each character: several for one of a model of bytes.
        top: How many of the likeliest.

    Returns:
        Bits (T,), T lists of `top` symbols, probabilities (T, top).
    """
    vocabulary = model.eval().vocabulary
    flat = torch.tensor([vocabulary.END, *(number for part in ids for number in part)])
    logits, _ = model(flat[None, :-1].to(model.device))  # (1, T', V)
    nats = logits[0].float().log_softmax(-1).cpu()  # (T', V)
    own = -nats.gather(1, flat[1:, None])[:, 0] / math.log(2)  # (T',)
    starts = np.cumsum([0, *map(len, ids)])
    bits = np.add.reduceat(own.numpy(), starts[:-1])
    found = nats[starts[:-1]].topk(min(top, nats.shape[1]), dim=1)
    guesses = [
        [vocabulary.decode([number]) or "■" for number in row] + [""] * (top - len(row))
        for row in found.indices.tolist()
    ]
    chances = np.zeros((len(ids), top))
    chances[:, : found.values.shape[1]] = found.values.exp().numpy()
    return bits, guesses, chances
