"""What the site needs beside its plugins: equations, lists of names, folders of the navigation."""

from __future__ import annotations

import ast
import atexit
import html
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
_NAMES = re.compile(r"^::: (unrolled[\w.]*)\.\*(?: of (\w+))?$", re.MULTILINE)
_INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
_BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)
_UNKNOWN = re.compile(r"\\[A-Za-z]+|\\.|&(?!#x)")  # what the converter leaves as it was written


def on_config(config: Any) -> Any:
    """Say where the package is, whatever its folder is called, and which pages the folders have."""
    link = Path(tempfile.mkdtemp()) / "unrolled"
    atexit.register(shutil.rmtree, link.parent)
    link.symlink_to(ROOT, target_is_directory=True)
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [str(link.parent)]
    config.nav = [entry for entry in map(_expanded, config.nav) if entry]
    return config


def _expanded(entry: Any) -> Any:
    """Return an entry of the navigation; `folder/*.md` is every page that fits, maybe none."""
    if not isinstance(entry, dict):
        return entry
    ((title, value),) = entry.items()
    if isinstance(value, list):
        return {title: [inner for inner in map(_expanded, value) if inner]}
    if "*" not in value:
        return entry
    pages = sorted(DOCS.glob(value), key=lambda page: (page.stem != "index", page.stem))
    names = [page.relative_to(DOCS).as_posix() for page in pages]
    if not names:
        return None
    return {title: names if "/" in value else names[0]}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Write a line for every name that `::: unrolled.core.* of cores` stands for."""

    def lines(found: re.Match[str]) -> str:
        return "\n\n".join(f"::: {name}" for name in names_of(found[1], found[2]))

    return _NAMES.sub(lines, markdown)


def names_of(package: str, part: str | None) -> list[str]:
    """Return what a package offers, in the order of its own list.

    Args:
        package: Such as `unrolled.core`.
        part: Only what is defined in this module or folder of it; None: everything.
    """
    path = ROOT.joinpath(*package.split(".")[1:])
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    names = [
        f"{package}.{alias.name}"
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module
        if part in (None, node.module.partition(".")[0])
        for alias in node.names
    ]
    if not names:
        raise ValueError(f"{source} offers nothing of {part}")
    return names


def on_page_content(content: str, /, **_: Any) -> str:
    """Make MathML of the equations, which browsers show without a script."""
    content = _BLOCK.sub(
        lambda found: f'<div class="equation">{_mathml(found[1], "block")}</div>', content
    )
    return _INLINE.sub(lambda found: _mathml(found[1], "inline"), content)


def _mathml(latex: str, display: str) -> str:
    """Convert one equation.

    Raises:
        ValueError: It has something that the converter would show as it is written.
    """
    latex = html.unescape(latex).strip()
    # GitHub knows `aligned` alone, the converter `align*` alone
    found = convert(re.sub(r"(begin|end){aligned}", r"\1{align*}", latex), display=display)
    if unknown := _UNKNOWN.search(found):
        raise ValueError(f"{unknown[0]} can't be shown: {latex}")
    return found
