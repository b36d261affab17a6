"""What importing the cores costs and brings along."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import unrolled.core
from unrolled.core import RecurrentCore, discover_cores

FOLDER = Path(unrolled.core.__file__).parent


def test_core_imports_only_torch():
    # vision/ may import torchvision, inside a function.
    for file in FOLDER.rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in tree.body:
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                depth = len(file.relative_to(FOLDER).parts)
                assert node.level <= depth, (
                    f"{file.name} line {node.lineno} imports from outside core"
                )
                names = [] if node.level else [node.module or ""]
            for name in names:
                root = name.split(".")[0]
                allowed = root == "torch" or root in sys.stdlib_module_names
                # imported where triton is
                allowed |= root == "triton" and file.stem.endswith("_triton")
                assert allowed, f"{file.name} imports {name}"


def test_importing_core_brings_torch_and_nothing_heavier():
    code = (
        "import sys, torch; before = set(sys.modules); import unrolled; unrolled.load; "
        "from unrolled.core import LSTM; assert unrolled.core.LSTM is LSTM; "
        "print({name.split('.')[0] for name in set(sys.modules) - before})"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    brought = ast.literal_eval(found.stdout) - {"unrolled"} - set(sys.stdlib_module_names)
    assert brought <= {"torch"}


def test_discovery_finds_every_core_once():
    found = discover_cores()
    assert {"RNN", "LSTM", "GRU", "Stacked", "Bidirectional", "WeightDrop", "Zoneout"} <= set(found)
    assert "RecurrentCore" not in found
    assert "TorchCore" not in found
    assert list(found) == sorted(found)
    for name, cls in found.items():
        assert issubclass(cls, RecurrentCore)
        assert getattr(unrolled.core, name) is cls
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = unrolled.core.Nothing


def test_every_signature_is_a_schema():
    for name, cls in discover_cores().items():
        parameters = list(inspect.signature(cls).parameters.values())
        assert parameters[0].name == "input_size", name
        assert parameters[1].name in ("hidden_size", "core"), name
        for parameter in parameters:
            assert parameter.annotation is not parameter.empty, (
                f"{name}.{parameter.name} has no type"
            )
        for parameter in parameters[2:]:
            assert parameter.kind is parameter.KEYWORD_ONLY, (
                f"{name}.{parameter.name} is not keyword-only"
            )


def test_every_core_documents_its_arguments():
    for name, cls in discover_cores().items():
        text = inspect.getdoc(cls) or ""
        for parameter in inspect.signature(cls).parameters:
            assert f"{parameter}:" in text, f"{name} does not document {parameter}"
