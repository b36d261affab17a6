"""Cores whose units are shared among heads.

Shapes: D input, H hidden, N heads, S = H / N units of a head.
"""

from __future__ import annotations

from ..recurrent import RecurrentCore


class HeadsCore(RecurrentCore):
    """A core of heads that don't see each other's units.

    Args:
        input_size: D, size of one step's input.
        hidden_size: H, size of the output.
        num_heads: N; divides H.

    Attributes:
        head_size: S.
    """

    def __init__(self, input_size: int, hidden_size: int, num_heads: int) -> None:
        super().__init__(input_size, hidden_size)
        if num_heads < 1 or hidden_size % num_heads:
            raise ValueError(
                f"{type(self).__name__}: num_heads is {num_heads}; it is at least 1 and divides "
                f"hidden_size, which is {hidden_size}"
            )
        self.hidden_size = hidden_size
        self.num_heads = num_heads
        self.head_size = hidden_size // num_heads

    def extra_repr(self) -> str:
        """Show the sizes in the module's representation."""
        return f"{self.input_size}, {self.hidden_size}, num_heads={self.num_heads}"
