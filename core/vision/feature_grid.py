"""A classifier of torchvision, cut where it has a feature grid.

Shapes: N images, C channels of the grid, h and w its height and width.
"""

from __future__ import annotations

import difflib
import pickle
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn


def near(name: str, known: Sequence[str]) -> str:
    """A hint at the name that was meant, or nothing.

    Args:
        name: What was given.
        known: What there is.
    """
    found = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean '{found[0]}'?" if found else ""


def cut_at_grid(name: str, model: nn.Module, node: str | None) -> tuple[fx.Graph, int]:
    """Cut a classifier at a grid.

    Args:
        name: What to call the model in an error message.
        model: The classifier, in evaluation mode.
        node: A module's or an operation's path; None: the last grid.

    Returns:
        The graph up to the grid, for `fx.GraphModule(model, graph)`, and C.

    Raises:
        ValueError: There is no such node, no grid there, or none at all.
    """
    from torchvision.models.feature_extraction import NodePathTracer

    tracer = NodePathTracer()
    graph: fx.Graph = tracer.trace(model)
    shapes = _shapes(name, model, graph)
    paths = {
        part: path for part, path in tracer.node_to_qualname.items() if part.op != "placeholder"
    }
    grids = {
        part: path
        for part, path in paths.items()
        if _is_grid(shapes.get(part)) and not _is_pool(model, part)
    }
    if node is None:
        body = [
            part
            for part, path in grids.items()
            if not path.startswith(("classifier", "head", "fc"))
        ]
        last = body[-1] if body else None
        order = list(paths)
        after = order[order.index(last) :] if last else []
        # Tokens after the last grid: it was but the cutting into patches.
        if last is None or any(
            len(shapes.get(part) or ()) == 3 and shapes[part][1] > 1 for part in after
        ):
            raise ValueError(
                f"TorchvisionBackbone: '{name}' ends in a sequence and has no feature grid; take a convolutional model "
                "(resnet50, convnext_tiny, efficientnet_b0, ...) or swin_t"
            )
    else:
        inside = [
            part for part, path in paths.items() if path == node or path.startswith(f"{node}.")
        ]
        last = inside[-1] if inside else None
        if last not in grids:
            ends = {shapes[part]: path for part, path in grids.items()}  # the last of each shape
            listed = ", ".join(
                f"{path} {channels}x{h}x{w}"
                for (_, channels, h, w), path in list(ends.items())[-6:]
            )
            what = "there is no node" if last is None else "there is no feature grid at"
            raise ValueError(
                f"TorchvisionBackbone: {what} '{node}' in '{name}'; grids are, among others: {listed}"
            )
    assert last is not None
    for part in reversed(graph.nodes):
        if part.op == "output":
            graph.erase_node(part)
    with graph.inserting_after(next(reversed(graph.nodes))):
        graph.output(last)
    graph.eliminate_dead_code()
    return graph, shapes[last][1]


def _shapes(name: str, model: nn.Module, graph: fx.Graph) -> dict[fx.Node, tuple[int, ...]]:
    """The shape of every tensor of a graph for one image: not square, so that a grid is known by its sides."""
    for size in ((224, 256), (224, 224)):  # some models take squares only
        shapes = _Shapes(fx.GraphModule(model, graph))
        try:
            with torch.no_grad():
                shapes.run(torch.zeros(1, 3, *size))
        except (RuntimeError, AssertionError):
            continue
        return shapes.found
    raise ValueError(f"TorchvisionBackbone: '{name}' does not take images of 224 x 224 pixels")


class _Shapes(fx.Interpreter):
    """Runs a graph and notes the shapes of its tensors."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.found: dict[fx.Node, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            self.found[n] = tuple(result.shape)
        return result


def _is_grid(shape: tuple[int, ...] | None) -> bool:
    # A grid of channels last would have sides of quite another ratio.
    return shape is not None and len(shape) == 4 and 1 < shape[2] <= shape[3] < 1.4 * shape[2]


def _is_pool(model: nn.Module, part: fx.Node) -> bool:
    return part.op == "call_module" and isinstance(
        model.get_submodule(str(part.target)), nn.AdaptiveAvgPool2d
    )


def fetch_weights(name: str, weights: str, preset: Any) -> Any:
    """Read weights from a file, as data, or download torchvision's and check their hash.

    Args:
        name: The model's name.
        weights: `default` or a file.
        preset: torchvision's weights of the model, None where it has none.

    Raises:
        ValueError: They can't be had.
    """
    try:
        if weights != "default":
            return torch.load(weights, map_location="cpu", weights_only=True)
        if preset is not None:
            return preset.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except FileNotFoundError as error:
        raise ValueError(
            f"TorchvisionBackbone: no file '{weights}' with weights; or say default, none"
        ) from error
    except OSError as error:
        if weights != "default":
            raise ValueError(
                f"TorchvisionBackbone: the weights of {name} can't be read: '{weights}': {error.strerror or error}"
            ) from error
        raise ValueError(  # no network, or a download that went wrong
            f"TorchvisionBackbone: the weights of {name} could not be downloaded ({error}); give a file in place of "
            "default, or none for random ones"
        ) from error
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"TorchvisionBackbone: the weights of {name} can't be read: {str(error)[:150]}"
        ) from error
    raise ValueError(
        f"TorchvisionBackbone: torchvision has no weights for '{name}'; take weights none, or a file"
    )


def load_weights(network: nn.Module, state: Any, source: str, whole: set[str]) -> None:
    """Load a state dict into a part of a model; what only the rest of the model has is left out.

    Args:
        network: The part.
        state: The state dict, also within a checkpoint's `state_dict` or with the prefix of a
            `DataParallel`.
        source: What to call it in an error message.
        whole: Names in the state dict of the whole model.

    Raises:
        ValueError: It is no state dict, or names or shapes differ; the first are listed.
    """
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(
        isinstance(value, Tensor) for value in state.values()
    ):
        raise ValueError(f"TorchvisionBackbone: {source} holds no state dict")
    state = {name.removeprefix("module."): value for name, value in state.items()}
    own = network.state_dict()
    wrong = [
        f"{name} is missing"
        for name in own
        if name not in state and not name.endswith("num_batches_tracked")
    ]
    wrong += [f"{name} is unknown" for name in state if name not in own and name not in whole]
    wrong += [
        f"{name} is {tuple(state[name].shape)} and not {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ValueError(
            f"TorchvisionBackbone: the weights don't fit ({source}): {'; '.join(wrong[:3])}{more}"
        )
    network.load_state_dict({name: state.get(name, value) for name, value in own.items()})
