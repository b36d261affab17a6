"""The contract of a recurrent core and its readable reference.

Shapes: B batch, T time, D input, H output.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias, cast

import torch
from torch import Tensor

from .checks import check_lengths, check_reset, dense, refuse_device, refuse_input, refuse_masks
from .empty import attach
from .gaps import apart, check_gaps, passed_on
from .guards import Guarded, guarded_step, guarded_stepper
from .isolation import isolate
from .kernels.loops import exporting, over_time, transformed, uncompiled, whole_graph
from .schedule import ONE_STEP, OneStep, Schedule, rearrange
from .segments import run_documents, run_pieces
from .state import (
    HiddenState,
    State,
    detach,
    leaves,
    map_state,
    where_rows,
)


class RecurrentCore(Guarded, ABC):
    """A recurrence: an initial state, one step, and the whole sequence.

    A core declares its state and defines `step`, which is the specification. `forward` runs a
    sequence, with `lengths` and `reset` for every core: it cuts the sequence where rows end or
    start anew and calls `_sequence` on each piece. A core with a fast way to run a sequence
    overrides `_sequence`, which knows neither lengths nor resets; its default loops over `step`.

    The state is a NamedTuple, `state_type`, of zeros before the first step. Each of its tensors is
    (B, H) unless `state_shapes` says otherwise. Without a declaration it is `HiddenState`: the last
    output alone. A core that starts elsewhere, and one made of cores, overrides `initial_state`.

    The state is passed in and returned, never kept and never changed in place. At every boundary
    its dtype is `promote_types(x.dtype, float32)`; the output has the dtype of `x`.

    What a core defines as `step` is its bare step. Called from outside, `step` first compares input
    and state with what `initial_state` makes, and a module with hooks runs it through `__call__` as
    it does `forward`: its hooks see (x, state) and (output, state) of one step, and pruning,
    `fully_shard` and the like work in both. A core that contains cores calls them (`inner(x,
    state)`, `inner.step(x, state)`) as anyone does.

    Args:
        input_size: D, size of one step's input.
        output_size: H, size of one step's output: the hidden size, or what a core made of cores
            gives.

    Examples:
        >>> class Sum(RecurrentCore):
        ...     def __init__(self, size: int) -> None:
        ...         super().__init__(size, size)
        ...
        ...     def step(self, x, state):
        ...         total = state.hidden + x
        ...         return total, HiddenState(total)
        >>> output, state = Sum(2)(torch.ones(1, 3, 2))
        >>> output[0, :, 0].tolist(), state.hidden.shape
        ([1.0, 2.0, 3.0], torch.Size([1, 2]))

    Attributes:
        causal: Whether the output at t depends on steps up to t only. `step` exists for causal
            cores alone.
        parallel: Whether training runs in parallel over time.
        takes_gaps: Whether steps may lie unequally far apart; `step` has a keyword `gaps` then.
        recurrent_weights: Names of the hidden-to-hidden parameters, which weight drop drops (dotted
            for submodules).
        state_type: The NamedTuple of the state's tensors.
    """

    causal: bool = True
    parallel: bool = False
    takes_gaps: bool = False
    recurrent_weights: tuple[str, ...] = ()
    state_type: ClassVar[type[Any]] = HiddenState
    _slack: int = 0  # steps past rows' ends that `_ragged` may run to save one cut of the sequence
    __call__: Callable[..., tuple[Tensor, State]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, guard in (("step", guarded_step), ("stepper", guarded_stepper)):
            method = getattr(cls, name)
            if (
                method is not RecurrentCore.stepper
                and not getattr(method, "guarded", False)
                and not getattr(method, "__isabstractmethod__", False)
            ):
                setattr(cls, name, guard(method))
                if name == "step":
                    cls._bare_step = method

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()
        for name, size in (("input_size", input_size), ("hidden_size", output_size)):
            if size < 1:
                raise ValueError(f"{type(self).__name__}: {name} is {size}; sizes are at least 1")
        self.input_size = input_size
        self.output_size = output_size

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each field of `state_type` without the batch: (H,) by default."""
        return dict.fromkeys(self.state_type._fields, (self.output_size,))

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        """Return the state before the first step: zeros, unless a core overrides this.

        Args:
            batch_size: B.
            device: Where to make it; the parameters' device when not given.
            dtype: Its dtype; the parameters', at least float32, when not given.

        Returns:
            A state with leaves (B, ...).
        """
        if device is None or dtype is None:
            parameter: Tensor | None = next(self.parameters(), None)
            if parameter is None:
                parameter = torch.empty(0)
            device = parameter.device if device is None else device
            dtype = torch.promote_types(parameter.dtype, torch.float32) if dtype is None else dtype
        parts = {
            name: torch.zeros(batch_size, *shape, device=device, dtype=dtype)
            for name, shape in self.state_shapes().items()
        }
        return cast("State", self.state_type(**parts))

    @abstractmethod
    def step(self, x: Tensor, state: Any) -> tuple[Tensor, State]:
        """Advance one step.

        Args:
            x: Input (B, D).
            state: The state before the step, leaves (B, ...). A core annotates its own type here.

        Returns:
            Output (B, H) and the state after the step.

        Raises:
            ValueError: Input or state has the wrong shape or type.
        """

    def stepper(self) -> Callable[[Tensor, Any], tuple[Tensor, State]]:
        """Make `step` ready for many calls, as generation and streams need it.

        Returns:
            A function like `step`, to be called without gradients. It may hold copies of the
            weights as they are now, and need not look at what it is given again after the first
            call.
        """
        return self.step

    def forward(
        self,
        x: Tensor,
        state: State | None = None,
        *,
        lengths: Tensor | None = None,
        reset: Tensor | None = None,
        gaps: Tensor | None = None,
        schedule: Schedule | OneStep | None = None,
    ) -> tuple[Tensor, State]:
        """Run a sequence.

        Args:
            x: Input (B, T, D).
            state: The state before the first step; the initial state when not given. A plain tuple
                of the right tensors will do.
            lengths: Int64 (B,), real steps of each row, 0 to T; all of T when not given. Outputs
                past a row's length are zero and its final state is the state at its length. Best
                kept on the CPU: a CUDA tensor is waited for.
            reset: Bool (B, T), True where a row's state becomes the initial state *before* that
                step, whatever it was: numbers that are not finite end there, on the CPU in the
                gradients too. Likewise best kept on the CPU.
            gaps: Numbers (B, T), of every step the time since the one before, in any unit, for a
                core with `takes_gaps`; 1 everywhere when not given.
            schedule: For compositions: lengths and resets of the batch as the outer core has made
                them, so that they are made once, the rows of everything in its order; or ONE_STEP,
                where `step` calls.

        Returns:
            Output (B, T, H) and the final state, leaves (B, ...).

        Raises:
            ValueError: An argument has the wrong shape, type or range.
        """
        if schedule is ONE_STEP:
            return self._checked_step(x, state, gaps)
        shaped = dense(x) and x.dim() == 3 and x.shape[2] == self.input_size
        if not (shaped and x.is_floating_point()):
            raise refuse_input(type(self).__name__, x, self.input_size, step=False)
        weight = next(iter(self._parameters.values()), None)
        # a loop that writes into given memory would not notice
        if weight is not None and weight.is_meta != x.is_meta:
            raise refuse_device(type(self).__name__, x, [weight])
        batch, time = x.shape[:2]
        dtype = torch.promote_types(x.dtype, torch.float32)
        if state is None:
            state = self.initial_state(batch, device=x.device, dtype=dtype)
        else:
            state = self._accept_state(state, batch, x.device)
            state = map_state(
                lambda leaf: leaf.to(dtype) if leaf.is_floating_point() else leaf, state
            )
        if gaps is not None:
            gaps = check_gaps(type(self).__name__, self.takes_gaps, x, gaps)
            x = torch.cat((x, gaps.unsqueeze(2)), 2)  # (B, T, D + 1)
        if isinstance(schedule, Schedule):
            return self._explained(self._unroll, x, state, schedule)
        name = type(self).__name__
        if (lengths is not None or reset is not None) and whole_graph():
            refuse_masks(name)
        steps = None if lengths is None else check_lengths(name, lengths, batch, time)
        if reset is not None:
            check_reset(name, reset, batch, time)
        if (lengths is None and reset is None) or batch == 0 or time == 0:
            return self._explained(self._unroll, x, state, None)
        steps = [time] * batch if steps is None else steps
        output, last = self._scheduled(x, state, steps, reset)
        # On other devices asking would wait for them.
        asking = torch.is_grad_enabled() and x.device.type == "cpu" and not transformed()
        if reset is not None and asking:
            found = uncompiled(isolate)(x, state, steps, reset, output, causal=self.causal)
            if found is not None:
                fresh = self.initial_state(batch, device=x.device, dtype=dtype)
                again, end = self._scheduled(
                    found.x, where_rows(found.start, fresh, state), steps, found.reset
                )
                output = torch.where(found.spoiled.unsqueeze(2), output.detach(), again)
                last = where_rows(found.end, detach(last), end)
        return output, last

    def _scheduled(
        self, x: Tensor, state: State, steps: list[int], reset: Tensor | None
    ) -> tuple[Tensor, State]:
        """Run rows of some lengths, with resets."""
        time = x.shape[1]
        schedule = Schedule(steps, time, reset, x.device, self._slack)
        if schedule.order is None:
            return self._explained(self._unroll, x, state, None if schedule.whole() else schedule)
        order = schedule.order.to(x.device, non_blocking=True)
        back = schedule.order.argsort().to(x.device, non_blocking=True)
        sorted_state = map_state(lambda leaf: rearrange(leaf, order, back), state)
        sorted_x = rearrange(x, order, back)
        output, state = self._explained(self._unroll, sorted_x, sorted_state, schedule)
        state = map_state(lambda leaf: rearrange(leaf, back, order), state)
        return rearrange(output, back, order), state

    def _sequence(self, x: Tensor, state: Any) -> tuple[Tensor, State]:
        """Run rows of one length without resets; the fast path that a core overrides.

        Args:
            x: Input (B, T, D), at least one row and one step; (B, T, D + 1) with gaps, see `gaps`.
            state: The state before the first step, of the boundary's dtype.

        Returns:
            Output (B, T, H) in the dtype of `x`, and the state after the last step in the dtype of
            `state`.
        """
        if whole_graph():
            self._read_forms()

        def advance(x_t: Tensor, state: State) -> tuple[Tensor, State]:
            values, gaps = apart(x_t, self.input_size)
            return self._bare_step(values, state, **passed_on(self, gaps))

        return over_time(advance, x, state, dim=1)

    def _ragged(self, x: Tensor, state: Any, lengths: list[int]) -> tuple[Tensor, State]:
        """Run rows that end within the sequence; for cores with `_slack`.

        Args:
            x: Input (B, T, D), at least one row and one step.
            state: The state before the first step, of the boundary's dtype.
            lengths: Steps of each row, 0 to T.

        Returns:
            Output (B, T, H), zero past the lengths, and the state at the lengths.
        """
        raise NotImplementedError(f"{type(self).__name__} sets _slack without _ragged")

    def _unroll(self, x: Tensor, state: State, schedule: Schedule | None) -> tuple[Tensor, State]:
        """Run a batch; compositions override it, and cores that take lengths and resets themselves.

        Args:
            x: Input (B, T, D), rows in the schedule's order; B and T may be 0.
            state: The state before the first step, of the boundary's dtype.
            schedule: The rows' lengths and resets; None where there are none.

        Returns:
            Output (B, T, H), zero past the lengths, and the final state.
        """
        if self._idle(x, schedule):
            return self._nothing(x, state)
        if schedule is None:
            if exporting():  # no chunks of a fixed number of steps
                return RecurrentCore._sequence(self, x, state)
            return self._sequence(x, state)
        dtype = torch.promote_types(x.dtype, torch.float32)

        def fresh(rows: int) -> State:
            return self.initial_state(rows, device=x.device, dtype=dtype)

        def run(part: Tensor, before: State, lengths: list[int] | None) -> tuple[Tensor, State]:
            if lengths is None:
                return self._sequence(part, before)
            return self._ragged(part, before, lengths)

        if schedule.documents is not None:
            return run_documents(x, state, schedule.documents, fresh, run)
        return run_pieces(x, state, schedule.segments, fresh, run)

    @staticmethod
    def _idle(x: Tensor, schedule: Schedule | None) -> bool:
        """Tell whether no row has a step."""
        return 0 in x.shape[:2] or (schedule is not None and not schedule.segments)

    def _nothing(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run no step at all, in a graph that leads to x, all of the state and every parameter.

        Gradients are zeros then, where a process that has no rows must take part in the others'
        training step.
        """
        output = x.new_zeros(*x.shape[:2], self.output_size)
        return attach((output, state), [x, *leaves(state), *self.parameters()])


CoreFactory: TypeAlias = Callable[[int], RecurrentCore]
"""Makes a core for an input size: how everything that contains a core receives it."""
