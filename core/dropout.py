"""Dropout for recurrences, as parts that compose.

Shapes: B batch, T time, D input, H hidden, V vocabulary.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .gaps import apart, passed_on
from .interop.names import within
from .recurrent import CoreFactory, RecurrentCore
from .schedule import Schedule
from .state import State


class LockedDropout(nn.Module):
    """Dropout of the same features of a row at every step.

    Gal and Ghahramani, 2016 (https://arxiv.org/abs/1512.05287).

    Args:
        p: Probability of dropping a feature; what remains is scaled by 1 / (1 - p).

    Examples:
        >>> dropped = LockedDropout(0.5)(torch.ones(2, 5, 3))
        >>> dropped.shape, bool((dropped == dropped[:, :1]).all())
        (torch.Size([2, 5, 3]), True)
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = probability("LockedDropout", "p", p)

    def forward(self, x: Tensor) -> Tensor:
        """Drop features.

        Args:
            x: (B, T, D), one mask per row for all T steps; or (B, D), one step.

        Returns:
            The same shape; `x` itself in evaluation.
        """
        if not self.training or self.p == 0.0:
            return x
        shape = (x.shape[0], *[1] * (x.dim() - 2), x.shape[-1])  # (B, 1, D) or (B, D)
        return x * F.dropout(torch.ones(shape, device=x.device, dtype=x.dtype), self.p)

    def extra_repr(self) -> str:
        """Show the probability in the module's representation."""
        return f"p={self.p}"


class EmbeddingDropout(nn.Module):
    """Dropout of whole words: every occurrence of a dropped symbol in the batch is zero.

    Gal and Ghahramani, 2016 (https://arxiv.org/abs/1512.05287).

    Args:
        p: Probability of dropping a symbol; what remains is scaled by 1 / (1 - p).

    Examples:
        >>> embedded = EmbeddingDropout(0.1)(nn.Embedding(9, 4), torch.tensor([[1, 2, 1]]))
        >>> embedded.shape, bool((embedded[:, 0] == embedded[:, 2]).all())
        (torch.Size([1, 3, 4]), True)
    """

    def __init__(self, p: float = 0.1) -> None:
        super().__init__()
        self.p = probability("EmbeddingDropout", "p", p)

    def forward(self, embedding: nn.Embedding, symbols: Tensor) -> Tensor:
        """Look symbols up.

        Args:
            embedding: The table (V, D).
            symbols: Int64 of any shape (...).

        Returns:
            Embedded symbols (..., D), one mask per call.
        """
        output: Tensor = embedding(symbols)  # (..., D)
        if not self.training or self.p == 0.0:
            return output
        keep = F.dropout(output.new_ones(embedding.num_embeddings, 1), self.p)  # (V, 1)
        return output * F.embedding(symbols, keep)

    def extra_repr(self) -> str:
        """Show the probability in the module's representation."""
        return f"p={self.p}"


class _DropWeight(nn.Module):
    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, weight: Tensor) -> Tensor:
        return F.dropout(weight, self.p, self.training)


class Wrapper(RecurrentCore):
    """One core with something done to it; its state is the core's.

    Args:
        input_size: D, size of one step's input.
        core: The core.
    """

    def __init__(self, input_size: int, core: RecurrentCore) -> None:
        super().__init__(input_size, core.output_size)
        self.core = core
        self.takes_gaps = core.takes_gaps

    def torch_places(self) -> dict[str, str]:
        """Take the weights of the core's torch module, too; see `TorchNamed`."""
        return within("core", self.core.torch_places())

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        """Return the core's initial state; see `RecurrentCore.initial_state`."""
        return self.core.initial_state(batch_size, device=device, dtype=dtype)


