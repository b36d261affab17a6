"""Images and frames to vectors: convolutional networks, and the encoders around them.

Images are uint8 everywhere outside; a backbone scales and normalises them itself.
Shapes: N images, H and W their height and width in pixels, C channels of a feature grid, h and w
its height and width, P = h w its places, D features.
"""

from __future__ import annotations

import contextlib
import contextvars
import hashlib
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from ..checks import describe
from ..empty import attach
from ..seq2seq.encoder import Memory
from .feature_grid import cut_at_grid, fetch_weights, load_weights, near

_FETCH = contextvars.ContextVar("fetch", default=True)


@contextlib.contextmanager
def weights_follow() -> Iterator[None]:
    """Within it, backbones fetch no weights of their own: a state dict that is loaded afterwards has them.

    So a checkpoint can be used where its backbone's weights can't be downloaded.
    """
    token = _FETCH.set(False)
    try:
        yield
    finally:
        _FETCH.reset(token)


class Backbone(nn.Module, ABC):
    """Turns images into a grid of features.

    Args:
        output_size: C.

    Attributes:
        frozen: Whether it stays as it is: no gradients, evaluation mode also after `train()`.
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
        """Tell backbones apart: a hash of the network, its preprocessing and every weight."""
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
    """A small network to be trained from scratch: 3 x 3 convolutions with group normalisation, which has no memory.

    Each stage halves height and width; residual convolutions may follow. In the last stage two
    channels say where it looks (CoordConv, Liu et al. 2018, https://arxiv.org/abs/1807.03247); "to
    the left of" is hard to learn otherwise.

    Args:
        channels: Channels of each stage; C is the last.
        blocks: Residual convolutions of each stage, the more expensive the earlier; None: one each.
        coordinates: Add the two channels.

    Raises:
        ValueError: There is no stage, or one without channels.
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
                f"SmallCNN: channels is {channels}; give at least one stage, each of at least 1 channel"
            )
        if len(blocks) != len(channels) or min(blocks) < 0:
            raise ValueError(
                f"SmallCNN: blocks is {blocks}; give a number for each of the {len(channels)} stages"
            )
        super().__init__(channels[-1])
        self.coordinates = coordinates
        sizes = [3, *channels]
        stages = []
        for number, (before, after) in enumerate(itertools.pairwise(sizes), 1):
            place = 2 if coordinates and number == len(channels) else 0
            residual = (_Residual(after) for _ in range(blocks[number - 1]))
            stages.append(nn.Sequential(_Convolution(before + place, after, stride=2), *residual))
        self.stages = nn.ModuleList(stages)

    def forward(self, images: Tensor) -> Tensor:
        """Look at images; see `Backbone.forward`."""
        _check_images(type(self).__name__, images)
        x = images.to(next(self.parameters()).dtype) / 127.5 - 1
        for stage in self.stages[:-1]:
            x = stage(x)
        if self.coordinates:
            rows, columns = (
                torch.linspace(-1, 1, size, dtype=x.dtype, device=x.device) for size in x.shape[2:]
            )
            place = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
            x = torch.cat((x, place.expand(len(x), -1, -1, -1)), 1)
        grid: Tensor = self.stages[-1](x)
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


class TorchvisionBackbone(Backbone):
    """The part of a torchvision classifier that makes a feature grid: ResNet, ConvNeXt, EfficientNet, Swin and others.

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

    Raises:
        ValueError: There is no such model or node, the model has no grid (vision transformers), or
            its weights can't be had or don't fit.
    """

    def __init__(
        self,
        name: str,
        *,
        weights: str = "none",
        node: str | None = None,
        frozen: bool = True,
        freeze_norm: bool | None = None,
    ) -> None:
        import torchvision.models as zoo

        if name not in (known := zoo.list_models(module=zoo)):
            raise ValueError(
                f"TorchvisionBackbone: there is no model '{name}' in torchvision.{near(name, known)}"
            )
        # These two change the normalisation themselves where their own weights are used.
        extra: dict[str, Any] = {}
        if name in ("googlenet", "inception_v3"):
            extra = {"transform_input": weights != "none", "init_weights": weights == "none"}
        model = zoo.get_model(name, weights=None, **extra).eval()
        graph, size = cut_at_grid(name, model, node)
        super().__init__(size)
        self.name = name
        self.frozen = frozen
        self.freeze_norm = (frozen or weights != "none") if freeze_norm is None else freeze_norm
        self.network = fx.GraphModule(model, graph, type(model).__name__)
        preset = zoo.get_model_weights(name).DEFAULT
        given = preset.transforms() if preset is not None else None
        for key, value in (("mean", [0.485, 0.456, 0.406]), ("std", [0.229, 0.224, 0.225])):
            statistics = torch.tensor(getattr(given, key, value)).view(3, 1, 1)
            self.register_buffer(key, statistics * 255, persistent=False)
        if weights != "none" and _FETCH.get():
            state = fetch_weights(name, weights, preset)
            load_weights(self.network, state, f"{name}, {weights}", set(model.state_dict()))
        self.requires_grad_(not frozen)
        self.train()

    mean: Tensor
    std: Tensor

    def train(self, mode: bool = True) -> TorchvisionBackbone:
        """Take training or evaluation mode, save for what is frozen.

        Args:
            mode: Whether to train.
        """
        super().train(mode and not self.frozen)
        if self.freeze_norm:
            _freeze_norm(self)
        return self

    def unfreeze(self) -> None:
        """Learn from now on; batch normalisation stays frozen where `freeze_norm` says so."""
        self.frozen = False
        self.requires_grad_(True)

    def forward(self, images: Tensor) -> Tensor:
        """Look at images; see `Backbone.forward`."""
        _check_images(type(self).__name__, images)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            grid: Tensor = self.network((images.to(self.mean.dtype) - self.mean) / self.std)
            return grid

    def extra_repr(self) -> str:
        """Show the model's name, where it is cut, and its preprocessing."""
        node = next(reversed(self.network.graph.nodes)).args[0]
        return f"{self.name}, node={node}, mean={self.mean.flatten().tolist()}, std={self.std.flatten().tolist()}"


