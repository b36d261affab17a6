"""What loops over time share that run outside of torch's graphs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from ..autocast import autocast_available
from ..state import leaves, map_state, rebuilt, structure

P = ParamSpec("P")
R = TypeVar("R")


def uncompiled(loop: Callable[..., Any]) -> Callable[..., Any]:
    """Keep a loop over time out of compiled graphs: unrolled, 100 steps take minutes to compile.

    Args:
        loop: A kernel, or the `apply` of an autograd function.

    Returns:
        The same function, around which `torch.compile` breaks its graph where it may.
    """
    if torch.compiler.is_compiling() and not whole_graph():
        return cast("Callable[..., Any]", torch.compiler.disable(loop))
    return loop


def exporting() -> bool:
    """Tell whether `torch.export` makes a graph, which holds for any number of rows and steps."""
    # the first torch that tells is 2.7
    return bool(getattr(torch.compiler, "is_exporting", lambda: False)())


def whole_graph() -> bool:
    """Tell whether a graph is made that may have no break: `fullgraph=True`, `torch.export`.

    Kernels that a compiler can't look into give way to plain operations there.
    """
    return torch.compiler.is_compiling() and (exporting() or _unbroken())


def called_while_tracing(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a function whose result is a constant of the graph: it is called, not looked into.

    This is what `torch.compiler.assume_constant_result` does; that imports the compiler at once.

    Args:
        function: The function.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


@called_while_tracing
def _unbroken() -> bool:
    try:
        from torch._dynamo.symbolic_convert import InstructionTranslator

        tracer = InstructionTranslator.current_tx()
        return bool(tracer.one_graph or getattr(tracer, "error_on_graph_break", False))
    except (ImportError, AttributeError):  # an older torch, or another tracer
        return False


def without_autocast(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Keep dtypes as they are, on devices that have autocast; the meta device has none.

    Args:
        device: Where the loop runs.
    """
    if autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return contextlib.nullcontext()


def transformed() -> bool:
    """Tell whether a transform of `torch.func` is at work (grad, vmap, jvp, ...).

    Neither torch's recurrent kernels nor gradients written by hand pass through all of them; plain
    operations do.
    """
    return torch._C._are_functorch_transforms_active()


