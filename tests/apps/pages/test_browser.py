"""The report in a real browser, light and dark, wide and narrow, and on paper."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import addresses, chromium, colours, narrow
from unrolled.cli import main

EVIL = "<script>document.title = 'broken'</script><img src=x onerror=\"document.title = 'broken'\">"


@pytest.fixture
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


def test_the_page_is_whole_in_chromium(here, browser):
    run = Path("runs/char_lm/a")
    rows = "".join(f"{n},{2 / n},{3 / n}\n" for n in range(1, 5))
    (run / "metrics.csv").write_text(f'step,train/loss,"val/{EVIL.replace(chr(34), "")}"\n{rows}')
    (run / "config.yaml").write_text(f"{(run / 'config.yaml').read_text()}# {EVIL}\n")
    shutil.copytree(run, run.with_name("b"))
    assert main(["report", "runs/char_lm", "--example", "the"]) == 0
    browser.get(Path("report.html").absolute().as_uri())
    assert browser.title == "char_lm/a, char_lm/b"  # nothing of it ran
    sizes = browser.execute_script(
        "return [...document.images].map(i => i.complete && i.naturalWidth)"
    )
    assert len(sizes) == 9
    assert all(sizes)
    assert browser.get_log("browser") == []  # nor was anything refused
    assert not [one for one in addresses(browser) if one.startswith(("http", "ws"))]
    grounds = []
    for scheme in ("light", "dark"):
        colours(browser, scheme)
        grounds.append(
            browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        )
    assert grounds == ["rgb(255, 255, 255)", "rgb(21, 23, 26)"]
    assert narrow(browser) == 360
    assert base64.b64decode(browser.print_page()).startswith(b"%PDF")
