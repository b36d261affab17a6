"""RNN, LSTM and GRU: parameters in torch's layout, run by torch's own kernels.

Shapes: B batch, T time, D input, H hidden, G gates.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from ..kernels.loops import uncompiled
from ..recurrent import RecurrentCore
from ..schedule import steps_before
from ..state import State


class TorchCore(RecurrentCore):
    """One layer of `nn.RNN`, `nn.LSTM` or `nn.GRU` under this package's contract.

    Parameters, named as in torch's cells: `weight_ih` (G * H, D), `weight_hh` (G * H, H), `bias_ih`
    (G * H,) and `bias_hh` (G * H,). Initialisation is torch's: uniform within 1 / sqrt(H).

    Args:
        input_size: D, size of one step's input.
        hidden_size: H, size of the hidden state and of the output.
        bias: Whether there are biases.
    """

    gates: ClassVar[int]
    torch_class: ClassVar[Callable[..., nn.RNNBase]]
    recurrent_weights = ("weight_hh",)
    _slack = 128  # measured on CPUs: a cut costs about as much as this many steps of one row

    def __init__(self, input_size: int, hidden_size: int, *, bias: bool = True) -> None:
        super().__init__(input_size, hidden_size)
        self.hidden_size = hidden_size
        self.bias = bias
        rows = self.gates * hidden_size
        self.weight_ih = nn.Parameter(torch.empty(rows, input_size))
        self.weight_hh = nn.Parameter(torch.empty(rows, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(rows)) if bias else None
        self.bias_hh = nn.Parameter(torch.empty(rows)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every parameter uniformly within 1 / sqrt(H), torch's default."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def extra_repr(self) -> str:
        """Show the sizes in the module's representation."""
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")

    @classmethod
    def from_torch(
        cls, module: nn.RNNBase, *, layer: int | None = None, reverse: bool | None = None
    ) -> Self:
        """Copy one layer, in one direction, of a torch module.

        `unrolled.core.from_torch` takes all of a module.

        Args:
            module: The torch module of this core's kind.
            layer: Which of its layers; may be left out where there is one.
            reverse: Whether to take the backward direction; may be left out where there is none.

        Returns:
            A core with copies of the weights, with their device, dtype and `requires_grad`, in the
            module's mode. Dropout between layers is left to `Stacked`.

        Raises:
            ValueError: The module is of another kind, or has no such layer, or has others too and
                which one is not said.
        """
        name = f"{cls.__name__}.from_torch"
        if type_before_parametrizations(module) is not cls.torch_class:
            raise refuse_module(name, f"nn.{cls.torch_class.__name__}", module)
        layers, both = module.num_layers, module.bidirectional
        if (layer is None and layers > 1) or (reverse is None and both):
            raise ValueError(
                f"{name} takes one layer in one direction, and the module has {layers} layers, "
                f"bidirectional={both}: unrolled.core.from_torch(module) takes all of it, "
                "layer=... and reverse=... one"
            )
        layer, reverse = layer or 0, bool(reverse)
        if not 0 <= layer < layers or (reverse and not both):
            raise ValueError(
                f"{name}: no layer={layer}, reverse={reverse} in a module of {layers} layers, "
                f"bidirectional={both}"
            )
        suffix = f"_l{layer}" + ("_reverse" if reverse else "")
        weight = getattr(module, "weight_ih" + suffix)
        core = cls(weight.shape[1], module.hidden_size, bias=module.bias, **cls._options_of(module))
        core.to(device=weight.device, dtype=weight.dtype)
        with torch.no_grad():
            for name, parameter in core.named_parameters():
                value = getattr(module, name + suffix)
                parameter.copy_(value).requires_grad_(value.requires_grad)
        return core.train(module.training)

    def to_torch(self) -> nn.RNNBase:
        """Copy the weights into a torch module; the inverse of `from_torch`.

        Returns:
            A one-layer, batch-first torch module with the weights' device, dtype and
            `requires_grad`, in the core's mode.
        """
        module = self.make_torch(self.input_size)
        self.copy_to(module, "_l0")
        return module.train(self.training)

    def make_torch(self, input_size: int, **options: Any) -> nn.RNNBase:
        """Make a batch-first torch module with this core's options, device and dtype.

        Args:
            input_size: D.
            **options: More of them: layers, directions, dropout.
        """
        weight = self.weight_ih
        options |= {"batch_first": True, **self.torch_options()}
        module = self.torch_class(input_size, self.hidden_size, **options)
        return module.to(device=weight.device, dtype=weight.dtype)

    @torch.no_grad()
    def copy_to(self, module: nn.RNNBase, suffix: str) -> None:
        """Copy the weights into one layer and direction of a torch module.

        Args:
            module: One that `make_torch` made of a core like this one.
            suffix: Which layer and direction, such as `_l0_reverse`.
        """
        for name, parameter in module.named_parameters():
            own, _, place = name.rpartition("_l")
            if f"_l{place}" == suffix:
                value = getattr(self, own)
                parameter.copy_(value).requires_grad_(value.requires_grad)

    def torch_places(self) -> dict[str, str]:
        """Take the weights of a one-layer torch module, too; see `TorchNamed`."""
        return {"_l0": ""}

    @classmethod
    def _options_of(cls, module: nn.RNNBase) -> dict[str, Any]:
        """Read constructor arguments beyond sizes and bias from a torch module."""
        return {}

    def torch_options(self) -> dict[str, Any]:
        """Return the arguments of the torch module beyond its sizes."""
        return {"bias": self.bias}

    def _ragged(self, x: Tensor, state: Any, lengths: list[int]) -> tuple[Tensor, State]:
        # The hidden state is the output: run on, then look up where each row ended.
        padding = ~steps_before(lengths, x.shape[1], x.device).unsqueeze(2)  # (B, T, 1)
        output, after = self._sequence(x.masked_fill(padding, 0.0), state)
        output, hidden = finish(output, padding, lengths, state[0])
        return output, type(after)(hidden)

    def _kernel(self, kernel: Callable[..., Any], x: Tensor, hx: Any, weights: list[Tensor]) -> Any:
        """Call torch's kernel for one layer, batch first, keeping what a backward pass needs."""
        arguments = (x, hx, weights, self.bias, 1, 0.0, torch.is_grad_enabled(), False, True)
        kernel = uncompiled(kernel)
        if not x.is_cuda and self.output_size == self.hidden_size:
            return kernel(*arguments)
        # cuDNN gathers the weights at each call, which costs little; oneDNN takes no projection
        with warnings.catch_warnings():
            for message in ("RNN module weights are not part of", "LSTM with projections is not"):
                warnings.filterwarnings("ignore", message=message)
            return kernel(*arguments)

    def _weights(self) -> list[Tensor]:
        if self.bias_ih is None or self.bias_hh is None:
            return [self.weight_ih, self.weight_hh]
        return [self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh]


