"""A translation's attention: how much each of its words looked at each word of the source.

Shapes: S subwords of the source, T of the translation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ...errors import UsageError
from ..pictures.canvas import Picture, ink_on, label_inches, shortened
from ..shell.models import Opened, opened

if TYPE_CHECKING:
    from ...tasks.translation.model import Translated, TranslationModel

_CELL = 0.36  # inches
_SIZE = 10.5
_LONGEST = 18  # characters of a label
_MOST = 120  # subwords of either side


def alignment(
    model: Opened[TranslationModel],
    source: str,
    *,
    target: str | None = None,
    beam_size: int | None = None,
    trust: str = "",
) -> Picture:
    """Show a translation's attention: the source from left to right, the translation downwards.

    A row is how much that subword looked at each of the source's; it sums to 1. `_` stands where a
    word begins, the last column is the source's end.

    Args:
        model: A translation model, its checkpoint, or the folder of its run.
        source: A sentence.
        target: A translation to align instead of the model's own.
        beam_size: Hypotheses to keep; null the model's own setting.
        trust: Packages of your own, with commas in between, whose classes the checkpoint may name.
    """
    if not source.strip():
        raise UsageError("There is nothing to translate in an empty sentence.")

    from ...tasks.translation.model import TranslationModel

    model = opened(model, TranslationModel, "translate", trust=trust)
    if target is None:
        found = model.translations([source], beam_size=beam_size, attention=True)[0][0]
    else:
        found = _aligned(model, source, target)
    return draw(found)


@torch.inference_mode()
def _aligned(model: TranslationModel, source: str, target: str) -> Translated:
    """Return a given translation as the model would have found it."""
    from ...tasks.translation.model import Translated

    if model.decoder.attention is None:
        raise UsageError("This model was made without attention; there is none to show.")
    model.eval()
    [read], [written] = model.source.encode_batch([source]), model.target.encode_batch([target])
    if not read or not written:
        raise UsageError("There is nothing to align in an empty sentence.")
    ids = torch.tensor([[*written, model.target.END]], device=model.device)
    decoded = model.decode(model.read([read]), ids)
    nats = model.decoder.head(decoded.output)[0].float().log_softmax(-1)  # (T, V)
    likelihood = float(nats.gather(1, ids[0, :, None]).sum())
    symbols = model.source.symbols([*read, model.source.END])
    target_symbols = model.target.symbols([*written, model.target.END])
    weights = decoded.attention[0].cpu()
    return Translated(target, likelihood, likelihood, symbols, target_symbols, weights)


def draw(found: Translated) -> Picture:
    """Draw a translation that was found with its attention.

    Args:
        found: The translation.
    """
    assert found.attention is not None
    words = found.target[:-1] if found.target[-1:] == ["</s>"] else found.target
    weights = found.attention[: len(words)].float().numpy()  # (T, S)
    if max(weights.shape) > _MOST:
        raise UsageError(
            f"A picture has room for {_MOST} subwords, and these are {max(weights.shape)}: "
            "show a shorter sentence."
        )
    across = [_label(word) for word in [*found.source[:-1], "(end)"]]
    down = [_label(word) for word in words] or ["(nothing)"]
    if not words:
        weights = np.zeros((1, len(across)))
    left = max(label_inches(label, _SIZE) for label in down) + 0.25
    top = max(label_inches(label, _SIZE) for label in across) * 0.85 + 0.3
    width = max(4.0, left + _CELL * len(across) + 0.55)
    height = top + _CELL * len(down) + 0.6
    figure = Picture(height, width=width, layout=None)
    inner = (_CELL * len(across) / width, _CELL * len(down) / height)
    axes = figure.add_axes((left / width, 0.6 / height, *inner))
    image = axes.imshow(weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(
        range(len(across)),
        across,
        rotation=55,
        ha="left",
        va="bottom",
        rotation_mode="anchor",
        fontsize=_SIZE,
    )
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(down)), down, fontsize=_SIZE)
    axes.tick_params(length=0, pad=4)
    axes.set_xticks(np.arange(len(across)) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(down)) + 0.5, minor=True)
    axes.grid(which="minor", color="#e6e6e6", linewidth=0.8)
    axes.tick_params(which="minor", length=0)
    for side in axes.spines.values():
        side.set_color("#bbbbbb")
    for (row, column), weight in np.ndenumerate(weights):
        if weight >= 0.095:
            colour = image.cmap(image.norm(weight))
            axes.text(
                column,
                row,
                f"{100 * weight:.0f}",
                ha="center",
                va="center",
                fontsize=8,
                color=ink_on(colour),
            )
    figure.text(left / width, 0.25 / height, "attention in %", fontsize=9, va="center")
    figure.said = [found.text or "(nothing)"]
    return figure


def _label(subword: str) -> str:
    return shortened(subword.replace("▁", "_"), _LONGEST)
