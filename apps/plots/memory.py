"""How far cores remember: the norm of the gradient at a state over its distance from the loss.

Shapes: B rows, T steps, D input, H output.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ...core import Bidirectional, RecurrentCore, Stacked, discover_cores
from ...core.compose import Composition
from ...core.state import State, leaves
from ...errors import UsageError, a, at_least, did_you_mean
from ..pictures.canvas import COLOURS, INK, Picture, legend_columns, open_frame, shortened

_ROWS = 16
_FLOOR = 1e-12  # of the axis; what is smaller is nothing


class _Curve(NamedTuple):
    name: str
    norms: npt.NDArray[np.float64]  # at distances 0 to T - 1, that of 0 is 1


def memory(
    *what: str | os.PathLike[str] | nn.Module,
    steps: int = 100,
    hidden_size: int = 128,
    input_size: int = 64,
    seed: int = 0,
    trust: str = "",
) -> Picture:
    """Show how fast the gradient vanishes, or explodes, on its way back through time.

    For each core a line: the norm of dL/dh at the state so many steps before the loss, over the
    norm at the last state. L is a random projection of the last output, h is the whole state (of an
    LSTM hidden and cell); a mean over 16 sequences. Fresh cores read noise, a trained language
    model what it writes itself, the core of any other model noise as well.

    Args:
        *what: Names of cores (RNN LSTM GRU), cores and models, checkpoints, or folders of runs.
        steps: The largest distance.
        hidden_size: Of fresh cores.
        input_size: Of fresh cores.
        seed: Of their weights, and of what is read.
        trust: Packages of your own, with commas in between, whose classes a checkpoint may name.
    """
    at_least(2, steps=steps)
    at_least(1, hidden_size=hidden_size, input_size=input_size)
    if not what:
        raise UsageError("Whose memory? Name cores (RNN LSTM GRU), checkpoints, or runs.")
    curves = []
    with _own_random_numbers(seed):
        for one in what:
            torch.manual_seed(seed)
            name, core, model = _found(one, input_size, hidden_size, trust)
            curves.append(_Curve(name, gradient_norms(core, _inputs(core, model, steps, seed))))
    figure = Picture(3.6)
    axes = open_frame(figure.subplots())
    for number, curve in enumerate(curves):
        colour = COLOURS[number % len(COLOURS)]
        style = ("-", "--", ":", "-.")[number // len(COLOURS) % 4]
        shown = np.where(curve.norms > _FLOOR, curve.norms, np.nan)
        axes.plot(shown, color=colour, linestyle=style, linewidth=2.2, label=curve.name)
        figure.said.append(f"{curve.name}: {_in_words(curve.norms)}")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_locator(_nothing())
    axes.set_xlim(0, steps - 1)
    axes.set_xlabel("steps back in time", fontsize=10)
    axes.set_ylabel("‖∂L/∂h‖, the last is 1", fontsize=10)
    axes.axhline(1, color=INK, linewidth=0.8)
    columns = legend_columns([curve.name for curve in curves], 10, 3)
    figure.legend(loc="outside upper center", ncols=columns, fontsize=10, frameon=False)
    return figure


def gradient_norms(core: RecurrentCore, x: Tensor) -> npt.NDArray[np.float64]:
    """Return the norm of a loss's gradient at each state, the last first and 1.

    Args:
        core: A causal core, whose steps are made one by one.
        x: Input (B, T, D).

    Returns:
        (T,): a mean over rows of the norms over a row's whole state, divided by the first.
    """
    core.eval()
    with torch.inference_mode(False), torch.enable_grad():
        states: list[State] = []
        state = core.initial_state(x.shape[0], dtype=x.dtype, device=x.device)
        x = x.detach().clone().requires_grad_()  # a core may have no weights
        output = x.new_zeros(0)
        for x_t in x.unbind(1):  # (B, D)
            output, state = core.step(x_t, state)
            states.append(state)
        probe = torch.randn(output.shape[1], dtype=output.dtype, device=output.device)
        # the last output is no function of the last state of every core: the state before it counts
        flat = [leaf for each in states for leaf in leaves(each) if leaf.requires_grad]
        loss = (output @ probe).sum()
        found = torch.autograd.grad(loss, flat, allow_unused=True)
    by_leaf = dict(zip(map(id, flat), found, strict=True))
    norms = []
    for each in reversed(states):
        rows = torch.zeros(x.shape[0], dtype=torch.float64)
        for leaf in leaves(each):
            gradient = by_leaf.get(id(leaf))
            if gradient is not None:
                rows += gradient.detach().cpu().double().flatten(1).square().sum(1)
        norms.append(float(rows.sqrt().mean()))
    first = next((norm for norm in norms if norm > 0), 1.0)
    return np.array(norms) / first


def steppable(core: nn.Module) -> RecurrentCore:
    """Return a core that has steps: of one that reads both ways, the one that reads forwards.

    Args:
        core: A core.

    Raises:
        UsageError: There is none in it.
    """
    if isinstance(core, RecurrentCore) and core.causal:
        return core
    if isinstance(core, Bidirectional):
        return steppable(core.ahead)
    if isinstance(core, Stacked):
        return steppable(core.layers[0])
    inner = [part for part in core.children() if isinstance(part, RecurrentCore)]
    if isinstance(core, Composition) and inner:
        return steppable(inner[0])
    raise UsageError(f"{a(type(core), capital=True)} has no core that reads forwards.")


def _found(
    what: str | os.PathLike[str] | nn.Module, input_size: int, hidden_size: int, trust: str
) -> tuple[str, RecurrentCore, nn.Module | None]:
    """Return a core with what it is called, and the model that it is of."""
    if isinstance(what, RecurrentCore):
        return type(what).__name__, steppable(what), None
    if isinstance(what, nn.Module):
        core = _core_of(what)
        return f"{type(what).__name__} ({type(core).__name__})", core, what
    cores = {
        name: cls
        for name, cls in discover_cores().items()
        if not issubclass(cls, Composition) and cls.causal
    }
    if (name := os.fspath(what)) in cores:
        return name, cores[name](input_size, hidden_size), None
    if not Path(name).exists() and "/" not in name and "." not in name:
        raise UsageError(
            f"There is no core '{name}', and no file.{did_you_mean(name, cores)}\n"
            f"The cores are: {', '.join(cores)}."
        )
    from ...checkpoints import find_checkpoint
    from ...loading import load

    model: nn.Module = load(find_checkpoint(name), trust=trust)
    core = _core_of(model)
    place = Path(name).absolute()  # called as a run is, wherever on the machine it lies
    return shortened(f"{place.parent.name}/{place.name} ({type(core).__name__})", 40), core, model


def _core_of(model: nn.Module) -> RecurrentCore:
    """Return the core of a model, of a model with a decoder that one's."""
    inside = getattr(model, "decoder", model)
    core = getattr(inside, "core", None)
    if not isinstance(core, RecurrentCore):
        core = next((part for part in model.modules() if isinstance(part, RecurrentCore)), None)
    if core is None:
        raise UsageError(f"{a(type(model), capital=True)} has no recurrent core.")
    return steppable(core)


