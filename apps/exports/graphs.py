"""ONNX graphs: torch's of one step, and around it the loop over time, an operator of ONNX.

torch's own export of a sequence knows no lengths; a step of every core it can export. ONNX's own
`Scan` (https://onnx.ai/onnx/operators/onnx__Scan.html) runs a step over a sequence, also backwards,
and a graph of a whole sequence is put together from such loops here.

Shapes: B rows, T steps, D input, H output.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...core.compose import Bidirectional, Stacked
from ...core.dropout import WeightDrop
from ...core.recurrent import RecurrentCore
from ...core.state import leaves
from ...errors import UsageError
from .modules import MaskedStep
from .needs import needed

_ROWS, _STEPS = 3, 5  # of an example: sizes that no part of a model is taken for
_LARGEST = 2_000_000_000  # bytes: protobuf's limit of one file


def graph_of(
    module: nn.Module,
    arguments: tuple[Any, ...],
    axes: tuple[Any, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> Any:
    """Return a module as an ONNX model.

    Args:
        module: Tensors and lists of tensors in and out.
        arguments: An example of what it is given; sizes that may change are at least 2.
        axes: For each tensor of them the names of the axes that may have any size, by number.
        inputs: Names of the inputs, one a tensor.
        outputs: Likewise of the outputs.

    Raises:
        SetupError: onnx or onnxscript is not installed.
        UsageError: torch can't turn the module into a graph, or the graph is too large.
    """
    for name in ("onnx", "onnxscript"):
        needed(name)
    found: dict[str, Any] = {}

    def dimension(name: str) -> Any:
        return found.setdefault(name, torch.export.Dim(name))

    shapes = _mapped(axes, dimension)
    said = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(said), torch.no_grad():
            warnings.simplefilter("ignore")  # of torch's own older parts
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)
            program = torch.onnx.export(
                module.eval(),
                arguments,
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=list(inputs),
                output_names=list(outputs),
                verbose=False,
            )
        assert program is not None
        proto = program.model_proto
    except Exception as error:  # a graph is made by some hundred passes, which raise anything
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise UsageError(
            f"torch {torch.__version__} can't make a graph of {type(module).__name__}: "
            f"{lines[0][:200] if lines else type(error).__name__}"
        ) from error
    wanted = [sorted(one) for one in _dicts(axes)]
    for value, changing in zip(proto.graph.input, wanted, strict=True):
        shape = value.type.tensor_type.shape.dim
        if frozen := [axis for axis in changing if not shape[axis].dim_param]:
            raise UsageError(
                f"torch {torch.__version__} can't make a graph of {type(module).__name__}: axis "
                f"{frozen[0]} of its {value.name} got the size of the example."
            )
    if proto.ByteSize() > _LARGEST:
        raise UsageError("The graph has more than 2 GB, which a file of ONNX can't have.")
    for node in [*proto.graph.node]:  # where in the source each came from, paths included
        del node.metadata_props[:]
        node.doc_string = ""
    for value in [*proto.graph.input, *proto.graph.output, *proto.graph.value_info]:
        del value.metadata_props[:]
    del proto.graph.metadata_props[:], proto.metadata_props[:]
    return proto


def _dicts(axes: Any) -> list[dict[int, str]]:
    return [axes] if isinstance(axes, dict) else [one for part in axes for one in _dicts(part)]


def _mapped(axes: Any, dimension: Any) -> Any:
    if isinstance(axes, dict):
        return {axis: dimension(name) for axis, name in axes.items()}
    return type(axes)(_mapped(part, dimension) for part in axes)


class Assembly:
    """A graph that is put together from the graphs of modules and loops over them.

    Args:
        inputs: Name, example and changing axes of each input.
    """

    def __init__(self, inputs: dict[str, tuple[Tensor, dict[int, str]]]) -> None:
        self.onnx = needed("onnx")
        self._inputs = inputs
        self._values = dict(inputs)
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._opsets: dict[str, int] = {}
        self._parts = 0

    def add(self, module: nn.Module, *given: str) -> list[str]:
        """Let values go through a module; return what comes out.

        Args:
            module: Tensors in; tensors out, in lists of lists or not.
            given: Names of the values.
        """
        values = [self._values[name] for name in given]
        inputs, outputs, graph, examples = self._graph(
            module, tuple(value for value, _ in values), tuple(axes for _, axes in values)
        )
        self._nodes += [
            self.onnx.helper.make_node("Identity", [outer], [inner])
            for outer, inner in zip(given, inputs, strict=True)
        ]
        self._nodes += graph.node
        self._weights += graph.initializer
        axes = values[0][1]
        for name, example in zip(outputs, examples, strict=True):
            known = {axis: axes[axis] for axis in axes if axis < example.dim()}
            self._values[name] = example, known
        return outputs

    def scan(
        self,
        module: nn.Module,
        state: Sequence[str],
        given: Sequence[str],
        *,
        backwards: bool = False,
        graph: Any = None,
    ) -> tuple[list[str], str]:
        """Run a step over a sequence.

        Args:
            module: Takes the tensors of a state as a list, and one step of each of `given`; returns
                the state after it and an output.
            state: Names of the state before, tensors (B, ...).
            given: Names of sequences (B, T, ...).
            backwards: Whether to begin with the last step.
            graph: The step's, where it has been made.

        Returns:
            The names of the state after all steps, and of the outputs (B, T, ...).
        """
        before = [self._values[name][0] for name in state]
        steps = [self._values[name][0][:, 0] for name in given]
        rows = {0: "batch"}
        arguments = (before, *steps)
        axes = ([rows] * len(before), *[rows] * len(steps))
        _, outputs, body, examples = self._graph(module, arguments, axes, graph)
        count, part = len(given), self._part()
        after = [f"{part}_{name}" for name in outputs[: len(state)]]
        output = f"{part}_output"
        way = int(backwards)
        self._nodes.append(
            self.onnx.helper.make_node(
                "Scan",
                [*state, *given],
                [*after, output],
                body=body,
                num_scan_inputs=count,
                scan_input_axes=[1] * count,
                scan_output_axes=[1],
                scan_input_directions=[way] * count,
                scan_output_directions=[way],
            )
        )
        for name, example in zip(after, examples, strict=False):
            self._values[name] = example, rows
        last = examples[-1]
        whole = last.unsqueeze(1).expand(-1, _STEPS, *last.shape[1:])
        self._values[output] = whole, {0: "batch", 1: "time"}
        return after, output

    def run(self, core: RecurrentCore, x: str, valid: str, *, backwards: bool = False) -> str:
        """Run a core over rows of some lengths; return the name of its output (B, T, H).

        Args:
            core: Any core of the package, or a causal one of one's own.
            x: Name of the input (B, T, D).
            valid: Name of what says which steps are real (B, T).
            backwards: Whether to read each row from its end.

        Raises:
            UsageError: There is no way to run such a core step by step.
        """
        if core.causal:
            state = self.starts(core, x)
            return self.scan(MaskedStep(core), state, [x, valid], backwards=backwards)[1]
        if isinstance(core, WeightDrop):
            return self.run(core.core, x, valid, backwards=backwards)
        if isinstance(core, Bidirectional):
            ahead = self.run(core.ahead, x, valid, backwards=backwards)
            back = self.run(core.back, x, valid, backwards=not backwards)
            return self._joined("Concat", ahead, back, axis=2)
        if isinstance(core, Stacked):
            x = self._masked(x, valid) if core.residual else x  # past a row's end all layers are 0
            for i, layer in enumerate(core.layers):
                assert isinstance(layer, RecurrentCore)
                normed = x if core.norms is None else self.add(core.norms[i], x)[0]
                output = self.run(layer, normed, valid, backwards=backwards)
                same = layer.input_size == layer.output_size
                x = self._joined("Add", x, output) if core.residual and same else output
            return x
        raise UsageError(
            f"{type(core).__name__} is not causal, and not made of Bidirectional and Stacked: "
            "there is no step to export."
        )

    def looked_up(self, table: Tensor, symbols: str) -> str:
        """Return the name of symbols' vectors (B, T, E).

        Args:
            table: The vectors (V, E).
            symbols: Name of the symbols (B, T).
        """
        name = self._part()
        inputs = [self._constant(table), symbols]
        self._nodes.append(self.onnx.helper.make_node("Gather", inputs, [name]))
        example, axes = self._values[symbols]
        self._values[name] = table.detach()[example], axes
        return name

    def valid(self, x: str, lengths: str) -> str:
        """Return the name of what says which steps are real, (B, T) bool.

        Args:
            x: Name of a sequence (B, T, ...).
            lengths: Name of its rows' lengths (B,).
        """
        name = self._part()
        zero, one = self._constant(torch.tensor(0)), self._constant(torch.tensor(1))
        column = self._constant(torch.tensor([1]))
        make = self.onnx.helper.make_node
        self._nodes += [
            make("Shape", [x], [f"{name}_time"], start=1, end=2),
            make("Squeeze", [f"{name}_time"], [f"{name}_steps"]),
            make("Range", [zero, f"{name}_steps", one], [f"{name}_range"]),
            make("Unsqueeze", [lengths, column], [f"{name}_column"]),
            make("Less", [f"{name}_range", f"{name}_column"], [name]),
        ]
        example = torch.ones(self._values[x][0].shape[:2], dtype=torch.bool)
        self._values[name] = example, {0: "batch", 1: "time"}
        return name

    def starts(self, core: RecurrentCore, x: str) -> list[str]:
        """Return the names of the tensors of a core's initial state, a row for each of x (B, ...).

        Args:
            core: The core.
            x: Name of a value.
        """
        make, rows = self.onnx.helper.make_node, self._part()
        self._nodes.append(make("Shape", [x], [rows], start=0, end=1))
        found = []
        for leaf in leaves(core.initial_state(1)):
            name = self._part()
            rest = self._constant(torch.tensor(leaf.shape[1:]))
            self._nodes += [
                make("Concat", [rows, rest], [f"{name}_shape"], axis=0),
                make("Expand", [self._constant(leaf), f"{name}_shape"], [name]),
            ]
            example = leaf.detach().expand(self._values[x][0].shape[0], *leaf.shape[1:])
            self._values[name] = example, {0: "batch"}
            found.append(name)
        return found

    def _masked(self, x: str, valid: str) -> str:
        """Return the name of x (B, T, D) with zeros where it is not valid (B, T)."""
        name, make = self._part(), self.onnx.helper.make_node
        last, zero = self._constant(torch.tensor([2])), self._constant(torch.tensor(0.0))
        self._nodes += [
            make("Unsqueeze", [valid, last], [f"{name}_valid"]),
            make("Where", [f"{name}_valid", x, zero], [name]),
        ]
        self._values[name] = self._values[x]
        return name

    def _constant(self, value: Tensor) -> str:
        name = self._part()
        array = value.detach().numpy()
        self._weights.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def _part(self) -> str:
        self._parts += 1
        return f"part{self._parts}"

    def _joined(self, operator: str, one: str, other: str, **attributes: int) -> str:
        name = self._part()
        self._nodes.append(self.onnx.helper.make_node(operator, [one, other], [name], **attributes))
        (first, axes), (second, _) = self._values[one], self._values[other]
        join = torch.cat((first, second), 2) if operator == "Concat" else first
        self._values[name] = join, axes
        return name

    def model(self, outputs: dict[str, str], axes: dict[str, dict[int, str]]) -> Any:
        """Return the graph as an ONNX model.

        Args:
            outputs: The names that its outputs shall have, and the values' names here.
            axes: Which of an output's axes may have any size; of one that is not here the rows.
        """
        helper, proto = self.onnx.helper, self.onnx.TensorProto
        kinds = {
            torch.int64: proto.INT64,
            torch.float32: proto.FLOAT,
            torch.bool: proto.BOOL,
            torch.uint8: proto.UINT8,
        }

        def described(name: str, example: Tensor, changing: dict[int, str]) -> Any:
            shape = [changing.get(axis, size) for axis, size in enumerate(example.shape)]
            return helper.make_tensor_value_info(name, kinds[example.dtype], shape)

        nodes = [
            *self._nodes,
            *(helper.make_node("Identity", [inner], [name]) for name, inner in outputs.items()),
        ]
        graph = helper.make_graph(
            nodes,
            "unrolled",
            [described(name, *value) for name, value in self._inputs.items()],
            [
                described(name, self._values[inner][0], axes.get(name, {0: "batch"}))
                for name, inner in outputs.items()
            ],
            self._weights,
        )
        opsets = [helper.make_opsetid(domain, number) for domain, number in self._opsets.items()]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)

    def _graph(
        self,
        module: nn.Module,
        arguments: tuple[Any, ...],
        axes: tuple[Any, ...],
        proto: Any = None,
    ) -> tuple[list[str], list[str], Any, list[Tensor]]:
        """Return a module's graph with names of its own, its inputs, outputs, and an example."""
        from onnx.compose import add_prefix

        with torch.no_grad():
            examples = leaves(_tuples(module.eval()(*arguments)))
        if proto is None:
            inputs = [f"in{i}" for i in range(len(leaves(_tuples(arguments))))]
            outputs = [f"out{i}" for i in range(len(examples))]
            proto = graph_of(module, arguments, axes, inputs, outputs)
        prefix = f"{self._part()}_"
        graph = add_prefix(proto, prefix).graph
        self._opsets |= {one.domain: one.version for one in proto.opset_import}
        inner = [value.name for value in graph.input], [value.name for value in graph.output]
        return *inner, graph, examples


def _tuples(value: Any) -> Any:
    return value if isinstance(value, Tensor) else tuple(_tuples(part) for part in value)
