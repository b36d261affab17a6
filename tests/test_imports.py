"""The picture of the house: arrows go down only, and no two files need each other.

    cli -> apps -> loading -> tasks (task -> model) -> data, core

`core` and `data` know nothing of each other; below them lie `errors` and `class_paths`.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("core", "data", "tasks", "apps")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
ALL = [*FILES, *sorted(ROOT.glob("*.py"))]
MODELS = sorted([ROOT / "tasks/model.py", *(ROOT / "tasks").glob("*/model.py")])

# What a file of a folder may import of this package: folders, or single modules of them.
ALLOWED = {
    "core": {"core"},
    "data": {"data", "errors", "lazy"},
    "tasks": {
        "tasks",
        "core",
        "data.alphabet",  # what symbols are called, to find them among words
        "data.batch",
        "data.captioning.base",  # what a captioning task asks of its data module
        "data.captioning.features",  # a captioner of features reads them as its data module did
        "data.formats.letters",  # what a word is, for scores
        "data.formats.vectors",  # word vectors that an embedding begins with
        "data.images",  # a trained captioner opens images as its data module did
        "data.tokenizer",
        "data.spec",
        "data.tables",  # a file with the weights of the classes
        "data.vocabulary",
        "lazy",
        "class_paths",
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
        "hub",
        "loading",
        "signals",
        "__version__",
    },
}
# What lies outside the standard library and may be imported at all.
OUTSIDE = {
    # triton comes with torch, where there are GPUs
    "core": {"torch", "torchvision", "triton"},
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
        "h5py",
        "msgpack",  # optional
        "PIL",
        "pillow_heif",  # optional
        "regex",
        "pyarrow",  # comes with datasets
        "yaml",  # the cards of data sets
        "defusedxml",
    },
    "tasks": {"torch", "lightning", "numpy", "torchmetrics", "sacrebleu", "PIL", "regex"},
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
        "matplotlib",
        "onnx",  # the extra `export`
        "safetensors",
        "huggingface_hub",
        "gradio",  # the extra `demo`
    },
}
TRAINING = {"lightning", "torchmetrics", "jsonargparse"}


@cache
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


@pytest.mark.parametrize("folder", ["families", "kernels"])
def test_what_cores_share_knows_no_core(folder):
    for path in (ROOT / "core" / folder).glob("*.py"):
        found = {name for name in imports(path) if name.startswith("unrolled.core.cores")}
        assert not found, f"{path.name} imports {found}"


@pytest.mark.parametrize("path", MODELS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_model_knows_nothing_of_its_training(path):
    """Neither by itself nor through what it imports of its room and of `tasks`."""
    waiting, seen = [path], set()
    while waiting:
        file = waiting.pop()
        seen.add(file)
        assert not {name.partition(".")[0] for name in imports(file)} & TRAINING, file
        assert file.name != "task.py"
        waiting += {other for other in needed(file) if ROOT / "tasks" in other.parents} - seen


def needed(path: Path) -> set[Path]:
    """The files of this package that a file imports, also for its annotations alone.

    A name that a package's `__init__` passes on counts as an import of where it comes from.
    """
    return {
        file for name in imports(path) if name.startswith("unrolled.") for file in home(name, path)
    }


def home(name: str, asking: Path) -> Iterator[Path]:
    *folders, last = name.split(".")[1:]
    place = ROOT.joinpath(*folders)
    if (place / f"{last}.py").is_file():
        yield place / f"{last}.py"
    elif place.with_suffix(".py").is_file():
        yield place.with_suffix(".py")
    elif (place / "__init__.py").is_file() and place / "__init__.py" != asking:
        for other in imports(place / "__init__.py"):
            if other.startswith("unrolled.") and other.endswith(f".{last}"):
                yield from home(other, place / "__init__.py")


def circle(graph: dict[Path, set[Path]]) -> list[Path]:
    """Files that need each other in turn, the first once more at the end; none: an empty list."""
    done: set[Path] = set()

    def visit(file: Path, way: list[Path]) -> list[Path]:
        if file in way:
            return [*way[way.index(file) :], file]
        if file in done:
            return []
        done.add(file)
        return next(filter(None, (visit(other, [*way, file]) for other in sorted(graph[file]))), [])

    return next(filter(None, (visit(file, []) for file in graph)), [])


def test_no_file_needs_itself_by_way_of_others():
    graph = {path: needed(path) for path in ALL if path.name != "__init__.py"}
    assert len(graph) > 100
    found = circle(graph)
    assert not found, "a circle: " + " -> ".join(str(path.relative_to(ROOT)) for path in found)


def test_a_circle_is_found():
    a, b, c = map(Path, "abc")
    assert circle({a: {b}, b: {c}, c: set()}) == []
    assert circle({a: {b}, b: {c}, c: {b}}) == [b, c, b]
    assert ROOT / "core/cores/gru.py" in needed(ROOT / "tasks/video/model.py")


def test_no_two_classes_have_one_name():
    """A name in a message, a checkpoint or a page means one thing."""
    places: dict[str, list[str]] = {}
    for path in ALL:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import unrolled", ["torch", "lightning", "numpy", "yaml"]),
        ("import unrolled.cli", ["torch", "lightning", "jsonargparse"]),
        ("import unrolled.data, unrolled.tasks", ["torch", "lightning"]),
        ("from unrolled import plots; dir(plots)", ["torch", "matplotlib", "numpy"]),
        ("import unrolled.apps.label, unrolled.apps.plot", ["torch", "matplotlib", "numpy"]),
        ("from unrolled.tasks import CharLM", ["datasets", "tensorboard"]),
    ],
)
def test_imports_stay_light(statement, absent):
    assert loaded(statement, absent) == "[]"


def test_a_trained_model_is_loaded_without_what_trained_it(trained):
    absent = [*sorted(TRAINING), "torchvision", "datasets", "yaml", "PIL", "av"]
    load = "import unrolled; from unrolled.tasks import VideoModel; "
    load += f"unrolled.load({str(trained / 'runs/char_lm/a')!r}).generate('the')"
    assert loaded(load, absent) == "[]"


def loaded(statement: str, names: list[str]) -> str:
    """Which of some modules a statement imports, in a process of its own."""
    code = f"{statement}\nimport sys\nprint([name for name in {names!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout.strip()
