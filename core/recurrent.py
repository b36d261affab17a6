"""The contract of a recurrent core and its readable reference.

Shapes: B batch, T time, D input, H output.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.module import _global_forward_hooks, _global_forward_pre_hooks

from .checks import (
    Form,
    check_lengths,
    check_reset,
    dense,
    fits,
    form_of,
    refuse_device,
    refuse_input,
    refuse_mixture,
    refuse_state,
    typed,
)
from .empty import attach
from .guards import guarded_step, guarded_stepper
from .isolation import isolate
from .kernels.loops import transformed, uncompiled
from .schedule import ONE_STEP, OneStep, Schedule, rearrange
from .state import State, concatenate, detach, leaves, map_state, select_rows, where_rows


class RecurrentCore(nn.Module, ABC):
    """A recurrence: an initial state, one step, and the whole sequence.

    A core defines `initial_state` and `step`; `step` is the specification. `forward` runs a
    sequence, with `lengths` and `reset` for every core: it cuts the sequence where rows end or
    start anew and calls `_sequence` on each piece. A core with a fast way to run a sequence
    overrides `_sequence`, which knows neither lengths nor resets; its default loops over `step`.

    The state is passed in and returned, never kept and never changed in place. At every boundary
    its dtype is `promote_types(x.dtype, float32)`; the output has the dtype of `x`.

    What a core defines as `step` is its bare step. Called from outside, `step` first compares input
    and state with what `initial_state` makes, and a module with hooks runs it through `__call__` as
    it does `forward`: its hooks see (x, state) and (output, state) of one step, and pruning,
    `fully_shard` and the like work in both. A core that contains cores calls them (`inner(x,
    state)`, `inner.step(x, state)`) as anyone does.

    Args:
        input_size: D, size of one step's input.
        output_size: H, size of one step's output.

    Attributes:
        causal: Whether the output at t depends on steps up to t only. `step` exists for causal
            cores alone.
        parallel: Whether training runs in parallel over time.
        recurrent_weights: Names of the hidden-to-hidden parameters, which weight drop drops (dotted
            for submodules).
    """

    causal: bool = True
    parallel: bool = False
    recurrent_weights: tuple[str, ...] = ()
    _slack: int = 0  # steps past rows' ends that `_ragged` may run to save one cut of the sequence
    _form: Form | None = None  # of the state, once it was needed
    # `step` as the core defines it
    _bare_step: ClassVar[Callable[[Any, Tensor, Any], tuple[Tensor, Any]]]
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
        for name, size in (("input_size", input_size), ("output_size", output_size)):
            if size < 1:
                raise ValueError(f"{type(self).__name__}: {name} is {size}; sizes are at least 1")
        self.input_size = input_size
        self.output_size = output_size

    @abstractmethod
    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        """Returns the state before the first step.

        Args:
            batch_size: B.
            device: Where to make it; the parameters' device when not given.
            dtype: Its dtype; the parameters', at least float32, when not given.

        Returns:
            A state with leaves (B, ...).
        """

    @abstractmethod
    def step(self, x: Tensor, state: Any) -> tuple[Tensor, State]:
        """Advances one step.

        Args:
            x: Input (B, D).
            state: The state before the step, leaves (B, ...). A core annotates its own type here.

        Returns:
            Output (B, H) and the state after the step.

        Raises:
            ValueError: Input or state has the wrong shape or type.
        """

    def stepper(self) -> Callable[[Tensor, Any], tuple[Tensor, State]]:
        """Makes `step` ready for many calls, as generation and streams need it.

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
        schedule: Schedule | OneStep | None = None,
    ) -> tuple[Tensor, State]:
        """Runs a sequence.

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
            schedule: For compositions: lengths and resets of the batch as the outer core has made
                them, so that they are made once, the rows of everything in its order; or ONE_STEP,
                where `step` calls.

        Returns:
            Output (B, T, H) and the final state, leaves (B, ...).

        Raises:
            ValueError: An argument has the wrong shape, type or range.
        """
        if schedule is ONE_STEP:
            return self._checked_step(x, state)
        if (
            not dense(x)
            or x.dim() != 3
            or x.shape[2] != self.input_size
            or not x.is_floating_point()
        ):
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
        if isinstance(schedule, Schedule):
            return self._explained(self._unroll, x, state, schedule)
        name = type(self).__name__
        steps = [time] * batch if lengths is None else check_lengths(name, lengths, batch, time)
        if reset is not None:
            check_reset(name, reset, batch, time)
        if (lengths is None and reset is None) or batch == 0 or time == 0:
            return self._explained(self._unroll, x, state, None)
        output, last = self._scheduled(x, state, steps, reset)
        if (
            reset is not None
            and torch.is_grad_enabled()
            and x.device.type == "cpu"
            and not transformed()
        ):
            # On other devices asking would wait for them.
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
        """Runs rows of some lengths, with resets."""
        time = x.shape[1]
        schedule = Schedule(steps, time, reset, x.device, self._slack)
        if schedule.order is None:
            return self._explained(self._unroll, x, state, None if schedule.whole() else schedule)
        order = schedule.order.to(x.device, non_blocking=True)
        back = schedule.order.argsort().to(x.device, non_blocking=True)
        sorted_state = map_state(lambda leaf: rearrange(leaf, order, back), state)
        output, state = self._explained(
            self._unroll, rearrange(x, order, back), sorted_state, schedule
        )
        return rearrange(output, back, order), map_state(
            lambda leaf: rearrange(leaf, back, order), state
        )

    def _sequence(self, x: Tensor, state: Any) -> tuple[Tensor, State]:
        """Runs rows of one length without resets; the fast path that a core overrides.

        Args:
            x: Input (B, T, D), at least one row and one step.
            state: The state before the first step, of the boundary's dtype.

        Returns:
            Output (B, T, H) in the dtype of `x`, and the state after the last step in the dtype of
            `state`.
        """
        outputs = []
        for x_t in x.unbind(1):
            output, state = self._bare_step(x_t, state)
            outputs.append(output)
        return torch.stack(outputs, 1), state

    def _ragged(self, x: Tensor, state: Any, lengths: list[int]) -> tuple[Tensor, State]:
        """Runs rows that end within the sequence; for cores with `_slack`.

        Args:
            x: Input (B, T, D), at least one row and one step.
            state: The state before the first step, of the boundary's dtype.
            lengths: Steps of each row, 0 to T.

        Returns:
            Output (B, T, H), zero past the lengths, and the state at the lengths.
        """
        raise NotImplementedError(f"{type(self).__name__} sets _slack without _ragged")

    def _unroll(self, x: Tensor, state: State, schedule: Schedule | None) -> tuple[Tensor, State]:
        """Runs a batch; compositions override it, and cores that handle lengths and resets themselves.

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
            return self._sequence(x, state)
        batch, time = x.shape[:2]
        dtype = torch.promote_types(x.dtype, torch.float32)
        segments = schedule.segments
        end = segments[-1].stop if segments else 0
        # One split: its gradient is one concatenation, where each slice's would be a tensor of the
        # whole size.
        sizes = [segment.stop - segment.start for segment in segments]
        parts = [x] if sizes == [time] else x.split([*sizes, time - end], 1)
        outputs: list[Tensor] = []
        finished: list[State] = []  # rows that reached their length, the last to finish first
        running = batch
        fresh = None
        for part, (_, _, rows, lengths, reset) in zip(parts, segments, strict=False):
            if rows < running:
                finished.insert(0, select_rows(state, slice(rows, running)))
                state, running = select_rows(state, slice(rows)), rows
            if reset is not None:
                if fresh is None:
                    fresh = self.initial_state(batch, device=x.device, dtype=dtype)
                state = where_rows(reset, select_rows(fresh, slice(rows)), state)
            part = part if rows == batch else part[:rows]
            output, state = (
                self._sequence(part, state)
                if lengths is None
                else self._ragged(part, state, lengths)
            )
            outputs.append(
                output if rows == batch else F.pad(output, (0, 0, 0, 0, 0, batch - rows))
            )
        if end < time:
            outputs.append(x.new_zeros(batch, time - end, self.output_size))
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, 1), concatenate(
            [state, *finished]
        )

    @staticmethod
    def _idle(x: Tensor, schedule: Schedule | None) -> bool:
        """Whether no row has a step."""
        return (
            x.shape[0] == 0 or x.shape[1] == 0 or (schedule is not None and not schedule.segments)
        )

    def _nothing(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Runs no step at all; the graph leads to x, all of the state and every parameter nevertheless.

        Gradients are zeros then, where a process that has no rows must take part in the others'
        training step.
        """
        output = x.new_zeros(*x.shape[:2], self.output_size)
        return attach((output, state), [x, *leaves(state), *self.parameters()])

    def _checked_step(self, x: Tensor, state: Any) -> tuple[Tensor, State]:
        """Runs one step of what has been looked at."""
        state = self._accept_step(x, state)
        if torch.compiler.is_compiling():
            return self._bare_step(x, state)
        try:
            return self._bare_step(x, state)
        except RuntimeError as error:
            refuse_mixture(type(self).__name__, x, state, self.parameters(), error)
            raise

    def _accept_step(self, x: Tensor, state: Any) -> Any:
        """Checks one step's input and state; returns the state, a plain tuple as this core's type."""
        if dense(x):
            shape = x.shape
            if len(shape) == 2 and shape[1] == self.input_size and x.dtype.is_floating_point:
                # where two devices meet, torch says so at once
                return self._accept_state(state, shape[0], None)
        raise refuse_input(type(self).__name__, x, self.input_size, step=True)

    def _accept_state(self, state: Any, batch: int, device: torch.device | None) -> Any:
        """Checks a state; returns it, a plain tuple as this core's type."""
        form = self._form
        if form is not None and fits(state, form, batch, device):
            return state
        if form is not None and fits(plain := typed(state, form), form, batch, device):
            return plain
        with torch.no_grad():  # for the first time; or a layer may have been exchanged
            form = self._form = form_of(self.initial_state(1, device="meta", dtype=torch.float32))
        plain = typed(state, form)
        if not fits(plain, form, batch, device):
            raise refuse_state(type(self).__name__, state, form, batch, device)
        return plain

    def _explained(
        self, run: Callable[..., tuple[Tensor, State]], x: Tensor, *rest: Any
    ) -> tuple[Tensor, State]:
        """Runs what has been checked; where torch finds two types or devices, says whose they are."""
        if torch.compiler.is_compiling():
            return run(x, *rest)
        try:
            return run(x, *rest)
        except RuntimeError as error:
            refuse_mixture(type(self).__name__, x, rest[0], self.parameters(), error)
            raise

    def _hooked(self) -> bool:
        """Whether `__call__` does more than `forward`."""
        return bool(
            self._forward_pre_hooks
            or self._forward_hooks
            or self._backward_pre_hooks
            or self._backward_hooks
        ) or bool(_global_forward_pre_hooks or _global_forward_hooks)

    def _zeros(
        self,
        batch_size: int,
        size: int,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> Tensor:
        """Zeros (B, size) with `initial_state`'s defaults."""
        if device is None or dtype is None:
            parameter = next(self.parameters())
            device = parameter.device if device is None else device
            dtype = torch.promote_types(parameter.dtype, torch.float32) if dtype is None else dtype
        return torch.zeros(batch_size, size, device=device, dtype=dtype)


CoreFactory: TypeAlias = Callable[[int], RecurrentCore]
"""Makes a core for an input size: how everything that contains a core receives it."""


def reference(
    core: RecurrentCore,
    x: Tensor,
    state: State | None = None,
    *,
    lengths: Tensor | None = None,
    reset: Tensor | None = None,
) -> tuple[Tensor, State]:
    """Runs a causal core by its definition: every row at every step, one step at a time.

    What `forward` must agree with, and the place to read what `lengths` and `reset` mean.

    Args:
        core: The core.
        x: Input (B, T, D).
        state: The state before the first step; the initial state when not given.
        lengths: Int64 (B,), real steps of each row.
        reset: Bool (B, T), True where a row's state becomes the initial state before that step.

    Returns:
        Output (B, T, H) and the final state, leaves (B, ...).
    """
    batch, time = x.shape[:2]
    initial = core.initial_state(
        batch, device=x.device, dtype=torch.promote_types(x.dtype, torch.float32)
    )
    state = initial if state is None else state
    outputs = [x.new_zeros(batch, 0, core.output_size)]
    for t in range(time):
        if reset is not None:
            valid = torch.ones(batch, dtype=torch.bool) if lengths is None else t < lengths
            state = where_rows(reset[:, t] & valid, initial, state)
        output, following = core.step(x[:, t], state)
        if lengths is not None:
            valid = t < lengths
            output = output.masked_fill(~valid.unsqueeze(1), 0.0)
            following = where_rows(valid, following, state)
        state = following
        outputs.append(output.unsqueeze(1))
    return torch.cat(outputs, 1), state