class ImageEncoder(nn.Module):
    """Images in, a memory out: a vector for every place of the grid.

    Args:
        backbone: Makes the backbone.
        output_size: M, the memory's features: the backbone's are projected to as many; None: its
            own.
    """

    __call__: Callable[..., Memory]

    def __init__(self, backbone: BackboneFactory, *, output_size: int | None = None) -> None:
        super().__init__()
        self.backbone = backbone()
        size = self.backbone.output_size
        self.project = nn.Identity() if output_size is None else nn.Linear(size, output_size)
        self.output_size = size if output_size is None else output_size

    def features(self, images: Tensor) -> Tensor:
        """What the backbone sees; `forward` takes it in the images' place.

        Args:
            images: (N, 3, H, W) uint8.

        Returns:
            (N, P, C), the grid row by row.
        """
        return self.backbone(images).flatten(2).transpose(1, 2)

    def forward(self, images: Tensor) -> Memory:
        """Look at images.

        Args:
            images: (N, 3, H, W) uint8, or their features (N, P, C) of any float type.

        Returns:
            The memory, (N, P, M).
        """
        if (
            images.dim() == 3
            and images.is_floating_point()
            and images.shape[2] == self.backbone.output_size
        ):
            features = images
        elif images.dim() == 4:
            features = self.features(images)
        else:
            raise ValueError(
                f"ImageEncoder: images is {describe(images)}; it must be uint8 (N, 3, H, W), images.unsqueeze(0) for "
                f"one image, or float features (N, P, {self.backbone.output_size})"
            )
        return Memory(self.project(features.to(_dtype(self))))

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the grid (h, w) that images of a size are given.

        Args:
            height: H.
            width: W.
        """
        device = next(self.parameters()).device
        with torch.no_grad():
            shape = self.backbone(
                torch.zeros(1, 3, height, width, dtype=torch.uint8, device=device)
            ).shape
        return shape[2], shape[3]


class FrameEncoder(nn.Module):
    """Frames in, a vector for each out: the mean over the grid, or over each of its parts.

    Batch normalisation stays frozen, whatever learns: its statistics would run over the frames of
    one video, and over those to come, so that a model trained in pieces would see what it must not.

    Args:
        backbone: Makes the backbone.
        output_size: D, the vectors' features: what is pooled is projected to as many; None: all of
            it.
        places: Cut the grid into places x places parts and take the mean over each, one after the
            other: more than 1 where it counts where something is. 1: the mean over all of the grid.
        chunk: Frames that go through the backbone at a time: bounds the memory without gradients.
        recompute: Bound it with gradients too: forget a chunk's activations, and compute them again
            for its gradient.

    Raises:
        ValueError: A chunk of no frames, or a grid of no parts.
    """

    __call__: Callable[..., Tensor]

    def __init__(
        self,
        backbone: BackboneFactory,
        *,
        output_size: int | None = None,
        places: int = 1,
        chunk: int = 64,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        for name, value in (("places", places), ("chunk", chunk)):
            if value < 1:
                raise ValueError(f"FrameEncoder: {name} is {value}; it must be at least 1")
        self.backbone = backbone()
        self.places = places
        size = self.backbone.output_size * places**2
        self.project = nn.Identity() if output_size is None else nn.Linear(size, output_size)
        self.output_size = size if output_size is None else output_size
        self.chunk = chunk
        self.recompute = recompute
        self.train()

    def train(self, mode: bool = True) -> FrameEncoder:
        """Take training or evaluation mode, save for what is frozen.

        Args:
            mode: Whether to train.
        """
        super().train(mode)
        _freeze_norm(self.backbone)
        return self

    def forward(self, frames: Tensor) -> Tensor:
        """Look at frames; a frame's vector does not depend on the others.

        Args:
            frames: (N, 3, H, W) uint8; N may be 0.

        Returns:
            (N, D).
        """
        if not len(frames):
            _check_images(type(self).__name__, frames)
            nothing = next(self.parameters()).new_zeros(0, self.output_size)
            return attach(nothing, self.parameters())
        recompute = self.recompute and torch.is_grad_enabled() and not self.backbone.frozen
        pooled = [
            checkpoint(self._pool, part, use_reentrant=False) if recompute else self._pool(part)
            for part in frames.split(self.chunk)
        ]
        output: Tensor = self.project(torch.cat(pooled))
        return output

    def _pool(self, frames: Tensor) -> Tensor:
        return functional.adaptive_avg_pool2d(self.backbone(frames), self.places).flatten(1)


def _dtype(module: nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype


def _freeze_norm(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, _BatchNorm):
            part.eval()


def _check_images(name: str, images: Tensor) -> None:
    if images.dim() != 4 or images.shape[1] != 3 or images.dtype != torch.uint8:
        raise ValueError(
            f"{name}: images is {str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}; it must be uint8 "
            "(N, 3, H, W) as decoded, 0 to 255: it is normalised here"
        )
