"""Backbones of the `timm` library, which has a thousand networks more than torchvision.

Images are uint8 everywhere outside; a backbone scales and normalises them itself.
Shapes: N images, H and W their height and width in pixels, C channels of a feature grid, h and w
its height and width.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from .backbones import PretrainedBackbone


class TimmBackbone(PretrainedBackbone):
    """The part of a network of `timm` that makes a feature grid (`pip install timm`).

    Mean and deviation of the colours are those that the weights were trained with. Networks that
    take images of one size only (many vision transformers) say so.

    Args:
        name: The model, as `timm.list_models()` or `timm.list_pretrained()` says:
            `resnet50.a1_in1k`.
        weights: `none` for random ones, `default` for those of the name (downloaded), or a file
            with a state dict of the model.
        index: Which of the grids, from the last: -1, -2 (usually twice as fine), ...
        frozen: No gradients, and evaluation mode also after `train()`, until `unfreeze()`.
        freeze_norm: Keep batch normalisation as the weights have it also where the rest learns.
            None: yes, unless it learns from scratch.
        fetch: Get the weights now; False: a state dict that is loaded afterwards has them.

    Raises:
        ValueError: There is no such model or grid, or its weights can't be had or don't fit.
        ImportError: `timm` is not installed.

    Example:
        >>> backbone = TimmBackbone("test_resnet")
        >>> images = torch.zeros(1, 3, 160, 160, dtype=torch.uint8)
        >>> features = backbone(images)  # (1, channels, height, width)
    """

    def __init__(
        self,
        name: str,
        *,
        weights: str = "none",
        index: int = -1,
        frozen: bool = True,
        freeze_norm: bool | None = None,
        fetch: bool = True,
    ) -> None:
        try:
            timm: Any = import_module("timm")  # it may be lacking, and with it its types
        except ImportError as error:
            raise ImportError(
                "TimmBackbone needs timm, which is not installed. Try: pip install 'timm>=1.0.9'",
                name="timm",
            ) from error
        if not timm.is_model(name):
            near = difflib.get_close_matches(name.partition(".")[0], timm.list_models(), n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise ValueError(f"TimmBackbone: there is no model '{name}' in timm.{hint}")
        model = _made(name, weights if fetch else "none")
        if not hasattr(model, "forward_intermediates"):
            raise ValueError(f"TimmBackbone: '{name}' does not give its grids; take another model")
        settings = timm.data.resolve_model_data_config(model)
        height, width = settings["input_size"][1:]
        try:
            [index] = model.prune_intermediate_layers([index], prune_head=True)
            with torch.no_grad():
                grid = _grid(model.eval(), index, torch.zeros(1, 3, height, width))
        except (AssertionError, IndexError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"TimmBackbone: '{name}' has no grid at index {index}: {str(error)[:150]}"
            ) from error
        if grid.dim() != 4:
            raise ValueError(f"TimmBackbone: '{name}' gives {tuple(grid.shape)}, which is no grid")
        super().__init__(
            grid.shape[1],
            mean=[255 * value for value in settings["mean"]],
            std=[255 * value for value in settings["std"]],
            frozen=frozen,
            freeze_norm=(frozen or weights != "none") if freeze_norm is None else freeze_norm,
        )
        self.name = name
        self.index = index
        self.only_size = (height, width) if _takes_one_size(model, index, height, width) else None
        self.network = model
        self.settle()

    def grid(self, pixels: Tensor) -> Tensor:
        """Look at normalised images; see `PretrainedBackbone.grid`.

        Raises:
            ValueError: The network takes images of another size only.
        """
        if self.only_size is not None and tuple(pixels.shape[2:]) != self.only_size:
            height, width = self.only_size
            raise ValueError(
                f"TimmBackbone: '{self.name}' takes images of {height} x {width} pixels only, "
                f"these have {pixels.shape[2]} x {pixels.shape[3]}: set image_size to {height}"
            )
        return _grid(self.network, self.index, pixels)  # (N, C, h, w)

    def extra_repr(self) -> str:
        """Show the model's name, its grid, and its preprocessing."""
        mean, std = self.mean.flatten().tolist(), self.std.flatten().tolist()
        return f"{self.name}, index={self.index}, mean={mean}, std={std}"


def _grid(model: Any, index: int, images: Tensor) -> Tensor:
    grids: list[Tensor] = model.forward_intermediates(
        images, indices=[index], output_fmt="NCHW", intermediates_only=True
    )
    return grids[0]


def _takes_one_size(model: Any, index: int, height: int, width: int) -> bool:
    try:
        with torch.no_grad():
            _grid(model, index, torch.zeros(1, 3, height + 32, width + 32))
    except (AssertionError, RuntimeError):
        return True
    return False


def _made(name: str, weights: str) -> Any:
    """Make a model with its weights, which are read as data."""
    timm: Any = import_module("timm")
    if weights in ("none", "default"):
        try:
            return timm.create_model(name, pretrained=weights == "default")
        except Exception as error:  # a download goes wrong in many ways
            if weights == "none":
                raise
            reason = str(error).strip().partition("\n")[0][:150]
            raise ValueError(
                f"TimmBackbone: the weights of {name} could not be downloaded ({reason}); give a "
                "file in place of default, or none for random ones"
            ) from error
    model = timm.create_model(name)
    try:
        if weights.endswith(".safetensors"):
            state = import_module("safetensors.torch").load_file(weights)
        else:
            state = torch.load(weights, map_location="cpu", weights_only=True)
        state = state.get("state_dict", state)
        own = model.state_dict()
        # a classifier of other classes is not needed
        odd = [key for key in state if key in own and state[key].shape != own[key].shape]
        kept = {key: value for key, value in state.items() if key not in odd}
        lacking, unknown = model.load_state_dict(kept, strict=False)
    except FileNotFoundError as error:
        raise ValueError(
            f"TimmBackbone: no file '{weights}' with weights; or say default, none"
        ) from error
    except Exception as error:  # whatever a damaged file makes its reader raise
        raise ValueError(
            f"TimmBackbone: the weights of {name} can't be read: {str(error)[:150]}"
        ) from error
    head = ("head.", "head_dist.", "fc.", "classifier.")
    wrong = [key for key in (*lacking, *odd) if not key.startswith(head)]
    wrong += [key for key in unknown if not key.startswith(head)]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ValueError(
            f"TimmBackbone: the weights don't fit {name} ({weights}): {', '.join(wrong[:3])}{more}"
        )
    return model
