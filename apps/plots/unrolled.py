"""The lecture's figure: a recurrent network unrolled over a short text.

Shapes: T characters, H output of the core, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...errors import UsageError, at_least
from ..pictures.canvas import INK, QUIET, Picture, bare, ink_on
from ..pictures.fonts import visible
from ..pictures.texts import ids_of, read_text
from ..shell.models import Opened, opened

if TYPE_CHECKING:
    from ...tasks.char_lm.model import CharModel

MOST = 12  # steps that a figure has room for
_UNITS = 12  # units of the hidden state that are drawn
_NUMBERED = 5  # units that leave room for their values
SIGNS = {"■": "the end", "\ufffd": "unknown"}
"""What symbols that are no characters are shown as, and what they are."""
_STEP = 1.15  # inches from step to step
# heights in inches, from below
_INPUT, _STATE, _OUTPUT, _TARGET = (0.35, 0.4), (1.15, 1.3), (2.85, 0.0), 0.45
_BAR = 0.24


def unrolled(
    model: Opened[CharModel],
    text: str = "hello",
    *,
    top: int = 4,
    trust: str = "",
) -> Picture:
    """Unroll a language model over a short text: input, hidden state, output, target at each step.

    The arrows are h_t = f(h_{t-1}, x_t) and y_t = W h_t. Of the hidden state the units that change
    most are drawn, the first on top, purple below zero and orange above; of the output the
    likeliest characters, the target's bar dark. The target of a step is the next step's input.

    Args:
        model: A language model, its checkpoint, or the folder of its run.
        text: A text of up to 13 characters, or the path of a file whose beginning is taken.
        top: How many of the likeliest characters to show at each step.
        trust: Packages of your own, with commas in between, whose classes the checkpoint may name.
    """
    from matplotlib import colormaps

    at_least(1, top=top)
    given = read_text(text, MOST + 2)
    text = given[: MOST + 1]
    if len(text) < 2:
        raise UsageError("A text of at least two characters: each step predicts the next one.")

    from ...tasks.char_lm.model import CharModel

    model = opened(model, CharModel, "read text by itself", trust=trust)
    hidden, chances = read_steps(model, text)
    lively = np.sort(np.argsort(-hidden.std(0), kind="stable")[:_UNITS])
    largest = np.abs(hidden[:, lively]).max() or 1.0
    states = hidden[:, lively] / largest
    steps = len(text) - 1
    bars = (top + 1) * _BAR  # one more for a target that is not among them
    tall = _OUTPUT[0] + bars + 0.95
    width = max(5.0, 0.75 + _STEP * steps + 0.15)
    figure = Picture(tall, width=width, layout=None)
    axes = bare(figure.add_axes((0, 0, 1, 1)))
    axes.set_xlim(0, width)
    axes.set_ylim(0, tall)
    for t in range(steps):
        middle = 0.85 + _STEP * (t + 0.5) + (width - 0.9 - _STEP * steps) / 2
        _box(axes, middle, _INPUT, visible(text[t]), "#e8eef4")
        _arrow(axes, (middle, sum(_INPUT)), (middle, _STATE[0]))
        _state(axes, middle, states[t], hidden[t, lively], colormaps["PuOr_r"])
        _arrow(axes, (middle, sum(_STATE)), (middle, _OUTPUT[0] - 0.05))
        if t + 1 < steps:
            level = _STATE[0] + _STATE[1] / 2
            _arrow(axes, (middle + 0.2, level), (middle + _STEP - 0.2, level), strong=True)
        target = visible(text[t + 1])
        _bars(axes, middle, chances[t], target, top)
        _box(axes, middle, (_OUTPUT[0] + bars + 0.2, 0.4), target, "#ffe9c7")
    names = (
        ("input", _INPUT[0] + 0.2),
        ("hidden", _STATE[0] + _STATE[1] / 2),
        ("output", _OUTPUT[0] + bars / 2),
        ("target", _OUTPUT[0] + bars + 0.4),
    )
    for name, level in names:
        axes.text(0.1, level, name, fontsize=10.5, va="center", color=INK)
    shown = {text.get_text() for text in axes.texts}
    keys = [
        (names[1][1], {"above 0": "#a1510c", "below 0": "#5d3a91"}),
        (names[2][1], {f"{sign} {SIGNS[sign]}": INK for sign in SIGNS if sign in shown}),
    ]
    for level, lines in keys:
        for place, (line, colour) in enumerate(lines.items(), start=1):
            axes.text(0.1, level - 0.18 * place, line, fontsize=7.5, va="center", color=colour)
    likelihood = np.prod([chances[t].get(visible(text[t + 1]), 0.0) for t in range(steps)])
    figure.said = [f"{steps} steps; the probability of the targets, all together: {likelihood:.2g}"]
    if given != text:
        figure.said.append(f"only the first {len(text)} characters are drawn")
    return figure


@torch.inference_mode()
def read_steps(model: CharModel, text: str) -> tuple[np.ndarray, list[dict[str, float]]]:
    """Return the core's outputs (T, H), and the probabilities of the next character by its sign.

    Args:
        model: The model, which is in evaluation afterwards.
        text: T + 1 characters, of which the last is a target only.

    Raises:
        UsageError: The model reads bytes, and a character has several; or words.
    """
    vocabulary = model.eval().vocabulary
    parts = ids_of(model, text)
    if any(len(ids) > 1 for ids in parts):
        raise UsageError("This model reads bytes: unroll it over a text of plain ASCII.")
    ids = torch.tensor([[number for [number] in parts]])[:, :-1]
    output, _ = model.read(ids.to(model.device))  # (1, T, H)
    chances = model.head(output)[0].float().softmax(-1).cpu()  # (T, V)
    end = next(iter(SIGNS))
    signs = [visible(vocabulary.decode([number])) or end for number in range(chances.shape[1])]
    rows = []
    for row in chances.tolist():
        ranked = sorted(zip(signs, row, strict=True), key=lambda pair: -pair[1])
        rows.append(dict(ranked[::-1]))  # signs that two ids share keep the likelier
    return output[0].float().cpu().numpy(), rows


def _box(axes: Any, middle: float, place: tuple[float, float], text: str, ground: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    axes.add_patch(
        FancyBboxPatch(
            (middle - 0.16, place[0] + 0.04),
            0.32,
            place[1] - 0.08,
            boxstyle="round,pad=0.04",
            facecolor=ground,
            edgecolor=INK,
            linewidth=1,
        )
    )
    axes.text(middle, place[0] + place[1] / 2, text, fontsize=14, ha="center", va="center_baseline")


def _state(axes: Any, middle: float, scaled: np.ndarray, values: np.ndarray, shades: Any) -> None:
    from matplotlib.patches import Rectangle

    high = _STATE[1] / len(values)
    for place, value in enumerate(values, start=1):
        low = sum(_STATE) - place * high
        shade = shades(0.5 + 0.45 * float(scaled[place - 1]))
        corner = (middle - 0.16, low)
        axes.add_patch(Rectangle(corner, 0.32, high, facecolor=shade, edgecolor="white", lw=0.5))
        if len(values) <= _NUMBERED:
            axes.text(
                middle,
                low + high / 2,
                f"{value:.2f}",
                fontsize=7.5,
                ha="center",
                va="center_baseline",
                color=ink_on(shade),
            )
    axes.add_patch(
        Rectangle((middle - 0.16, _STATE[0]), 0.32, _STATE[1], fill=False, edgecolor=INK, lw=1)
    )


def _bars(axes: Any, middle: float, chances: dict[str, float], target: str, top: int) -> None:
    from matplotlib.patches import Rectangle

    ranked = sorted(chances.items(), key=lambda pair: -pair[1])[:top]
    if target not in dict(ranked):
        ranked.append((target, chances.get(target, 0.0)))
    left, room = middle - 0.32, 0.66
    for place, (sign, chance) in enumerate(ranked):
        level = _OUTPUT[0] + (top - place) * _BAR
        right = sign == target
        axes.text(
            left - 0.1, level + _BAR / 2, sign, fontsize=10, ha="center", va="center_baseline"
        )
        axes.add_patch(
            Rectangle(
                (left, level + 0.03),
                max(room * chance, 0.01),
                _BAR - 0.06,
                facecolor="#0072b2" if right else "#b9d3e6",
            )
        )
        label = f"{100 * chance:.0f} %" if chance >= 0.005 else "<1 %"
        inside = chance > 0.6
        axes.text(
            left + (room * chance - 0.03 if inside else room * chance + 0.03),
            level + _BAR / 2,
            label,
            fontsize=7.5,
            ha="right" if inside else "left",
            va="center_baseline",
            color="white" if inside and right else INK,
        )


def _arrow(
    axes: Any, start: tuple[float, float], end: tuple[float, float], *, strong: bool = False
) -> None:
    axes.annotate(
        "",
        xy=end,
        xytext=start,
        arrowprops={
            "arrowstyle": "-|>",
            "color": INK if strong else QUIET,
            "linewidth": 1.6 if strong else 1.1,
            "shrinkA": 1,
            "shrinkB": 1,
        },
    )
