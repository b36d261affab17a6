"""A page of an exported model, opened from its file in a real browser."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from chromium import addresses, chromium
from unrolled.apps.exports.web.runtime import NAME
from unrolled.cli import main

# the user's cache, which `unrolled export --format web` fills: tests have one of their own later
_CACHE = os.environ.get("UNROLLED_CACHE") or platformdirs.user_cache_dir("unrolled", False)
RUNTIME = Path(os.environ.get("UNROLLED_ONNXRUNTIME_WEB") or Path(_CACHE, "npm", NAME)).absolute()
"""The npm package that runs pages; tests fetch none."""


def exported_page(checkpoint: Path) -> Path:
    """Export a checkpoint as a page; skip the test where the npm package is not there."""
    pytest.importorskip("onnxscript", reason="the extra `export` is not installed")
    if not RUNTIME.exists():
        pytest.skip(f"no {RUNTIME} (npm pack onnxruntime-web; set UNROLLED_ONNXRUNTIME_WEB)")
    page = checkpoint.with_name(f"{checkpoint.stem}-web") / "index.html"
    if not page.exists():
        words = ["export", str(checkpoint), "--format", "web", "--runtime", str(RUNTIME)]
        assert main(words) == 0
    return page


class Page:
    """A person in front of a page.

    Args:
        browser: The browser.
        file: The page.
    """

    def __init__(self, browser: Any, file: Path) -> None:
        from selenium.webdriver.common.keys import Keys

        self.browser, self.keys = browser, Keys
        browser.get(file.as_uri())
        self.until(lambda: self.script("return document.body.dataset.ready"), 60)

    def script(self, text: str, *given: Any) -> Any:
        return self.browser.execute_script(text, *given)

    def at(self, name: str) -> Any:
        return self.browser.find_element("id", name)

    def until(self, true: Callable[[], Any], seconds: float = 30) -> Any:
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.browser, seconds, 0.05).until(lambda _: true())

    def set(self, name: str, value: str) -> None:
        """Give a field a value as a person does, with the event of it."""
        event = "arguments[0].dispatchEvent(new Event('input', {bubbles: true}))"
        self.script(f"arguments[0].value = arguments[1]; {event}", self.at(name), value)

    def press(self, *keys: str) -> None:
        from selenium.webdriver import ActionChains

        ActionChains(self.browser).send_keys(*keys).perform()

    def chord(self, held: str, key: str) -> None:
        """Press a key while another one is held."""
        from selenium.webdriver import ActionChains

        ActionChains(self.browser).key_down(held).send_keys(key).key_up(held).perform()

    def idle(self) -> None:
        self.until(lambda: self.script("return !document.body.dataset.busy"), 60)

    def focus(self) -> str:
        return self.script("return document.activeElement.id")

    def tab_to(self, name: str) -> None:
        for _ in range(20):
            if self.focus() == name:
                return
            self.press(self.keys.TAB)
        raise AssertionError(f"no Tab comes to {name}")


@contextmanager
def opened(file: Path, *flags: str) -> Iterator[Page]:
    """Open a page; at its end nothing was asked of the network, and nothing went wrong."""
    with chromium("--window-size=1100,1100", *flags) as browser:
        page = Page(browser, file)
        yield page
        asked = [one for one in addresses(browser) if not one.startswith(("data:", "blob:"))]
        assert asked
        assert set(asked) == {file.as_uri()}
        said = [one["message"] for one in browser.get_log("browser")]
        assert not said, said
