"""Who may import whom: cli -> apps -> tasks -> core, cli -> data; core imports nothing but torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("core", "data", "tasks", "apps")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

# What a file of a folder may import of this package: folders, or single modules of them.
ALLOWED = {
    "core": {"core"},
    "data": {"data", "errors", "lazy"},
    "tasks": {
        "tasks",
        "core",
        "data.batch",
        "data.captioning.base",  # what a captioning task asks of its data module
        "data.images",  # a trained captioner opens images as its data module did
        "data.tokenizer",
        "data.spec",
        "data.vocabulary",
        "errors",
        "__version__",
    },
    "apps": {
        "apps",
        "tasks",
        "core",
        "data",
        "errors",
        "checkpoints",
        "class_paths",
        "loading",
        "__version__",
    },
}
# What lies outside the standard library and may be imported at all.
OUTSIDE = {
    "core": {"torch", "torchvision", "triton"},  # triton comes with torch, where there are GPUs
    "data": {
        "torch",
        "lightning",
        "numpy",
        "datasets",
        "filelock",
        "platformdirs",
        "tokenizers",
        "babel",
        "av",
        "PIL",
    },
    "tasks": {"torch", "lightning", "numpy", "torchmetrics", "sacrebleu", "PIL"},
    "apps": {
        "torch",
        "lightning",
        "jsonargparse",
        "yaml",
        "rich",
        "numpy",
        "torchvision",
        "av",
        "PIL",
    },
}


def imports(path: Path) -> set[str]:
    """Absolute names of the modules that a file imports, `unrolled.` in front of our own."""
    package = ["unrolled", *path.relative_to(ROOT).parent.parts]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= (
                {f"{module}.{alias.name}" for alias in node.names}
                if module.startswith("unrolled")
                else {module}
            )
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_point_the_right_way(path):
    folder = path.relative_to(ROOT).parts[0]
    for name in imports(path):
        if name.startswith("unrolled."):
            inner = name.removeprefix("unrolled.")
            assert any(
                inner == allowed or inner.startswith(f"{allowed}.") for allowed in ALLOWED[folder]
            ), name
        else:
            top = name.partition(".")[0]
            assert top in sys.stdlib_module_names or top in OUTSIDE[folder], name


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import unrolled", ["torch", "lightning", "numpy"]),
        ("import unrolled.cli", ["torch", "lightning", "jsonargparse"]),
        (
            "from unrolled.core import RNN, LSTM, GRU, Stacked",
            ["lightning", "torchmetrics", "datasets", "torchvision"],
        ),
        ("import unrolled.data, unrolled.tasks", ["torch", "lightning"]),
        ("from unrolled.tasks import CharLM", ["datasets", "tensorboard"]),
    ],
)
def test_imports_stay_light(statement, absent):
    code = f"{statement}\nimport sys\nprint([name for name in {absent!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
