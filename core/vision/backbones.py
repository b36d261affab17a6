"""Backbones: convolutional networks from images to grids of features.

Images are uint8 everywhere outside; a backbone scales and normalises them itself.
Shapes: N images, H and W their height and width in pixels, C channels of a feature grid, h and w
its height and width.
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeAlias

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .feature_grid import cut_at_grid
from .torchvision_weights import fetch_weights, load_weights

_MOST_CONVOLUTIONS = 1000  # of a SmallCNN


class Backbone(nn.Module, ABC):
    """A network from images to a grid of features.

    One that gets weights from elsewhere when it is made takes an argument `fetch`, True by default;
    a checkpoint, which brings all weights, is loaded with False.

    Args:
        output_size: C.

    Attributes:
        frozen: Whether it stays as it is: no gradients, evaluation mode also after `train()`.

    Example:
        >>> import torch
        >>> class Mosaic(Backbone):
        ...     def forward(self, images):
        ...         return torch.nn.functional.avg_pool2d(images.float(), 8)
        >>> Mosaic(3)(torch.zeros(2, 3, 32, 64, dtype=torch.uint8)).shape
        torch.Size([2, 3, 4, 8])
    """

    __call__: Callable[..., Tensor]

    def __init__(self, output_size: int) -> None:
        super().__init__()
        self.output_size = output_size
        self.frozen = False

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Look at images.

        Args:
            images: (N, 3, H, W) uint8.

        Returns:
            A grid (N, C, h, w).
        """

    def unfreeze(self) -> None:
        """Learn from now on."""

    def fingerprint(self) -> str:
        """Return what tells backbones apart: a hash of network, preprocessing and every weight."""
        digest = hashlib.sha256(f"{type(self).__name__}({self.extra_repr()})".encode())
        for name, value in sorted([*self.named_parameters(), *self.named_buffers()]):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(
                value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
            )
        return digest.hexdigest()


BackboneFactory: TypeAlias = Callable[[], Backbone]
"""Makes a backbone: how an encoder receives it."""


class SmallCNN(Backbone):
    """A small network to be trained from scratch: 3 x 3 convolutions.

    They have group normalisation, which has no memory. Each stage halves height and width; residual
    convolutions may follow. In the last stage two channels say where it looks (CoordConv, Liu et
    al. 2018, https://arxiv.org/abs/1807.03247); "to the left of" is hard to learn otherwise.

    Args:
        channels: Channels of each stage; C is the last.
        blocks: Residual convolutions of each stage, the more expensive the earlier; None: one each.
        coordinates: Add the two channels.

    Raises:
        ValueError: There is no stage, or one without channels.

    Example:
        >>> import torch
        >>> backbone = SmallCNN([8, 16])
        >>> backbone(torch.zeros(2, 3, 32, 64, dtype=torch.uint8)).shape
        torch.Size([2, 16, 8, 16])
    """

    def __init__(
        self,
        channels: list[int] | None = None,
        *,
        blocks: list[int] | None = None,
        coordinates: bool = True,
    ) -> None:
        channels = [32, 64, 128] if channels is None else list(channels)
        blocks = [1] * len(channels) if blocks is None else list(blocks)
        if not channels or min(channels) < 1:
            raise ValueError(
                f"SmallCNN: channels is {channels}; give at least one stage, each of at least 1 "
                "channel"
            )
        if len(blocks) != len(channels) or min(blocks) < 0:
            raise ValueError(
                f"SmallCNN: blocks is {blocks}; give a number for each of the {len(channels)} "
                "stages"
            )
        if len(blocks) + sum(blocks) > _MOST_CONVOLUTIONS:
            raise ValueError(
                f"SmallCNN: channels and blocks make {len(blocks) + sum(blocks):,} convolutions; "
                f"at most {_MOST_CONVOLUTIONS} are made"
            )
        super().__init__(channels[-1])
        self.coordinates = coordinates
        sizes = [3, *channels]
        stages = []
        for number, (before, after) in enumerate(itertools.pairwise(sizes), 1):
            where = 2 if coordinates and number == len(channels) else 0
            residual = (_Residual(after) for _ in range(blocks[number - 1]))
            stages.append(nn.Sequential(_Convolution(before + where, after, stride=2), *residual))
        self.stages = nn.ModuleList(stages)

    def forward(self, images: Tensor) -> Tensor:
        """Look at images; see `Backbone.forward`."""
        check_images(type(self).__name__, images)
        x = images.to(next(self.parameters()).dtype) / 127.5 - 1
        for stage in self.stages[:-1]:
            x = stage(x)  # (N, its channels, half the height, half the width)
        if self.coordinates:
            rows, columns = (
                torch.linspace(-1, 1, size, dtype=x.dtype, device=x.device) for size in x.shape[2:]
            )
            where = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))  # (2, 2 h, 2 w)
            x = torch.cat((x, where.expand(x.shape[0], -1, -1, -1)), 1)
        grid: Tensor = self.stages[-1](x)  # (N, C, h, w)
        return grid


