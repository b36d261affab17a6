"""The encoders of images and frames: a backbone, and what makes vectors of its grid.

Shapes: N images, H and W their height and width in pixels, C channels of the backbone's grid, h and
w its height and width, P = h w its places, M memory features, D features of a frame.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ..checks import describe
from ..dropout import LockedDropout
from ..empty import attach
from ..seq2seq.encoder import Memory
from .backbones import BackboneFactory, check_images, freeze_batch_norm


class _MemoryEncoder(nn.Module):
    """What makes a memory of features: a projection, a norm, dropout."""

    __call__: Callable[..., Memory]

    def _begin(self, size: int, output_size: int | None, norm: bool, dropout: float) -> None:
        """Make the layers, after those of a subclass: checkpoints number them in their order."""
        self.project = nn.Identity() if output_size is None else nn.Linear(size, output_size)
        self.output_size = size if output_size is None else output_size
        self.norm = nn.LayerNorm(self.output_size) if norm else nn.Identity()
        self.dropout = LockedDropout(dropout)

    def _memory(self, features: Tensor, lengths: Tensor | None = None) -> Memory:
        first = next(self.parameters(), None)
        seen = features.float() if first is None else features.to(first.dtype)
        return Memory(self.dropout(self.norm(self.project(seen))), lengths)  # (N, P, M)


class RegionEncoder(_MemoryEncoder):
    """Features of images in, a memory out: for those that another program made.

    A vector for every region that a detector found (bottom-up attention, Anderson et al. 2018,
    https://arxiv.org/abs/1707.07998), or for every place of a network's grid.

    Args:
        input_size: D, the features of a region.
        output_size: M, the memory's features: D are projected to as many; None: D.
        norm: Bring every vector of the memory to mean 0 and deviation 1; see `ImageEncoder`.
        dropout: Probability of dropping a feature of the memory, in all regions of an image.

    Raises:
        ValueError: There are no features.

    Example:
        >>> import torch
        >>> encoder = RegionEncoder(2048, output_size=12)
        >>> memory = encoder(torch.zeros(2, 36, 2048), torch.tensor([36, 20]))
        >>> memory.output.shape, memory.valid().sum(1)
        (torch.Size([2, 36, 12]), tensor([36, 20]))
    """

    def __init__(
        self,
        input_size: int,
        *,
        output_size: int | None = None,
        norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if input_size < 1:
            raise ValueError(f"RegionEncoder: input_size is {input_size}; it must be at least 1")
        self.input_size = input_size
        self._begin(input_size, output_size, norm, dropout)

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Memory:
        """Read features.

        Args:
            features: (N, P, D) of any float type; what is past a row's length does not count.
            lengths: Regions of each image (N,) int64, on the CPU; None: all of P.

        Returns:
            The memory, (N, P, M).
        """
        if (
            features.dim() != 3
            or not features.is_floating_point()
            or features.shape[2] != self.input_size
        ):
            raise ValueError(
                f"RegionEncoder: features is {describe(features)}; it must be float "
                f"(N, P, {self.input_size}), features.unsqueeze(0) for one image"
            )
        return self._memory(features, lengths)


class ImageEncoder(_MemoryEncoder):
    """Images in, a memory out: a vector for every place of the grid.

    Args:
        backbone: Makes the backbone.
        output_size: M, the memory's features: the backbone's are projected to as many; None: its
            own.
        norm: Bring every vector of the memory to mean 0 and deviation 1, and learn a scale (Ba et
            al. 2016, https://arxiv.org/abs/1607.06450). Features of one backbone are ten times as
            large as another's; a decoder that hardly hears them learns to speak without looking.
        dropout: Probability of dropping a feature of the memory, at all places of an image.

    Example:
        >>> import torch
        >>> from unrolled.core import SmallCNN
        >>> encoder = ImageEncoder(lambda: SmallCNN([8, 16]), output_size=12)
        >>> encoder(torch.zeros(2, 3, 32, 64, dtype=torch.uint8)).output.shape
        torch.Size([2, 128, 12])
    """

    def __init__(
        self,
        backbone: BackboneFactory,
        *,
        output_size: int | None = None,
        norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.backbone = backbone()
        self._begin(self.backbone.output_size, output_size, norm, dropout)

    def features(self, images: Tensor) -> Tensor:
        """Return what the backbone sees; `forward` takes it in the images' place.

        Args:
            images: (N, 3, H, W) uint8.

        Returns:
            (N, P, C), the grid row by row.
        """
        grid: Tensor = self.backbone(images)  # (N, C, h, w)
        return grid.flatten(2).transpose(1, 2)  # (N, P, C)

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
                f"ImageEncoder: images is {describe(images)}; it must be uint8 (N, 3, H, W), "
                "images.unsqueeze(0) for one image, or float features "
                f"(N, P, {self.backbone.output_size})"
            )
        return self._memory(features)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the grid (h, w) that images of a size are given.

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

    Example:
        >>> import torch
        >>> from unrolled.core import SmallCNN
        >>> encoder = FrameEncoder(lambda: SmallCNN([8, 16]), places=2)
        >>> encoder(torch.zeros(5, 3, 32, 64, dtype=torch.uint8)).shape
        torch.Size([5, 64])
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
        freeze_batch_norm(self.backbone)
        return self

    @property
    def pooled_size(self) -> int:
        """Features of a frame before they are projected."""
        return int(self.backbone.output_size) * self.places**2

    def features(self, frames: Tensor) -> Tensor:
        """Return what the backbone sees; `forward` takes it in the frames' place.

        Args:
            frames: (N, 3, H, W) uint8, N at least 1.

        Returns:
            (N, C places^2).
        """
        return torch.cat([self._pool(part) for part in frames.split(self.chunk)])

    def forward(self, frames: Tensor) -> Tensor:
        """Look at frames; a frame's vector does not depend on the others.

        Args:
            frames: (N, 3, H, W) uint8, or their features (N, C places^2) of any float type; N may
                be 0.

        Returns:
            (N, D).
        """
        if frames.dim() == 2 and frames.is_floating_point() and len(frames):
            if frames.shape[1] != self.pooled_size:
                raise ValueError(
                    f"FrameEncoder: features are {describe(frames)}; there must be "
                    f"{self.pooled_size} of each frame"
                )
            known: Tensor = self.project(frames.to(next(self.parameters()).dtype))
            return known
        if frames.dim() == 2 and frames.is_floating_point():  # of no frame at all
            frames = frames.new_zeros(0, 3, 1, 1, dtype=torch.uint8)
        if frames.shape[0] == 0:  # len would be a constant of an exported graph
            check_images(type(self).__name__, frames)
            nothing = next(self.parameters()).new_zeros(0, self.output_size)
            return attach(nothing, self.parameters())
        recompute = self.recompute and torch.is_grad_enabled() and not self.backbone.frozen
        pooled = [
            checkpoint(self._pool, part, use_reentrant=False) if recompute else self._pool(part)
            for part in frames.split(self.chunk)
        ]
        output: Tensor = self.project(torch.cat(pooled))  # (N, C places^2) -> (N, D)
        return output

    def _pool(self, frames: Tensor) -> Tensor:
        grid = self.backbone(frames)  # (chunk, C, h, w)
        return functional.adaptive_avg_pool2d(grid, self.places).flatten(1)  # (chunk, C places^2)
