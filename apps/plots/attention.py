"""Where each word of a caption looked, and how much it looked at all.

Shapes: T words, h, w the encoder's grid, P = h w places, S side of the picture.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import torch

from ...errors import UsageError
from ..pictures.canvas import INK, WIDTH, Picture, bare, shortened
from ..pictures.overlay import HEAT, heated
from ..shell.models import Opened, opened

if TYPE_CHECKING:
    from torch import Tensor

    from ...core.vision.encoders import ImageEncoder
    from ...tasks.captioning.model import Captioned, CaptioningModel

_SIDE = 192  # pixels of a panel's picture
_COLUMNS = 4
_TIMES = (
    10.0  # the end of the scale at most, in even looks: one sharp look must not hide the others
)
_WORD = 0.5  # inches below a panel: its word, and its gate


def attention(
    model: Opened[CaptioningModel],
    image: Any,
    *,
    beam_size: int | None = None,
    trust: str = "",
) -> Picture:
    """Show where each word of a caption looked, all on one scale.

    A panel for each word: warm where it looked more than an even look would. The bar below it is
    the gate of Xu et al. 2015 (https://arxiv.org/abs/1502.03044), how much it looked at the picture
    at all; models without a gate have no bar.

    Args:
        model: A captioning model, its checkpoint, or the folder of its run.
        image: An image file; from Python also an image of Pillow, or a tensor (3, S, S) uint8.
        beam_size: Hypotheses to keep; null the model's own setting.
        trust: Packages of your own, with commas in between, whose classes the checkpoint may name.
    """
    from ...data.images import open_image

    shown = open_image(image, _SIDE) if not isinstance(image, torch.Tensor) else image

    from ...tasks.captioning.model import CaptioningModel

    model = opened(model, CaptioningModel, "caption images", trust=trust)
    if model.feature_size:
        raise UsageError("The attention is drawn on pictures, and this model takes features.")
    found, gates = look(model, image, beam_size=beam_size)
    return draw(shown, found, gates, shift=shift_of(model))


def shift_of(model: CaptioningModel) -> float:
    """Return how far from the middle of its place in the grid a vector of the encoder looks.

    A convolution of stride 2 with padding looks at pixels 0, 2, 4, so that after some of them a
    vector's field lies half a place up and left of where it would be drawn.

    Args:
        model: The model.

    Returns:
        To the right, and downwards, as a share of the picture's side; negative: to the left and up.
    """
    noted = getattr(model, "grid_shift", None)
    if isinstance(noted, float):
        return noted  # by the export of a model whose graph has no layers
    layers: list[tuple[int, int, int]] = []  # kernel, stride and padding where the grid shrinks
    sizes: list[int] = []

    def note(layer: torch.nn.Module, inputs: Any, output: Any) -> None:
        numbers = [getattr(layer, name) for name in ("kernel_size", "stride", "padding")]
        kernel, stride, padding = (n if isinstance(n, int) else n[0] for n in numbers)
        shrinks = output.shape[-1] < inputs[0].shape[-1]
        # beside the way through a residual block there is another, which is as long
        if shrinks and isinstance(padding, int) and output.shape[-1] not in sizes:
            layers.append((kernel, stride, padding))
            sizes.append(output.shape[-1])

    kinds = (torch.nn.Conv2d, torch.nn.MaxPool2d, torch.nn.AvgPool2d)
    parts = [part for part in model.encoder.modules() if isinstance(part, kinds)]
    hooks = [part.register_forward_hook(note) for part in parts]
    side = model.image_size
    try:
        places = cast("ImageEncoder", model.encoder).grid(side, side)[1]
    finally:
        for hook in hooks:
            hook.remove()
    first, apart = 0.0, 1  # where the first vector looks, and the distance of two, in pixels
    for kernel, stride, padding in layers:
        first += ((kernel - 1) / 2 - padding) * apart
        apart *= stride
    if round(side / apart) != places:
        return 0.0  # another way to a grid than these layers
    return (first + 0.5 - apart / 2) / side


def look(
    model: CaptioningModel, image: Any, *, beam_size: int | None = None
) -> tuple[Captioned, list[float] | None]:
    """Return an image's caption with its attention, and the gate at each word.

    Args:
        model: A captioning model.
        image: The image.
        beam_size: Hypotheses to keep; None: the model's own setting.

    Returns:
        The caption, and how open the gate was at each word; None of a model without a gate.
    """
    gates: list[Tensor] = []
    gate = getattr(model.decoder.attention, "gate", None)
    hook = None
    if isinstance(gate, torch.nn.Module):
        hook = gate.register_forward_hook(lambda _, __, output: gates.append(output.flatten()))
    try:
        found = model.captions([image], beam_size=beam_size, attention=True)[0][0]
    finally:
        if hook is not None:
            hook.remove()
    if not gates:
        return found, None
    # the caption that was found is read once more at the end, for its attention
    read = torch.cat(gates)[-len(found.words) :]
    return found, read.float().sigmoid().tolist()


def draw(
    picture: Tensor,
    found: Captioned,
    gates: list[float] | None = None,
    *,
    shift: float = 0.0,
) -> Picture:
    """Draw a caption that was found with its attention.

    Args:
        picture: (3, S, S) uint8, of any size.
        found: The caption.
        gates: How open the gate was at each word.
        shift: What `shift_of` says of the model.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    assert found.attention is not None
    words = found.words[:-1] if found.words[-1:] == ["</s>"] else found.words
    weights = found.attention[: len(words)].numpy()  # (T, h, w)
    weights = weights * weights[0].size if len(words) else weights  # 1 is an even look
    most = min(_TIMES, max(2.0, float(weights.max()))) if len(words) else 2.0
    pixels: npt.NDArray[np.uint8] = picture.permute(1, 2, 0).numpy()
    columns = min(_COLUMNS, len(words) + 1)
    rows = -(-(len(words) + 1) // columns)
    side = (WIDTH - 0.1) / columns - 0.1
    title = textwrap.wrap(found.text, 52) or ["(nothing)"]
    head, foot = 0.24 * len(title) + 0.2, 0.52
    total = head + rows * (side + _WORD) + foot
    figure = Picture(total, layout=None)
    for number, line in enumerate(title):
        figure.text(
            0.5, 1 - (0.2 + 0.24 * number) / total, line, fontsize=11.5, ha="center", va="center"
        )
    for number in range(len(words) + 1):
        row, column = divmod(number, columns)
        left = 0.1 + column * (side + 0.1)
        below = total - head - row * (side + _WORD) - side
        place = (left / WIDTH, below / total, side / WIDTH, side / total)
        axes = bare(figure.add_axes(place))
        word = number - 1
        axes.imshow(pixels if word < 0 else heated(pixels, weights[word], most, shift))
        if word < 0:
            continue
        middle = (left + side / 2) / WIDTH
        label = shortened(words[word], 14)
        figure.text(middle, (below - 0.14) / total, label, fontsize=11, ha="center", va="center")
        if gates is not None:
            _gate(figure, (left, below - 0.36, side), gates[word], total)
    scale = figure.add_axes((0.1, 0.3 / total, 0.5, 0.1 / total))
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, most), HEAT), cax=scale, orientation="horizontal"
    )
    bar.set_ticks([1, most], labels=["an even look", f"{most:.0f} times"])
    bar.ax.tick_params(labelsize=9, length=2, pad=2)
    bar.outline.set_visible(False)
    if gates is not None:
        figure.text(0.7, 0.35 / total, "▬ gate: how much it", fontsize=8.5, va="center")
        figure.text(0.7, 0.2 / total, "looked at all", fontsize=8.5, va="center")
    figure.said = [found.text or "(nothing)"]
    return figure


def _gate(figure: Picture, place: tuple[float, float, float], gate: float, total: float) -> None:
    left, below, side = place
    axes = bare(figure.add_axes((left / WIDTH, below / total, side / WIDTH, 0.08 / total)))
    axes.set_xlim(0, 1)
    axes.barh(0, 1, color="#e3e3e3")
    axes.barh(0, gate, color=INK)
