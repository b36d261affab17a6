"""Graphs in whole numbers of 8 bits: onnxruntime's dynamic quantisation.

Weights become 8-bit numbers with a scale for each output; what they are multiplied with is brought
into 8 bits at each step. States, sums and everything else stay as they were.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from .needs import needed


def quantise(folder: Path) -> None:
    """Quantise all graphs of a folder, in their loops too.

    Args:
        folder: What `write_onnx` wrote.

    Raises:
        SetupError: The extra `export` is not installed.
    """
    library = needed("onnxruntime.quantization")
    onnx = needed("onnx")
    for path in sorted(folder.glob("*.onnx")):
        model = onnx.load(str(path))
        _as_products(onnx, model.graph)
        onnx.save(model, str(path))
        root = logging.getLogger()
        level = root.level
        root.setLevel(logging.ERROR)  # it recommends a preparation that knows no loops
        try:
            library.quantize_dynamic(
                str(path),
                str(path),
                # signed ones overflow silently on processors without VNNI instructions
                weight_type=library.QuantType.QUInt8,
                per_channel=True,
                op_types_to_quantize=["MatMul", "Gather"],
                extra_options={"EnableSubgraph": True, "MatMulConstBOnly": True},
            )
        finally:
            root.setLevel(level)


def _as_products(onnx: Any, graph: Any) -> None:
    """Write each Gemm with constant weights as a product and a sum, which the library quantises."""
    weights = {one.name: one for one in graph.initializer}
    nodes = []
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _as_products(onnx, attribute.g)
        factors = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        plain = factors.get("alpha", 1.0) == 1.0 == factors.get("beta", 1.0)
        constant = node.op_type == "Gemm" and node.input[1] in weights
        if not constant or not plain or factors.get("transA"):
            nodes.append(node)
            continue
        name = node.input[1]
        if factors.get("transB"):
            array = onnx.numpy_helper.to_array(weights[name]).T.copy()
            name = f"{name}_t"
            if name not in weights:
                weights[name] = onnx.numpy_helper.from_array(array, name)
                graph.initializer.append(weights[name])
        made = f"{node.output[0]}_product" if len(node.input) > 2 else node.output[0]
        nodes.append(onnx.helper.make_node("MatMul", [node.input[0], name], [made]))
        if len(node.input) > 2:
            nodes.append(onnx.helper.make_node("Add", [made, node.input[2]], [node.output[0]]))
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in graph.node for name in node.input}
    kept = [one for one in graph.initializer if one.name in used or one.name not in weights]
    inner = any(a.type == onnx.AttributeProto.GRAPH for n in graph.node for a in n.attribute)
    if not inner:  # a loop's body may use what is outside
        del graph.initializer[:]
        graph.initializer.extend(kept)
