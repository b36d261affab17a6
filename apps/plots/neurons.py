"""Single units of a language model over a text, and which of them follow quotes, lines, brackets.

Shapes: T characters, U units of the core's whole state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from ...errors import UsageError, a, at_least
from ..pictures.canvas import Picture, bare
from ..pictures.concepts import Numbers, concepts, followers
from ..pictures.letters import CELL, COLUMNS, draw_letters, lines_of, runs_from_right
from ..pictures.texts import ids_of, read_text
from ..shell.models import Opened, opened

if TYPE_CHECKING:
    from ...core.state import State
    from ...tasks.char_lm.model import CharModel

_FIND = 5000  # characters that the units are compared over
_EACH = 3  # units that are named for each concept
_DEVIATIONS = 2.5  # standard deviations at the ends of the scale
_ROW, _TITLE = 1.35, 1.5  # heights, in cells


class _Panel(NamedTuple):
    title: str
    text: str
    values: Numbers  # of the characters, from -1 to 1: `_DEVIATIONS` below and above the mean


def neurons(
    model: Opened[CharModel],
    text: str,
    *,
    units: list[int] | int | None = None,
    find: bool = False,
    length: int = 160,
    trust: str = "",
) -> Picture:
    """Colour a text by what single units of a language model say (Karpathy et al. 2015).

    Purple is below a unit's mean over the text that was read, orange above
    (https://arxiv.org/abs/1506.02078). A unit is a number of the state: of an LSTM its hidden and
    its cell state, layer by layer. --find compares all units with what the text does: quotes open
    and close, a line grows, it is indented, brackets open and close. The score is the correlation
    over the text's first 5,000 characters.

    Args:
        model: A language model, its checkpoint, or the folder of its run.
        text: A text, the path of a file with one, or - for standard input.
        units: Numbers of the units to show, as [17,42]; without any, those that change most.
        find: true: rank the units that follow something, and show the best.
        length: Characters that are shown for each unit.
        trust: Packages of your own, with commas in between, whose classes the checkpoint may name.
    """
    at_least(1, length=length)
    text = read_text(text, max(length, _FIND if find else 0))

    from ...tasks.char_lm.model import CharModel

    model = opened(model, CharModel, "read text by itself", trust=trust)
    activations, names = _states(model, text)
    asked = [units] if isinstance(units, int) else units
    if asked is not None and (wrong := [n for n in asked if not 0 <= n < len(names)]):
        raise UsageError(f"There is no unit {wrong[0]}: they are 0 to {len(names) - 1}.")
    said: list[str] = []
    if find and asked is None:
        shown, said = _following(activations, names, text, length)
    else:
        if asked is None:
            asked = np.argsort(-activations.std(0))[:3].tolist()
        scaled = deviations(activations)[:length]
        shown = [_Panel(f"unit {n}: {names[n]}", text[:length], scaled[:, n]) for n in asked]
    figure = _drawn(shown)
    figure.said = said or [panel.title for panel in shown]
    return figure


def _following(
    activations: Numbers, names: list[str], text: str, length: int
) -> tuple[list[_Panel], list[str]]:
    """Return a panel for each concept, and the table of units that follow them."""
    said = [f"correlations over {len(text)} characters"]
    ranked = followers(activations, text, _EACH)
    panels: list[_Panel] = []
    scaled, values = deviations(activations), concepts(text)
    for name in values:
        mine = [one for one in ranked if one.concept == name]
        if not mine:
            said.append(f"{name}: never changes in this text")
            continue
        for one in mine:
            said.append(f"{name:<12}  {one.score:+.2f}  unit {one.unit}: {names[one.unit]}")
        best = mine[0]
        start = _liveliest(values[name], text, length)
        panels.append(
            _Panel(
                f"{name}  {best.score:+.2f}   unit {best.unit}: {names[best.unit]}",
                text[start : start + length],
                scaled[start : start + length, best.unit],
            )
        )
    if not panels:
        raise UsageError("Nothing changes in this text that a unit could follow: give more of it.")
    return panels, said


def _liveliest(values: Numbers, text: str, length: int) -> int:
    """Return where something changes most within a length, at a line's beginning."""
    starts = [0, *(place + 1 for place, character in enumerate(text) if character == "\n")]
    starts = [start for start in starts if start + length <= len(text)] or [0]
    return max(starts, key=lambda start: float(np.std(values[start : start + length])))


@torch.inference_mode()
def _states(model: CharModel, text: str) -> tuple[Numbers, list[str]]:
    """Return each unit after each character (T, U), and what the units are called.

    The states of a model of bytes are those after a character's last byte. What is no vector (the
    matrix of an mLSTM) has no units.
    """
    model.eval()
    step, state = model.core.stepper(), model.core.initial_state(1)
    names = [name for name, leaf in vectors(state) for name in numbered(name, leaf.shape[1])]
    if not names:
        raise UsageError(f"The state of {a(type(model.core))} has no single units.")
    rows = []
    boundary = [[model.vocabulary.END]]
    for ids in [*boundary, *ids_of(model, text)]:
        for number in ids:
            symbol = torch.tensor([number], device=model.device)
            _, state = step(model.embedding(symbol), state)
        rows.append(torch.cat([leaf[0] for _, leaf in vectors(state)]).float().cpu())
    return torch.stack(rows[1:]).double().numpy(), names


def vectors(state: State, name: str = "") -> list[tuple[str, torch.Tensor]]:
    """Return the parts of a state that are vectors (1, H), and what they are called.

    Args:
        state: A state of one row.
        name: What is written in front of each name.
    """
    if isinstance(state, torch.Tensor):
        return [(name, state)] if state.dim() == 2 else []
    fields = getattr(state, "_fields", None) or [f"layer {n}" for n in range(1, len(state) + 1)]
    return [
        pair
        for field, part in zip(fields, state, strict=True)
        for pair in vectors(part, f"{name}, {field}" if name else field)
    ]


def numbered(name: str, size: int) -> list[str]:
    """Return the names of the units of a part of a state.

    Args:
        name: The part's.
        size: Number of its units.
    """
    return [f"{name} {number}" for number in range(size)]


def deviations(activations: Numbers) -> Numbers:
    """Return how far units are from their means: 1 and -1 are 2.5 standard deviations.

    Args:
        activations: Each unit after each character (T, U).
    """
    deviation = activations.std(0, keepdims=True)
    apart = activations - activations.mean(0, keepdims=True)
    scaled: Numbers = np.clip(apart / np.where(deviation > 0, _DEVIATIONS * deviation, 1), -1, 1)
    return scaled


def _drawn(panels: list[_Panel]) -> Picture:
    from matplotlib import colormaps

    shades = colormaps["PuOr_r"]
    heights = [(_TITLE + _ROW * len(lines_of(panel.text)) + 0.5) * CELL * 1.25 for panel in panels]
    total = sum(heights) + 0.5
    figure = Picture(total, layout=None)
    top = total
    for panel, height in zip(panels, heights, strict=True):
        lines = lines_of(panel.text)
        colours = np.ones((len(lines), COLUMNS, 3))
        for row, (start, end) in enumerate(lines):
            shade = shades(0.5 + 0.42 * panel.values[start:end])[:, :3]
            colours[row, : end - start] = shade
        title = _TITLE * CELL * 1.25
        figure.text(0.015, (top - title * 0.55) / total, panel.title, fontsize=10.5, va="center")
        high = _ROW * len(lines) * CELL * 1.25
        axes = figure.add_axes((0.015, (top - title - high) / total, 0.97, high / total))
        draw_letters(
            axes,
            [list(panel.text[start:end]) for start, end in lines],
            colours,
            from_right=runs_from_right(panel.text),
        )
        top -= height
    scale = bare(figure.add_axes((0.25, 0.29 / total, 0.5, 0.12 / total)))
    scale.imshow(shades(np.linspace(0.08, 0.92, 120))[None], aspect="auto", extent=(-1, 1, 0, 1))
    scale.set_xticks([-1, 0, 1], ["2.5 σ below", "its mean", "2.5 σ above"], fontsize=9)
    scale.tick_params(length=2, pad=1)
    return figure
