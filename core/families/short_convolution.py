"""A convolution over the last steps of each channel, as linear recurrences have it before them.

Shapes: B batch, T time, K taps, E channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Rows(NamedTuple):
    """What is not the same in all rows of a batch.

    Attributes:
        lengths: Steps of each row; None where each has all.
        padding: Bool (B, T), True past the lengths; None where there is none.
        reset: Bool (B, T), True where a row starts anew; None where no row does.
    """

    lengths: list[int] | None = None
    padding: Tensor | None = None
    reset: Tensor | None = None


class ShortConvolution(nn.Module):
    """A convolution over the last steps of each channel, with SiLU.

    `weight` (E, K), the oldest step first, and `bias` (E,), if any, are drawn uniformly within 1 /
    sqrt(K), torch's default.

    Args:
        channels: E.
        taps: K.
        bias: Whether there is a bias.
    """

    def __init__(self, channels: int, taps: int, *, bias: bool) -> None:
        super().__init__()
        self.taps = taps
        self.weight = nn.Parameter(torch.empty(channels, taps))
        self.bias = nn.Parameter(torch.empty(channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw everything uniformly within 1 / sqrt(K)."""
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(self.taps**-0.5), self.taps**-0.5)

    def step(self, x: Tensor, previous: Tensor) -> tuple[Tensor, Tensor]:
        """Advance one step.

        Args:
            x: (B, E).
            previous: The K - 1 steps before it, (B, K - 1, E).

        Returns:
            (B, E), and the K - 1 steps before the next one.
        """
        window = torch.cat((previous, x.unsqueeze(1)), 1)  # (B, K, E)
        y = (window * self.weight.to(x.dtype).t()).sum(1)
        if self.bias is not None:
            y = y + self.bias.to(x.dtype)
        return F.silu(y), window[:, 1:]

    def forward(
        self, parts: Sequence[Tensor], previous: Tensor, rows: Rows
    ) -> tuple[list[Tensor], Tensor]:
        """Run a sequence.

        Args:
            parts: The channels in groups, (B, T, ...) each.
            previous: The K - 1 steps before, (B, K - 1, E).
            rows: Lengths and resets.

        Returns:
            The groups, (B, T, ...) each, and the K - 1 steps before each row's end.
        """
        sizes = [part.shape[2] for part in parts]
        dtype, groups = previous.dtype, len(parts)
        biases = [None] * groups if self.bias is None else self.bias.to(dtype).split(sizes)
        found, last = [], []
        for part, before, weight, bias in zip(
            parts, previous.split(sizes, 2), self.weight.to(dtype).split(sizes), biases, strict=True
        ):
            window = torch.cat((before, part), 1)  # (B, K - 1 + T, ...)
            found.append(F.silu(_convolve(window, weight, bias, rows.reset)))
            last.append(_last(window, self.taps - 1, rows))
        return found, torch.cat(last, 2)


def _convolve(window: Tensor, weight: Tensor, bias: Tensor | None, reset: Tensor | None) -> Tensor:
    """Convolve (B, K - 1 + T, E) to (B, T, E)."""
    if reset is None:
        # channels last in two dimensions: on a CPU four times as fast as in one
        image = window.transpose(1, 2).unsqueeze(2)  # (B, E, 1, K - 1 + T)
        y = F.conv2d(image, weight[:, None, None], bias, groups=len(weight))
        return y.squeeze(2).transpose(1, 2)
    before, time = weight.shape[1] - 1, reset.shape[1]
    y = window[:, before:] * weight[:, -1]
    for lag in range(1, before + 1):
        past = window[:, before - lag : before - lag + time]
        # a product, which takes half of the time of a selection: all numbers are finite here
        reached = (~_reset_within(reset, lag)).to(past.dtype).unsqueeze(2)  # (B, T, 1)
        y = torch.addcmul(y, past * reached, weight[:, -1 - lag])
    return y if bias is None else y + bias


def _last(window: Tensor, before: int, rows: Rows) -> Tensor:
    """Return the K - 1 steps before each row's end, (B, K - 1, E), of all (B, K - 1 + T, E)."""
    time = window.shape[1] - before
    if rows.lengths is None and rows.reset is None:
        return window[:, time:]
    lengths = [time] * len(window) if rows.lengths is None else rows.lengths
    index = torch.tensor(lengths).to(window.device, non_blocking=True).unsqueeze(1)  # (B, 1)
    index = index + torch.arange(before, device=window.device)  # (B, K - 1)
    last = window.gather(1, index.unsqueeze(2).expand(-1, -1, window.shape[2]))
    if rows.reset is None:
        return last
    step = torch.arange(time, device=window.device) + before
    start = (rows.reset * step).amax(1, keepdim=True)  # (B, 1), of the last reset, in the window
    return last.masked_fill((index < start).unsqueeze(2), 0.0)


def _reset_within(reset: Tensor, lag: int) -> Tensor:
    """Return bool (B, T), True where a row starts anew at one of the last `lag` steps."""
    found = reset
    for back in range(1, lag):
        found = found | F.pad(reset[:, : reset.shape[1] - back], (back, 0))
    return found