@torch.no_grad()
def _inputs(core: RecurrentCore, model: nn.Module | None, steps: int, seed: int) -> Tensor:
    """Return what the core reads (B, T, D)."""
    from ...tasks.char_lm.model import CharModel

    if isinstance(model, CharModel):
        from ...core.seq2seq.sampling import sample

        # its own text: the symbols that it draws, one after another
        start = torch.full((_ROWS,), model.vocabulary.END, device=model.device)
        logits, state = model.step(start, core.initial_state(_ROWS))
        generator = torch.Generator(start.device).manual_seed(seed)
        drawn = [start, *sample(model.step, logits, state, length=steps - 1, generator=generator)]
        embedded: Tensor = model.embedding(torch.stack(drawn[:steps], 1))  # (B, T, D)
        return embedded
    parameter = next(core.parameters(), torch.empty(0))
    x = torch.randn(_ROWS, steps, core.input_size)
    return x.to(device=parameter.device, dtype=parameter.dtype)


@contextlib.contextmanager
def _own_random_numbers(seed: int) -> Iterator[None]:
    """Leave the program's random numbers as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _in_words(norms: npt.NDArray[np.float64]) -> str:
    last = len(norms) - 1
    for share in (0.01, 0.1):
        below = np.flatnonzero(norms < share)
        if len(below) and (norms[below[0] :] < share).all():
            return f"below 1/{1 / share:.0f} from {below[0]} steps back; {norms[-1]:.2g} at {last}"
    return f"{norms[-1]:.2g} of the gradient is left {last} steps back"


def _nothing() -> object:
    from matplotlib.ticker import NullLocator

    return NullLocator()
