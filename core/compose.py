"""Compositions of cores, which are cores again.

Shapes: B batch, T time, D input, H output.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from .dropout import LockedDropout
from .gaps import apart, passed_on
from .interop.names import within
from .recurrent import CoreFactory, RecurrentCore
from .schedule import Schedule, rearrange
from .state import State

MAX_LAYERS = 1000
"""Layers of a stack at most."""


class Composition(RecurrentCore):
    """Several cores that are run as one; its state is the tuple of theirs."""

    def __init__(self, input_size: int, output_size: int, cores: dict[str, RecurrentCore]) -> None:
        super().__init__(input_size, output_size)
        self.parallel = all(core.parallel for core in cores.values())
        self.takes_gaps = any(core.takes_gaps for core in cores.values())
        self._slack = min(core._slack for core in cores.values())
        self.recurrent_weights = tuple(
            f"{name}.{weight}" for name, core in cores.items() for weight in core.recurrent_weights
        )

    @abstractmethod
    def _cores(self) -> list[RecurrentCore]:
        """Return the cores in the order of the state."""

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        """Return the tuple of the cores' initial states; see `RecurrentCore.initial_state`."""
        return tuple(
            core.initial_state(batch_size, device=device, dtype=dtype) for core in self._cores()
        )


class Stacked(Composition):
    """Cores on top of each other: each reads the output of the one below.

    With `norm` and `residual` a layer computes x + core(LayerNorm(x)), the pre-norm residual block.
    The state is the tuple of the layers' states. Causal if every layer is.

    Args:
        input_size: D, size of one step's input.
        core: Makes one layer from its input size.
        num_layers: How many layers.
        residual: Add each layer's input to its output, in the layers where both have one size.
        dropout: Probability of dropping an output between layers (none after the last). One mask
            per row for all steps of a `forward` (locked dropout, Gal and Ghahramani, arXiv
            1512.05287); `step` draws one per call.
        norm: Put a LayerNorm before each layer.

    Examples:
        >>> from unrolled.core import GRU
        >>> core = Stacked(3, lambda size: GRU(size, 8), num_layers=2, norm=True)
        >>> output, (first, second) = core(torch.randn(2, 5, 3))
        >>> output.shape, second.hidden.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 8]))
    """

    def __init__(
        self,
        input_size: int,
        core: CoreFactory,
        *,
        num_layers: int,
        residual: bool = False,
        dropout: float = 0.0,
        norm: bool = False,
    ) -> None:
        if num_layers < 1:
            raise ValueError(f"Stacked: num_layers is {num_layers}; a stack has at least 1 layer")
        if num_layers > MAX_LAYERS:
            raise ValueError(
                f"Stacked: num_layers is {num_layers}; a stack has at most {MAX_LAYERS} layers"
            )
        layers: list[RecurrentCore] = []
        for _ in range(num_layers):
            layers.append(core(layers[-1].output_size if layers else input_size))
        named = {f"layers.{i}": layer for i, layer in enumerate(layers)}
        super().__init__(input_size, layers[-1].output_size, named)
        self.causal = all(layer.causal for layer in layers)
        self.layers = nn.ModuleList(layers)
        self.norms = (
            nn.ModuleList(nn.LayerNorm(layer.input_size) for layer in layers) if norm else None
        )
        self.dropout: nn.Module = LockedDropout(dropout)
        self.residual = residual

    def torch_places(self) -> dict[str, str]:
        """Take the weights of a torch module of several layers, too; see `TorchNamed`."""
        places: dict[str, str] = {}
        for i, layer in enumerate(self._cores()):
            inner = within(f"layers.{i}", layer.torch_places())
            if not inner.keys() <= {"_l0", "_l0_reverse"}:  # a stack of stacks
                return {}
            places |= {suffix.replace("_l0", f"_l{i}"): place for suffix, place in inner.items()}
        return places

    def step(self, x: Tensor, state: State, *, gaps: Tensor | None = None) -> tuple[Tensor, State]:
        """Advance every layer one step, those with gaps that take them; see `RecurrentCore`."""
        return self._through(
            x,
            state,
            lambda layer, below, before: layer.step(below, before, **passed_on(layer, gaps)),
        )

    def stepper(self) -> Callable[[Tensor, State], tuple[Tensor, State]]:
        """Make every layer's step ready; see `RecurrentCore.stepper`."""
        if self.takes_gaps:
            return self.step
        if self.training or self.residual or self.norms is not None:
            ready = {layer: layer.stepper() for layer in self._cores()}
            return lambda x, state: self._through(
                x, state, lambda layer, below, before: ready[layer](below, before)
            )
        steppers = [layer.stepper() for layer in self._cores()]

        def step(x: Tensor, state: State) -> tuple[Tensor, State]:
            states = []
            for run, before in zip(steppers, state, strict=True):
                x, after = run(x, before)
                states.append(after)
            return x, tuple(states)

        return step

    def _unroll(self, x: Tensor, state: State, schedule: Schedule | None) -> tuple[Tensor, State]:
        x, gaps = apart(x, self.input_size)
        if schedule is not None and (self.norms is not None or self.residual):
            # Everything else reads no padding. Zero is a fixed point: the layers' outputs there are
            # zero, too.
            x = x.masked_fill(~schedule.valid().unsqueeze(2), 0.0)
        return self._through(
            x,
            state,
            lambda layer, below, before: layer(
                below, before, schedule=schedule, **passed_on(layer, gaps)
            ),
        )

    def _through(
        self,
        x: Tensor,
        state: State,
        run: Callable[[RecurrentCore, Tensor, State], tuple[Tensor, State]],
    ) -> tuple[Tensor, State]:
        states = []
        for i, (layer, before) in enumerate(zip(self._cores(), state, strict=True)):
            below = self.dropout(x) if i and self.training else x  # (B, T, D) or, of a step, (B, D)
            normed = below if self.norms is None else self.norms[i](below).to(x.dtype)
            output, after = run(layer, normed, before)
            x = below + output if self.residual and output.shape == below.shape else output
            states.append(after)
        return x, tuple(states)

    def _cores(self) -> list[RecurrentCore]:
        return cast("list[RecurrentCore]", list(self.layers))


