"""Make a notebook of each tutorial: `make notebooks` writes them into build/notebooks.

The pages are the source; their blocks of Python become cells, which the tests run as the pages'.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs/tutorials").glob("*.md"))
_PYTHON = re.compile(r"^```python\n(.*?)^```\n?", re.MULTILINE | re.DOTALL)
# A figure is shown where it is saved.
_SAVED = re.compile(r"^(\w+)\.savefig\(.*\)\n\Z", re.MULTILINE)
_LINK = re.compile(r"\]\((?![a-z]+:)([^)#]+)([^)]*)\)")


def notebook(text: str, folder: Path = ROOT / "build/notebooks") -> dict[str, Any]:
    """Return a notebook, in the format 4.5 of Jupyter, of a page.

    Args:
        text: The page, in Markdown.
        folder: Where the notebook will lie: its links lead to the pages and pictures from there.
    """

    def moved(link: re.Match[str]) -> str:
        path, rest = link.groups()
        page = PAGES[0].parent / path
        there = f"{page.stem}.ipynb" if page in PAGES else os.path.relpath(page, folder)
        return f"]({there}{rest})"

    cells: list[dict[str, Any]] = []
    for place, part in enumerate(_PYTHON.split(text)):
        kind = "code" if place % 2 else "markdown"
        source = _SAVED.sub(r"\g<0>\1\n", part) if place % 2 else _LINK.sub(moved, part)
        if not source.strip():
            continue
        cell: dict[str, Any] = {
            "cell_type": kind,
            "id": f"cell-{place}",
            "metadata": {},
            "source": source.strip("\n").splitlines(keepends=True),
        }
        cells.append(cell | ({"execution_count": None, "outputs": []} if kind == "code" else {}))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def write(folder: Path) -> list[Path]:
    """Write the notebooks of all tutorials, and return their paths.

    Args:
        folder: Where to; it is made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for page in PAGES:
        path = folder / f"{page.stem}.ipynb"
        content = notebook(page.read_text(encoding="utf-8"), folder)
        path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        written.append(path)
    return written


if __name__ == "__main__":
    for made in write(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build/notebooks"):
        print(made)
