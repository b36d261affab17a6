"""Each tutorial is a notebook, too: the same text, and the same code, which test_pages runs."""

from __future__ import annotations

import ast
import importlib.util
import json
import re

import pytest
from pages import ROOT, blocks

spec = importlib.util.spec_from_file_location("notebooks", ROOT / "examples/notebooks.py")
notebooks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(notebooks)


def test_there_are_six(tmp_path):
    written = notebooks.write(tmp_path / "made")
    assert [path.stem[:2] for path in written] == ["1_", "2_", "3_", "4_", "5_", "6_"]


def test_links_lead_somewhere_from_where_the_notebooks_lie(tmp_path):
    for made in notebooks.write(tmp_path / "made"):
        cells = json.loads(made.read_text(encoding="utf-8"))["cells"]
        told = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        links = [link for link in re.findall(r"\]\(([^)#]+)", told) if "://" not in link]
        assert links, made.name
        for link in links:
            assert (made.parent / link).exists(), f"{made.name}: {link} leads nowhere"


@pytest.mark.parametrize("page", notebooks.PAGES, ids=lambda page: page.stem)
def test_it_has_the_code_and_the_text_of_its_page(page):
    text = page.read_text(encoding="utf-8")
    made = json.loads(json.dumps(notebooks.notebook(text)))
    code = ["".join(cell["source"]) for cell in made["cells"] if cell["cell_type"] == "code"]
    wanted = blocks(str(page.relative_to(ROOT)), "python")
    assert len(code) == len(wanted)
    for cell, block in zip(code, wanted, strict=True):
        ast.parse(cell)
        assert cell.startswith(block.strip("\n"))
        assert cell.removeprefix(block.strip("\n")) in ("", "\nfigure")
    assert sum(cell.endswith("\nfigure") for cell in code) == text.count("figure.savefig(")
    told = "".join("".join(c["source"]) for c in made["cells"] if c["cell_type"] == "markdown")
    assert "```python" not in told
    assert told.startswith(text.splitlines()[0])
    assert len({cell["id"] for cell in made["cells"]}) == len(made["cells"])
    assert (made["nbformat"], made["nbformat_minor"]) == (4, 5)


def test_jupyter_takes_it():
    nbformat = pytest.importorskip("nbformat")
    for page in notebooks.PAGES:
        nbformat.validate(notebooks.notebook(page.read_text(encoding="utf-8")))