class Bidirectional(Composition):
    """Two cores, one reading each row from its first step and one from its last.

    Schuster and Paliwal, 1997 (https://doi.org/10.1109/78.650093).

    The output is both outputs side by side, so `output_size` is their sum; the state is (forward,
    backward). The backward core starts at each row's own end and its final state is the one after
    the row's first step. A reset separates two pieces of a row in both directions: going back, the
    state starts anew between step t and step t - 1. Read backward, the time to a step is the gap of
    the step after it, and 1 where a piece begins. Not causal: `step` raises.

    Args:
        input_size: D, size of one step's input.
        core: Makes one direction's core from its input size.

    Examples:
        >>> from unrolled.core import LSTM
        >>> core = Bidirectional(3, lambda size: LSTM(size, 8))
        >>> output, (ahead, back) = core(torch.randn(2, 5, 3), lengths=torch.tensor([5, 2]))
        >>> output.shape, back.hidden.shape
        (torch.Size([2, 5, 16]), torch.Size([2, 8]))
    """

    causal = False

    def __init__(self, input_size: int, core: CoreFactory) -> None:
        ahead, back = core(input_size), core(input_size)
        named = {"ahead": ahead, "back": back}
        super().__init__(input_size, ahead.output_size + back.output_size, named)
        self.ahead = ahead
        self.back = back

    def torch_places(self) -> dict[str, str]:
        """Take the weights of a bidirectional torch module, too; see `TorchNamed`."""
        places = {"ahead": self.ahead.torch_places(), "back": self.back.torch_places()}
        if set(places["ahead"]) != {"_l0"} or places["back"].keys() != places["ahead"].keys():
            return {}
        reverse = {"_l0_reverse": places["back"]["_l0"]}
        return within("ahead", places["ahead"]) | within("back", reverse)

    def _cores(self) -> list[RecurrentCore]:
        return [self.ahead, self.back]

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Raise: a backward recurrence has no next step.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "Bidirectional has no step: it reads the future; use its core alone where steps are "
            "needed"
        )

    def _unroll(self, x: Tensor, state: State, schedule: Schedule | None) -> tuple[Tensor, State]:
        x, gaps = apart(x, self.input_size)
        ahead, ahead_state = self.ahead(
            x, state[0], schedule=schedule, **passed_on(self.ahead, gaps)
        )
        if schedule is None:
            turned = _gaps_back(None if gaps is None else gaps.flip(1), None)
            back, back_state = self.back(x.flip(1), state[1], **passed_on(self.back, turned))
            return torch.cat((ahead, back.flip(1)), 2), (ahead_state, back_state)  # (B, T, 2H)
        backward, index = schedule.backward()

        def reverse(sequence: Tensor) -> Tensor:
            return rearrange(sequence.flatten(0, 1), index, index).view_as(sequence)

        turned = _gaps_back(None if gaps is None else reverse(gaps), backward.reset)
        back, back_state = self.back(
            reverse(x), state[1], schedule=backward, **passed_on(self.back, turned)
        )
        return torch.cat((ahead, reverse(back)), 2), (ahead_state, back_state)


def _gaps_back(gaps: Tensor | None, reset: Tensor | None) -> Tensor | None:
    """Return the gaps of rows that are read backward: those of the steps read before.

    Args:
        gaps: (B, T), reversed as the rows are.
        reset: Bool (B, T) of the reversed rows, or None.
    """
    if gaps is None:
        return None
    gaps = torch.cat((torch.ones_like(gaps[:, :1]), gaps[:, :-1]), 1)
    return gaps if reset is None else gaps.masked_fill(reset.to(gaps.device), 1.0)