class _Convolution(nn.Module):
    def __init__(self, before: int, after: int, *, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.norm = nn.GroupNorm(math.gcd(8, after), after)
        # Where there is nothing to see all is below zero. The mean over the grid would be nearly
        # the same for every image otherwise, and a decoder's first lesson would be not to look.
        nn.init.constant_(self.norm.bias, -0.5)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.norm(self.convolution(x)).relu()
        return output


class _Residual(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.inner = _Convolution(size, size)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = x + self.inner(x)
        return output


class PretrainedBackbone(Backbone):
    """A backbone whose weights come from elsewhere, and may stay as they are.

    A subclass makes its network, calls `settle`, and says in `grid` what the network sees.

    Args:
        output_size: C.
        mean: The colours' means that the weights were trained with, 0 to 255.
        std: Their standard deviations.
        frozen: No gradients, and evaluation mode also after `train()`, until `unfreeze()`.
        freeze_norm: Batch normalisation stays as the weights have it also where the rest learns.

    Example:
        >>> import torch
        >>> class Edges(PretrainedBackbone):
        ...     def __init__(self):
        ...         super().__init__(8, mean=[127.5] * 3, std=[127.5] * 3)
        ...         self.network = torch.nn.Conv2d(3, 8, 5, stride=4)  # and its weights
        ...         self.settle()
        ...
        ...     def grid(self, pixels):
        ...         return self.network(pixels)
        >>> Edges()(torch.zeros(2, 3, 33, 65, dtype=torch.uint8)).shape
        torch.Size([2, 8, 8, 16])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        output_size: int,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        frozen: bool = True,
        freeze_norm: bool = True,
    ) -> None:
        super().__init__(output_size)
        self.frozen = frozen
        self.freeze_norm = freeze_norm
        for name, values in (("mean", mean), ("std", std)):
            statistics = torch.tensor(values, dtype=torch.get_default_dtype()).view(3, 1, 1)
            self.register_buffer(name, statistics, persistent=False)

    @abstractmethod
    def grid(self, pixels: Tensor) -> Tensor:
        """Look at normalised images.

        Args:
            pixels: (N, 3, H, W), of mean 0 and deviation 1.

        Returns:
            A grid (N, C, h, w).
        """

    def settle(self) -> None:
        """Freeze what is frozen, once the network is there."""
        self.requires_grad_(not self.frozen)
        self.train()

    def forward(self, images: Tensor) -> Tensor:
        """Look at images; see `Backbone.forward`."""
        check_images(type(self).__name__, images)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return self.grid((images.to(self.mean.dtype) - self.mean) / self.std)

    def train(self, mode: bool = True) -> Self:
        """Take training or evaluation mode, save for what is frozen.

        Args:
            mode: Whether to train.
        """
        super().train(mode and not self.frozen)
        if self.freeze_norm:
            freeze_batch_norm(self)
        return self

    def unfreeze(self) -> None:
        """Learn from now on; batch normalisation stays frozen where `freeze_norm` says so."""
        self.frozen = False
        self.requires_grad_(True)


class TorchvisionBackbone(PretrainedBackbone):
    """The part of a torchvision classifier that makes a feature grid.

    ResNet, ConvNeXt, EfficientNet, Swin and others have one.

    Args:
        name: The model, as `torchvision.models.list_models` says.
        weights: `none` for random ones, `default` for torchvision's best (downloaded, its hash
            checked), or a file with a state dict of the model; its classifier may be missing or
            have other classes.
        node: Where to take the grid: a module's path (`layer3` of a ResNet: 14 x 14 of 224 pixels),
            or an operation's, as `torchvision.models.feature_extraction.get_graph_node_names` says;
            None: the last grid.
        frozen: No gradients, and evaluation mode also after `train()`, until `unfreeze()`.
        freeze_norm: Keep batch normalisation as the weights have it also where the rest learns: a
            batch of few images has no statistics worth having. None: yes, unless it learns from
            scratch.
        fetch: Get the weights now; False: a state dict that is loaded afterwards has them.

    Raises:
        ValueError: There is no such model or node, the model has no grid (vision transformers), or
            its weights can't be had or don't fit.

    Example:
        >>> import torch
        >>> backbone = TorchvisionBackbone("squeezenet1_1")
        >>> backbone(torch.zeros(2, 3, 64, 96, dtype=torch.uint8)).shape
        torch.Size([2, 512, 3, 5])
    """

    def __init__(
        self,
        name: str,
        *,
        weights: str = "none",
        node: str | None = None,
        frozen: bool = True,
        freeze_norm: bool | None = None,
        fetch: bool = True,
    ) -> None:
        import torchvision.models as zoo

        if name not in (known := zoo.list_models(module=zoo)):
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise ValueError(
                f"TorchvisionBackbone: there is no model '{name}' in torchvision.{hint}"
            )
        # These two change the normalisation themselves where their own weights are used.
        extra: dict[str, Any] = {}
        if name in ("googlenet", "inception_v3"):
            extra = {"transform_input": weights != "none", "init_weights": weights == "none"}
        model = zoo.get_model(name, weights=None, **extra).eval()
        graph, size = cut_at_grid(name, model, node)
        preset = zoo.get_model_weights(name).DEFAULT
        given = preset.transforms() if preset is not None else None
        super().__init__(
            size,
            mean=[255 * value for value in getattr(given, "mean", [0.485, 0.456, 0.406])],
            std=[255 * value for value in getattr(given, "std", [0.229, 0.224, 0.225])],
            frozen=frozen,
            freeze_norm=(frozen or weights != "none") if freeze_norm is None else freeze_norm,
        )
        self.name = name
        self.network = fx.GraphModule(model, graph, type(model).__name__)
        if weights != "none" and fetch:
            state = fetch_weights(name, weights, preset)
            load_weights(self.network, state, f"{name}, {weights}", set(model.state_dict()))
        self.settle()

    def grid(self, pixels: Tensor) -> Tensor:
        """Look at normalised images; see `PretrainedBackbone.grid`."""
        grid: Tensor = self.network(pixels)  # (N, C, h, w)
        return grid

    def extra_repr(self) -> str:
        """Show the model's name, where it is cut, and its preprocessing."""
        node = next(iter(reversed(self.network.graph.nodes))).args[0]
        mean, std = self.mean.flatten().tolist(), self.std.flatten().tolist()
        return f"{self.name}, node={node}, mean={mean}, std={std}"


def freeze_batch_norm(module: nn.Module) -> None:
    """Put every batch normalisation into evaluation mode.

    Args:
        module: Whose.
    """
    for part in module.modules():
        if isinstance(part, _BatchNorm):
            part.eval()


def check_images(name: str, images: Tensor) -> None:
    """Refuse what are no images.

    Args:
        name: Who asks.
        images: What must be (N, 3, H, W) uint8.

    Raises:
        ValueError: It is not.
    """
    if images.dim() != 4 or images.shape[1] != 3 or images.dtype != torch.uint8:
        raise ValueError(
            f"{name}: images is {str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}; "
            "it must be uint8 (N, 3, H, W) as decoded, 0 to 255: it is normalised here"
        )