class WeightDrop(Wrapper):
    """A core whose hidden-to-hidden weights are dropped in training.

    Merity et al., 2017, the AWD-LSTM (https://arxiv.org/abs/1708.02182).

    One mask holds for a whole `forward`, at all its steps and in all its rows. `step` draws a mask
    per call; to train step by step with one mask, loop inside
    `torch.nn.utils.parametrize.cached()`. The state dict holds the undropped weight as
    `core.parametrizations.weight_hh.original`.

    Args:
        input_size: D, size of one step's input.
        core: Makes the core from its input size; it must name its `recurrent_weights`.
        p: Probability of dropping a weight; what remains is scaled by 1 / (1 - p).

    Examples:
        >>> from unrolled.core import LSTM
        >>> core = WeightDrop(3, lambda size: LSTM(size, 8), p=0.5)
        >>> core(torch.randn(2, 5, 3))[0].shape
        torch.Size([2, 5, 8])
    """

    def __init__(self, input_size: int, core: CoreFactory, *, p: float = 0.5) -> None:
        inner = core(input_size)
        super().__init__(input_size, inner)
        if not inner.recurrent_weights:
            raise ValueError(
                f"WeightDrop: {type(inner).__name__} names no recurrent_weights, so there is "
                "nothing to drop; wrap a core that has hidden-to-hidden weights"
            )
        self.p = probability("WeightDrop", "p", p)
        self.causal = inner.causal
        self.parallel = inner.parallel
        self._slack = inner._slack
        for name in inner.recurrent_weights:
            owner, _, weight = name.rpartition(".")
            parametrize.register_parametrization(
                inner.get_submodule(owner), weight, _DropWeight(self.p)
            )

    def step(self, x: Tensor, state: State, *, gaps: Tensor | None = None) -> tuple[Tensor, State]:
        """Advance one step; see `RecurrentCore.step`."""
        return self.core.step(x, state, **passed_on(self.core, gaps))

    def stepper(self) -> Callable[[Tensor, State], tuple[Tensor, State]]:
        """Make the core's step ready; see `RecurrentCore.stepper`."""
        return self.step if self.training else self.core.stepper()

    def _unroll(self, x: Tensor, state: State, schedule: Schedule | None) -> tuple[Tensor, State]:
        with parametrize.cached():  # one mask for all segments
            for name in self.core.recurrent_weights:
                operator.attrgetter(name)(self.core)  # drawn now: a loop in a graph may draw none
            x, gaps = apart(x, self.input_size)
            return self.core(x, state, schedule=schedule, **passed_on(self.core, gaps))

    def extra_repr(self) -> str:
        """Show the probability in the module's representation."""
        return f"p={self.p}"


class Zoneout(Wrapper):
    """A core whose units sometimes keep their state.

    Krueger et al., 2017 (https://arxiv.org/abs/1606.01305).

    In training each unit of the state keeps its previous value with probability p; in evaluation
    the state is the expectation, p * previous + (1 - p) * next. The output is the new hidden state.
    Runs step by step.

    Args:
        input_size: D, size of one step's input.
        core: Makes the core from its input size; its state must have a field `hidden` that is also
            its output.
        p: Probability of keeping a unit, for every part of the state. The paper uses 0.05 for the
            hidden state of a character model.
        cell_p: The same for the field `cell`, `p` when not given. The paper uses 0.5 there.

    Examples:
        >>> from unrolled.core import LSTM
        >>> core = Zoneout(3, lambda size: LSTM(size, 8), p=0.05, cell_p=0.5)
        >>> output, state = core(torch.randn(2, 5, 3))
        >>> output.shape, state.cell.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 8]))
    """

    def __init__(
        self, input_size: int, core: CoreFactory, *, p: float = 0.05, cell_p: float | None = None
    ) -> None:
        inner = core(input_size)
        super().__init__(input_size, inner)
        state = inner.initial_state(1)
        hidden = getattr(state, "hidden", None)
        if not inner.causal or hidden is None or hidden.shape != (1, inner.output_size):
            raise ValueError(
                f"Zoneout: {type(inner).__name__} has no state `hidden` that is its output; wrap "
                "each layer's core (an LSTM, a GRU), not a composition of them"
            )
        if others := set(getattr(state, "_fields", ())) - {"hidden", "cell"}:
            raise ValueError(
                f"Zoneout: the state of {type(inner).__name__} has {', '.join(sorted(others))} "
                "too, which can't be kept apart from the rest; wrap a core whose state is `hidden` "
                "or `hidden` and `cell`"
            )
        self.p = probability("Zoneout", "p", p)
        self.cell_p = self.p if cell_p is None else probability("Zoneout", "cell_p", cell_p)
        self.recurrent_weights = tuple(f"core.{name}" for name in inner.recurrent_weights)

    def step(self, x: Tensor, state: State, *, gaps: Tensor | None = None) -> tuple[Tensor, State]:
        """Advance one step; see `RecurrentCore.step`."""
        _, following = self.core.step(x, state, **passed_on(self.core, gaps))
        names = following._fields  # type: ignore[union-attr]
        parts = {
            name: self._mix(self.cell_p if name == "cell" else self.p, before, after)
            for name, before, after in zip(names, state, following, strict=True)
        }
        return parts["hidden"].to(x.dtype), following._replace(**parts)  # type: ignore[union-attr]

    def _nothing(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        output, state = self.core(x[:, :0, : self.input_size], state)
        return F.pad(output, (0, 0, 0, x.shape[1])), state

    def _mix(self, p: float, before: Tensor, after: Tensor) -> Tensor:
        if self.training:
            return torch.where(torch.rand_like(after) < p, before, after)
        return torch.lerp(after, before, p)

    def extra_repr(self) -> str:
        """Show the probabilities in the module's representation."""
        return f"p={self.p}, cell_p={self.cell_p}"


def probability(owner: str, name: str, p: float) -> float:
    """Return `p`, or raise ValueError where it is no probability of dropping.

    Args:
        owner: The class that was given it.
        name: The argument's name.
        p: Its value.
    """
    if not 0.0 <= p < 1.0:
        raise ValueError(f"{owner}: {name} is {p}; a probability of dropping lies in [0, 1)")
    return p
