"""A classifier of torchvision, cut where it has a feature grid.

Shapes: N images, C channels of the grid, h and w its height and width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn


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
    # What is a grid: its shape says so, and nothing has been pooled yet.
    shapes = _trace_shapes(name, model, graph)
    paths = {
        part: path for part, path in tracer.node_to_qualname.items() if part.op != "placeholder"
    }
    grids = {
        part: path
        for part, path in paths.items()
        if _is_grid(shapes.get(part)) and not _is_pool(model, part)
    }
    # The node to cut at: the last grid of all, or the last below the one that was named.
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
                f"TorchvisionBackbone: '{name}' ends in a sequence and has no feature grid; take a "
                "convolutional model (resnet50, convnext_tiny, efficientnet_b0, ...) or swin_t"
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
                f"TorchvisionBackbone: {what} '{node}' in '{name}'; grids are, among others: "
                f"{listed}"
            )
    assert last is not None
    # The grid becomes the graph's output, and what came after it goes.
    for part in reversed(graph.nodes):
        if part.op == "output":
            graph.erase_node(part)
    with graph.inserting_after(next(iter(reversed(graph.nodes)))):
        graph.output(last)
    graph.eliminate_dead_code()
    return graph, shapes[last][1]


def _trace_shapes(name: str, model: nn.Module, graph: fx.Graph) -> dict[fx.Node, tuple[int, ...]]:
    """Return the shape of every tensor of a graph for one image."""
    # Not square, so that a grid is known by its sides; some models take squares only.
    for size in ((224, 256), (224, 224)):
        shapes = _ShapeRecorder(fx.GraphModule(model, graph))
        try:
            with torch.no_grad():
                shapes.run(torch.zeros(1, 3, *size))
        except (RuntimeError, AssertionError):
            continue
        return shapes.found
    raise ValueError(f"TorchvisionBackbone: '{name}' does not take images of 224 x 224 pixels")


class _ShapeRecorder(fx.Interpreter):
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
