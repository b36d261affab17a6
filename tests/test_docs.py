"""What the documents name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TESTS = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_tests_that_a_page_names_exist(page):
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:tests|core|data|tasks|apps|configs|benchmarks)/[\w/.]*)`", text):
        # a page on one's own code names files of the examples
        assert (ROOT / name).exists() or (ROOT / "examples" / name).exists(), name
    for name in re.findall(r"\bbenchmarks/\w+\.py", text):
        assert (ROOT / name).exists(), f"{name} is not there"
    for name in re.findall(r"`(test_\w+?)(?:_\.\.\.|`)", text):
        assert f"def {name}" in TESTS, f"there is no test whose name begins with {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in link:
            assert (page.parent / link).exists(), f"{link} leads nowhere"
