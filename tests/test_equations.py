"""Every core has its equations on the site, and every equation of the pages can be shown."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from unrolled.core import discover_cores

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    page
    for page in sorted((ROOT / "docs").rglob("*.md"))
    if "$" in re.sub(r"```.*?```|`.*?`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
]
CORES = [
    name
    for name, core in discover_cores().items()
    if core.__module__.startswith("unrolled.core.cores")
]


@pytest.fixture(scope="module")
def shown():
    """What the site makes of a page's text: markdown, then the hook."""
    pytest.importorskip("latex2mathml", reason="pip install 'unrolled[docs]'")
    pytest.importorskip("pymdownx", reason="pip install 'unrolled[docs]'")
    markdown = pytest.importorskip("markdown")
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs/theme/hooks.py")
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    extensions = ["tables", "pymdownx.superfences", "pymdownx.arithmatex"]
    options = {"pymdownx.arithmatex": {"generic": True}}  # as in mkdocs.yml

    def convert(text: str) -> str:
        html = markdown.markdown(text, extensions=extensions, extension_configs=options)
        return hooks.on_page_content(html)

    return convert


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_equation_can_be_shown(page, shown):
    html = shown(page.read_text(encoding="utf-8"))
    found = re.findall(r"<math\b.*?</math>", html, re.DOTALL)
    assert found
    assert "arithmatex" not in html
    for equation in found:
        ElementTree.fromstring(equation)


def test_columns_are_columns(shown):
    html = shown("$$\n\\begin{aligned}\na &= b \\\\\nc &= d\n\\end{aligned}\n$$")
    assert html.count("<mtr>") == 2
    assert html.count("<mtd") == 4


@pytest.mark.parametrize(
    "latex", [r"\nosuchthing x", r"a & b", r"\begin{nosuchthing} a &= b \end{nosuchthing}"]
)
def test_what_cannot_be_shown_ends_the_build(shown, latex):
    with pytest.raises(ValueError, match="can't be shown: "):
        shown(f"$$\n{latex}\n$$")


@pytest.mark.parametrize("name", CORES)
def test_every_core_has_its_equations(name, shown):
    text = (ROOT / "docs/equations.md").read_text(encoding="utf-8")
    found = re.findall(rf"^## {name}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert len(found) == 1, f"docs/equations.md has {len(found)} sections on {name}"
    html = shown(found[0])
    assert 'display="block"' in html
    assert "](https://" in found[0], "the paper"


def test_no_core_is_there_that_is_not():
    text = (ROOT / "docs/equations.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^## (.*)$", text, re.MULTILINE)) == sorted(CORES)
