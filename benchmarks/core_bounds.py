"""What training a layer of a core can't avoid: the bound that `benchmarks/cores.py` compares with.

Shapes: B batch, T time, H hidden (and input).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from unrolled.core import (
    HGRN2,
    MLSTM,
    GatedDeltaNet,
    Mamba2,
    MogrifierLSTM,
    RecurrentCore,
)

Run = Callable[[], object]


def bound(core: RecurrentCore, batch: int, steps: int) -> Run:
    """Make a run of the products and memory traffic that training on one batch can't avoid."""
    hidden = core.output_size
    work: list[Run] = []

    def whole(fan_in: int, fan_out: int, *, weights_only: bool = False) -> None:
        """Add every step at once: the product, the gradient of its input, that of its weight."""
        x, y = torch.randn(steps * batch, fan_in), torch.randn(steps * batch, fan_out)
        w = torch.randn(fan_out, fan_in)
        x_out, y_out, w_out = torch.empty_like(x), torch.empty_like(y), torch.empty_like(w)
        if not weights_only:
            work.append(lambda: torch.mm(x, w.t(), out=y_out))
            work.append(lambda: torch.mm(y, w, out=x_out))
        work.append(lambda: torch.mm(y.t(), x, out=w_out))

    def stepwise(fan_in: int, fan_out: int, blocks: int = 1) -> None:
        """Add steps one by one: product and gradient of the input; that of the weight at once."""
        h, y = torch.randn(blocks, batch, fan_in), torch.randn(blocks, batch, fan_out)
        w = torch.randn(blocks, fan_out, fan_in)
        h_out, y_out = torch.empty_like(h), torch.empty_like(y)
        if blocks == 1:
            h, y, w, h_out, y_out = h[0], y[0], w[0], h_out[0], y_out[0]
        product = torch.mm if blocks == 1 else torch.bmm

        def ahead_and_back() -> None:
            for _ in range(steps):
                product(h, w.mT, out=y_out)
            for _ in range(steps):
                product(y, w, out=h_out)

        work.append(ahead_and_back)
        for _ in range(blocks):
            whole(fan_in, fan_out, weights_only=True)

    def batched(count: int, rows: int, inner: int, columns: int) -> None:
        """Add many small products at once, and their two gradients."""
        x, y = torch.randn(count, rows, inner), torch.randn(count, inner, columns)
        z = torch.randn(count, rows, columns)
        x_out, y_out, z_out = torch.empty_like(x), torch.empty_like(y), torch.empty_like(z)
        work.append(lambda: torch.bmm(x, y, out=z_out))
        work.append(lambda: torch.bmm(z, y.mT, out=x_out))
        work.append(lambda: torch.bmm(x.mT, z, out=y_out))

    gates = 0
    recurrent = set(core.recurrent_weights)
    if isinstance(core, MogrifierLSTM):
        for _ in range(core.rounds):
            stepwise(hidden, hidden)
        # x is scaled by the state: nothing is known before the step
        stepwise(2 * hidden, 4 * hidden)
        gates = 4
    else:
        for name, weight in core.named_parameters():
            if weight.dim() != 2 or name == "convolution.weight":
                continue
            if name in recurrent:
                blocks = hidden // weight.shape[1]
                stepwise(weight.shape[1], weight.shape[0] // blocks, blocks)
            else:
                whole(weight.shape[1], weight.shape[0])
                gates += weight.shape[0] // hidden
    if isinstance(core, MLSTM):
        length, size = min(core.chunk_size, steps), hidden // core.num_heads
        count = batch * core.num_heads * (steps // length)
        batched(count, length, size, length)  # scores
        batched(count, length, length, size)  # of the values
        batched(count, length, size, size)  # what the memory answers
        batched(count, size, length, size)  # what it learns
    if isinstance(core, HGRN2):
        size, length = hidden // core.num_heads, min(core.chunk_size, steps)
        count, half = batch * core.num_heads * (steps // length), length // 2
        while half:  # the blocks of a chunk
            batched(count * (length // (2 * half)), half, size, half)
            batched(count * (length // (2 * half)), half, half, size)
            half //= 2
        batched(count, length, size, size)
        batched(count, size, length, size)
    if isinstance(core, Mamba2):
        length, size = min(core.chunk_size, steps), core.state_size
        count, inner = batch * (steps // length), core.inner_size
        batched(count, length, size, length)
        batched(count * core.num_heads, length, length, inner // core.num_heads)
        batched(count, length, size, inner)
        batched(count, inner, length, size)
    if isinstance(core, GatedDeltaNet):
        length, keys, values = min(core.chunk_size, steps), core.head_size, core.value_size
        count = batch * core.num_heads * (steps // length)
        for inner, columns in (
            (keys, length), (keys, length),  # products of the keys, and with the queries
            (length, values), (length, keys),  # what the triangular system gives
            (keys, values), (keys, values),  # what the memory holds, and answers
            (length, values),
        ):  # fmt: skip
            batched(count, length, inner, columns)
        batched(count, values, length, keys)
    # Forward: read the gates' input, write the output; backward: read both and the gradient, write
    # the gradient. A copy moves an element twice.
    pieces = torch.randn(2, steps, batch, hidden)
    copies = (3 * gates + 3) / 2

    def traffic() -> None:
        for _ in range(int(copies)):
            pieces[1].copy_(pieces[0])
        if copies % 1:
            pieces[1, : steps // 2].copy_(pieces[0, : steps // 2])

    work.append(traffic)

    def run() -> None:
        for part in work:
            part()

    return run
