"""The documentation builds as a site, strictly, and asks nothing of other machines."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# What makes a browser fetch: links that people click are left alone.
ASSET = re.compile(
    r"<(?:link|script|img|iframe|source|video|audio|object|embed)\b[^>]*?"
    r"""(?:href|src|srcset|data)=["']?((?:https?:)?//[^"'\s>]+)"""
)
CANONICAL = re.compile(r'<link\b[^>]*rel="?(?:canonical|prev|next)"?[^>]*>')

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built of a clone whose folder has another name than the package."""
    pytest.importorskip("material", reason="pip install 'unrolled[docs]'")
    folder = tmp_path_factory.mktemp("site") / "built"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_there(site):
    pages = {
        path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")
    }
    built = {path.relative_to(site).with_suffix("") for path in site.rglob("*.html")}
    assert pages <= built


def test_no_asset_is_from_elsewhere(site):
    for page in site.rglob("*.html"):
        found = ASSET.findall(CANONICAL.sub("", page.read_text(encoding="utf-8")))
        assert not found, f"{page.name}: {found}"
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        assert not re.findall(r"""(?:url\(|@import )["']?(?:https?:)?//[^)]+""", text), style


def test_equations_are_mathml(site):
    text = (site / "concepts.html").read_text(encoding="utf-8")
    assert '<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">' in text
    for page in site.rglob("*.html"):
        assert 'class="arithmatex"' not in page.read_text(encoding="utf-8"), page


@pytest.mark.parametrize("package", ["core", "data", "plots", "tasks", "tasks.metrics"])
def test_every_public_name_is_in_the_reference(site, package):
    text = "\n".join(page.read_text(encoding="utf-8") for page in (site / "api").glob("*.html"))
    module = importlib.import_module(f"unrolled.{package}")
    names = {name for name in module.__all__ if not name.startswith("_")}
    missing = {name for name in names if f'id="unrolled.{package}.{name}"' not in text}
    assert not missing


def test_the_search_finds_what_is_built(site):
    index = (site / "search/search_index.js").read_text(encoding="utf-8")
    assert index.startswith("var __index = {")
    assert "MogrifierLSTM" in index
    assert (site / "theme/iframe-worker.js").exists()