class Loop(torch.autograd.Function):
    """A loop with a gradient written by hand, and the formula of what it computes.

    A gradient written by hand has no gradient of its own. So where a graph of it is asked for
    (`create_graph=True`) torch differentiates the formula instead, and under the transforms of
    `torch.func` it runs in the loop's place.

    A loop is a subclass with `fast`, `gradient` and `formula`, and runs by `call`. The loop of a
    core is handed the core's own step, which its formula runs: see `unroll`.
    """

    @staticmethod
    def fast(
        ctx: Any, *arguments: Any
    ) -> tuple[Tensor | tuple[Tensor, ...], Sequence[Tensor | None]]:
        """Run the loop.

        Args:
            ctx: Holds whatever else `gradient` needs; `ctx.needs` tells which arguments need one.
            *arguments: Those of `call`. The first may be overwritten where it has a source.

        Returns:
            The outputs, and tensors to keep for `gradient`.
        """
        raise NotImplementedError

    @staticmethod
    def gradient(ctx: Any, kept: Sequence[Any], *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Take gradients of the outputs to the arguments', None where there is none.

        Args:
            ctx: The one of `fast`.
            kept: What `fast` kept.
            *grads: Gradients of the outputs.
        """
        raise NotImplementedError

    @staticmethod
    def formula(*arguments: Any) -> Tensor | tuple[Tensor, ...]:
        """Compute the outputs of `fast` by operations that torch can differentiate."""
        raise NotImplementedError

    @classmethod
    def call(
        cls,
        *arguments: Any,
        source: Callable[..., Tensor] | None = None,
        given: Sequence[Tensor | None] = (),
    ) -> Any:
        """Run the loop, or its formula.

        Args:
            *arguments: Tensors and other things.
            source: Makes one more tensor, which becomes the first argument. It is made again for
                the formula, so that the loop need not keep it.
            given: What it is made of, which is kept: best what is kept anyway.

        Returns:
            The outputs.
        """
        return uncompiled(_call)(cls, source, given, arguments)

    @staticmethod
    def forward(ctx: Any, loop: type[Loop], source: Any, count: int, *tensors: Any) -> Any:
        """Run `fast`; the first `count` tensors are what the first argument is made of."""
        given, arguments = tensors[:count], tensors[count:]
        ctx.loop, ctx.source, ctx.count = loop, source, count
        ctx.needs = ctx.needs_input_grad[3 + count :]
        if any(ctx.needs):
            tensor = next(a for a in arguments if isinstance(a, Tensor))
            ctx.autocast = _autocast_of(tensor.device.type)
        outputs, kept = loop.fast(ctx, *arguments)
        ctx.others = [None if isinstance(a, Tensor) else a for a in arguments]
        inputs = [a if isinstance(a, Tensor) else None for a in arguments]
        if source is not None:
            inputs[0] = None
        ctx.save_for_backward(*given, *inputs, *kept)
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Run `gradient`; differentiate `formula` where a graph is asked for."""
        saved, first, last = ctx.saved_tensors, ctx.count, ctx.count + len(ctx.others)
        before: tuple[None, ...] = (None,) * (3 + first)
        if not torch.is_grad_enabled():
            return (*before, *ctx.loop.gradient(ctx, saved[last:], *grads))
        # Of each input a view: a gradient in its own place, whatever else the input has a part in.
        arguments = [
            other if tensor is None else tensor.view_as(tensor)
            for tensor, other in zip(saved[first:last], ctx.others, strict=True)
        ]
        with torch.autocast(**ctx.autocast):
            if ctx.source is not None:
                arguments[0] = ctx.source(*saved[:first])
            outputs = ctx.loop.formula(*arguments)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        wanted = [argument for argument, needed in zip(arguments, ctx.needs, strict=True) if needed]
        found = iter(
            torch.autograd.grad(outputs, wanted, grads, create_graph=True, allow_unused=True)
        )
        return (*before, *(next(found) if needed else None for needed in ctx.needs))


def _call(
    loop: type[Loop],
    source: Callable[..., Tensor] | None,
    given: Sequence[Tensor | None],
    arguments: tuple[Any, ...],
) -> Any:
    if source is not None:
        arguments = (source(*given), *arguments)
    if transformed() or whole_graph():
        return loop.formula(*arguments)
    return loop.apply(loop, source, len(given), *given, *arguments)


def unroll(
    step: Callable[..., tuple[Tensor, ...]],
    sequence: Tensor,
    state: tuple[Tensor, ...],
    *others: Any,
) -> tuple[Tensor, ...]:
    """Run a step over a sequence, one after the other, as torch differentiates it.

    Args:
        step: Takes one step's input, the tensors of the state and `others`; returns the state's
            tensors, the first of which is the output.
        sequence: (T, ...).
        state: The tensors before the first step.
        *others: Whatever else the step takes.

    Returns:
        The outputs (T, ...) and the tensors of the state after the last step.
    """

    def advance(given: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        state = step(given, *state, *others)
        return state[0], state

    if whole_graph():  # where two may be parts of one weight
        others = tuple(_alone(part) if isinstance(part, Tensor) else part for part in others)
    outputs, state = over_time(advance, sequence, tuple(state))
    return outputs, *state


def over_time(
    step: Callable[[Any, Any], tuple[Tensor, Any]],
    sequence: Tensor | tuple[Tensor, ...],
    state: Any,
    dim: int = 0,
) -> tuple[Tensor, Any]:
    """Run a step over a sequence: one loop, which stays one where a graph is made of it.

    Args:
        step: Takes one step's input and a state; returns an output and a state like it.
        sequence: Tensors that have time in one dimension.
        state: The state before the first step.
        dim: That dimension, which outputs have too.

    Returns:
        The outputs of all steps, and the state after the last.
    """
    scan = _scan() if whole_graph() else None
    if scan is not None:
        # The operator takes plain tensors, of one layout at every step, none a part of another.
        form = structure(state)

        def advance(carried: list[Tensor], given: Any) -> tuple[list[Tensor], Tensor]:
            output, after = step(given, rebuilt(form, carried))
            return [_alone(leaf) for leaf in leaves(after)], _alone(output)

        first = map_state(lambda part: part.movedim(dim, 0), sequence)
        carried, outputs = scan(advance, [_alone(leaf) for leaf in leaves(state)], first)
        return outputs.movedim(0, dim), rebuilt(form, carried)
    parts = sequence.unbind(dim) if isinstance(sequence, Tensor) else _together(sequence, dim)
    outputs = []
    for given in parts:
        output, state = step(given, state)
        outputs.append(output)
    return torch.stack(outputs, dim), state


def _alone(part: Tensor) -> Tensor:
    return part.clone(memory_format=torch.contiguous_format)


def _together(sequences: tuple[Tensor, ...], dim: int) -> list[tuple[Tensor, ...]]:
    return list(zip(*(part.unbind(dim) for part in sequences), strict=True))


def _scan() -> Callable[..., Any] | None:
    """Return torch's loop over time as an operator, which a graph of any length has once."""
    try:
        from torch._higher_order_ops.scan import scan
    except ImportError:  # an older torch: the steps are unrolled
        return None
    return cast("Callable[..., Any]", scan)


def blocks_backward(time: int, numbers: int) -> list[slice]:
    """Cut a backward loop into blocks, the last first.

    What needs no loop is computed for a block at once: few calls where steps are small, and never
    more than the cache holds (measured: for the whole sequence at once it takes twice as long).

    Args:
        time: T.
        numbers: B * H.

    Returns:
        Slices of the steps.
    """
    length = max(1, 32768 // numbers)
    return [slice(max(stop - length, 0), stop) for stop in range(time, 0, -length)]


def masks_of_steps(mask: Tensor | None, time: int) -> list[Tensor | None]:
    """Take a mask of rows apart into its steps.

    Args:
        mask: Bool (T, ...), or None.
        time: T.

    Returns:
        For every step a mask (..., 1), or None where no row is meant.
    """
    if mask is None:
        return [None] * time
    some = mask.flatten(1).any(1).tolist()
    return [
        step if any_row else None
        for step, any_row in zip(mask.unsqueeze(-1).unbind(0), some, strict=True)
    ]


def product_dtype(x: Tensor, weight: Tensor) -> torch.dtype:
    """Return the dtype of a product of matrices here: autocast's choice, which an empty one tells.

    Args:
        x: The tensor to be multiplied.
        weight: The matrix.
    """
    return F.linear(x.new_zeros(0, 1), weight.new_zeros(1, 1)).dtype


def _autocast_of(device: str) -> dict[str, Any]:
    """Return what to give `torch.autocast` to be where one is now."""
    one = torch.empty(0, device=device, dtype=torch.float32)
    dtype = product_dtype(one, one)
    enabled = dtype != torch.float32
    return {"device_type": device, "enabled": enabled, "dtype": dtype if enabled else None}