def refuse_module(name: str, wanted: str, module: Any) -> ValueError:
    """Say that something is not the torch module that is asked for.

    Args:
        name: Who was given it.
        wanted: What it takes.
        module: What it was given.
    """
    remedy = ""
    if isinstance(module, nn.RNNCellBase):
        remedy = ": a core of its sizes loads a cell's weights, core.load_state_dict(...)"
    elif isinstance(module, nn.RNNBase):
        remedy = f"; of a subclass of {type(module).__mro__[1].__name__} it can't know the forward"
        if type_before_parametrizations(module) in (nn.RNN, nn.LSTM, nn.GRU):
            remedy = f": {type(module).__name__}.from_torch does"
    return ValueError(f"{name} takes {wanted}, not {type(module).__name__}{remedy}")


def finish(
    output: Tensor, padding: Tensor, lengths: list[int], before: Tensor
) -> tuple[Tensor, Tensor]:
    """Zero padded steps of an output and take it at each row's last step.

    Args:
        output: (B, T, H).
        padding: Bool (B, T, 1), True past a row's length.
        lengths: Steps of each row, 0 to T.
        before: The hidden state before the first step (B, H), which rows of length 0 keep.

    Returns:
        Output (B, T, H) and the hidden state at the lengths (B, H), in the dtype of `before`.
    """
    length = torch.tensor(lengths).to(output.device, non_blocking=True)
    output = output.masked_fill(padding, 0.0)
    rows = torch.arange(len(lengths), device=output.device)
    hidden = output[rows, (length - 1).clamp(min=0)].to(before.dtype)  # (B, H)
    if 0 in lengths:
        hidden = torch.where((length == 0).unsqueeze(1), before, hidden)
    return output, hidden
