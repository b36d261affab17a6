"""What the source text says of the package's classes and their arguments; nothing is imported."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

PACKAGE = Path(__file__).resolve().parents[2]

# What the program itself gives to a class: a size, the parameters, what the data say.
_GIVEN = ("spec", "input_size", "query_size", "memory_size", "params")

_CLASS = re.compile(r"^class (\w+)([^:]*):", re.MULTILINE)
_FUNCTION = re.compile(r"^(def \w+)\(.*?(?=^[^\s)]|\Z)", re.MULTILINE | re.DOTALL)
_METHOD = re.compile(r"^(    def \w+)\(.*?(?=^(?: {4})?[^\s)]|\Z)", re.MULTILINE | re.DOTALL)


class Argument(NamedTuple):
    """An argument of a class: its name, what its docstring says, and its default as text."""

    name: str
    summary: str
    default: str


class SourceClass(NamedTuple):
    """A class as its source text shows it."""

    module: str
    node: ast.ClassDef

    @property
    def bases(self) -> list[str]:
        """The last component of every base class."""
        return [ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in self.node.bases]


@cache
def modules_in(folder: str) -> list[str]:
    """Return the modules of a folder of the package that hold a top-level class.

    Args:
        folder: `core`, `data`, `tasks` or `apps`.
    """
    paths = sorted((PACKAGE / folder).rglob("*.py"))
    return [_module(path) for path in paths if _CLASS.search(path.read_text(encoding="utf-8"))]


def _module(path: Path) -> str:
    inner = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    return f"unrolled.{inner.removesuffix('.__init__')}"


@cache
def classes_in(folder: str) -> dict[str, SourceClass]:
    """Return every top-level class in the modules of a folder of the package.

    Args:
        folder: `core`, `data`, `tasks` or `apps`.
    """
    return _parsed(sorted((PACKAGE / folder).rglob("*.py")), ast.parse)


def _outline(text: str) -> ast.Module:
    """Parse a file without the arguments and the bodies of its functions, in a fourth of the time.

    Where that leaves no Python behind (text in a function that begins at the margin), all is read.
    """
    try:
        return ast.parse(_FUNCTION.sub(r"\1(): ...\n", _METHOD.sub(r"\1(): ...\n", text)))
    except SyntaxError:
        return ast.parse(text)


def _parsed(paths: list[Path], parse: Callable[[str], ast.Module]) -> dict[str, SourceClass]:
    found = {}
    for path in paths:
        module = _module(path)
        for node in parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                found[node.name] = SourceClass(module, node)
    return found


@cache
def _family(folder: str, root: str) -> dict[str, SourceClass]:
    """Return the classes of those files in which a class may descend from one, or be between.

    Their functions are empty. To parse is most of the time of `unrolled list`, so that the files
    are first looked through.
    """
    names: dict[str, set[str]] = {}  # of each class all words of its first line
    places: dict[str, set[Path]] = {}
    for path in (PACKAGE / folder).rglob("*.py"):
        for name, bases in _CLASS.findall(path.read_text(encoding="utf-8")):
            names.setdefault(name, set()).update(re.findall(r"\w+", bases))
            places.setdefault(name, set()).add(path)
    below, above = {root}, set[str]()
    while more := {one for one, words in names.items() if words & below} - below:
        below |= more
    more = below
    while more := {word for one in more for word in names.get(one, ())} & names.keys() - above:
        above |= more
    wanted = (below | above) & names.keys()
    return _parsed(sorted({path for name in wanted for path in places[name]}), _outline)


def subclasses(folder: str, root: str) -> dict[str, SourceClass]:
    """Return the public concrete classes of a folder that descend from a class named there.

    Args:
        folder: `core`, `data` or `tasks`.
        root: The name of the base class.
    """
    found = _family(folder, root)
    line = {name: [*_ancestors(name, found)] for name in found}
    return {
        name: found[name]
        for name, ancestors in line.items()
        if name != root
        and root in ancestors
        and not name.startswith("_")
        and not _missing(ancestors, found)
    }


def _ancestors(name: str, found: dict[str, SourceClass]) -> Iterator[str]:
    """Yield a class and its base classes, as far as the folder defines them, the nearest first."""
    if name in found:
        yield name
        for base in found[name].bases:
            yield from _ancestors(base, found)


def _missing(ancestors: list[str], found: dict[str, SourceClass]) -> set[str]:
    """Return the abstract methods of a class that it does not define."""
    abstract: set[str] = set()
    for name in reversed(ancestors):
        for node in found[name].node.body:
            if isinstance(node, ast.FunctionDef):
                decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
                (abstract.add if "abstractmethod" in decorators else abstract.discard)(node.name)
    return abstract


def arguments(folder: str, name: str) -> list[Argument]:
    """Return the arguments of a class of the package that a configuration can set.

    Args:
        folder: `core`, `data`, `tasks` or `apps`.
        name: The class.
    """
    found = classes_in(folder)
    texts: dict[str, str] = {}
    while name in found:
        node = found[name].node
        texts = documented(ast.get_docstring(node) or "") | texts
        for item in node.body:
            if isinstance(item, ast.FunctionDef) and item.name == "__init__":
                return [
                    argument for argument in _signature(item, texts) if argument.name not in _GIVEN
                ]
        name = next(iter(found[name].bases), "")
    return []


def _signature(init: ast.FunctionDef, texts: dict[str, str]) -> Iterator[Argument]:
    positional = init.args.args[1:]
    missing = [None] * (len(positional) - len(init.args.defaults))
    pairs = [
        *zip(positional, [*missing, *init.args.defaults], strict=True),
        *zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True),
    ]
    for argument, default in pairs:
        yield Argument(argument.arg, texts.get(argument.arg, ""), _default(default))


def _default(node: ast.expr | None) -> str:
    if node is None:
        return ""
    if isinstance(node, ast.Constant):
        return shown(node.value)
    body = node.body if isinstance(node, ast.Lambda) else node
    named = body.func if isinstance(body, ast.Call) else body
    return ast.unparse(named).removeprefix("torch.optim.")


def documented(docstring: str) -> dict[str, str]:
    """Return the texts of a Google docstring's `Args` by name.

    Args:
        docstring: The docstring, without indentation.
    """
    section = re.search(r"^Args:\n((?:    .*\n?|\n)+)", docstring, re.MULTILINE)
    entries = re.compile(r"^    \*?(\w+): (.*(?:\n        .*)*)", re.MULTILINE)
    found = entries.findall(section[1]) if section else []
    return {name: " ".join(text.split()) for name, text in found}


def shown(value: Any) -> str:
    """Return a value as the help shows it: a class by its name, a nest not at all.

    Args:
        value: Plain data.
    """
    if isinstance(value, dict) and "class_path" in value:
        return str(value["class_path"]).rpartition(".")[2]
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return "" if isinstance(value, list | dict) else str(value)
