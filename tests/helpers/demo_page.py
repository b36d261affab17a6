"""The server of `unrolled demo` in a process of its own, and a person in front of its page."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from app_models import save, write_models
from unrolled.core import GRU, FrameEncoder, SmallCNN
from unrolled.tasks import CharLM
from video_models import PICTURES as VIDEOS
from video_models import save_model

CORE = partial(GRU, hidden_size=6)
SMALL_CNN = partial(SmallCNN, channels=[4, 8])
# Notes where each socket goes, whatever opens it.
NOTING = """
import sys
def note(event, args):
    if event == "socket.connect":
        print(args[1], file=notes, flush=True)
    elif event == "socket.getaddrinfo":
        print(args[:2], file=notes, flush=True)
notes = open("notes.txt", "w")
sys.addaudithook(note)
from unrolled.cli import main
sys.exit(main(["demo", *sys.argv[1:]]))
"""
MODELS = ["lm.ckpt", "translation.ckpt", "caption.ckpt", "pictures.ckpt", "video.ckpt"]
EVIL = "<script>document.title = 'broken'</script><img src=x onerror=\"document.title = 'broken'\">"


class Server:
    """The server, and what lies in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"

    def notes(self) -> list[str]:
        return (self.folder / "notes.txt").read_text().splitlines()


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Serve small models of all tasks."""
    write_models(folder)
    # one that does not come to an end
    torch.manual_seed(0)
    task = CharLM({"vocabulary": {"kind": "characters", "symbols": "abc \t\n"}}, CORE)
    with torch.no_grad():
        task.model.head.bias[task.model.vocabulary.END] = -100
    save(task, folder / "lm.ckpt")
    save_model(folder / "pictures.ckpt", VIDEOS, encoder=partial(FrameEncoder, backbone=SMALL_CNN))
    write_video(folder / "clip.mp4")
    write_others(folder)
    found = Server(folder)
    words = [*MODELS, "--port", str(found.port)]
    with (folder / "log.txt").open("w") as log:
        run = subprocess.Popen(
            [sys.executable, "-c", NOTING, *words], cwd=folder, stdout=log, stderr=log
        )
    try:
        end = time.monotonic() + 180
        while "Ctrl-C ends it" not in (folder / "log.txt").read_text():
            assert run.poll() is None, (folder / "log.txt").read_text()
            assert time.monotonic() < end, "it does not start"
            time.sleep(0.2)
        yield found
        assert run.poll() is None, (folder / "log.txt").read_text()
    finally:
        run.terminate()
        code = run.wait(60)
    assert code == 143
    log = (folder / "log.txt").read_text()
    # Gradio tells so of a path that it refuses, for which a test asks
    assert log.count("Traceback") == log.count("InvalidPathError: ")


def write_video(path: Path) -> None:
    import av

    draw = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(30):
            picture = draw.integers(0, 255, (64, 64, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())


def write_others(folder: Path) -> None:
    """Write files that can't be read."""
    (folder / "text.png").write_text(f"no image {EVIL}")
    (folder / "text.mp4").write_text("no video")
    (folder / "empty.png").write_bytes(b"")
    size = (60_000).to_bytes(4) * 2 + bytes([8, 2, 0, 0, 0])
    parts = [(b"IHDR", size), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    chunks = [
        len(content).to_bytes(4) + name + content + zlib.crc32(name + content).to_bytes(4)
        for name, content in parts
    ]
    (folder / "large.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    np.save(folder / "other.npy", np.zeros((7, 20), np.float32))


class Page:
    """The page, with what a person does on it."""

    def __init__(self, browser: Any, server: Server) -> None:
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.keys import Keys

        self.browser, self.server, self.keys = browser, server, Keys
        self.actions = partial(ActionChains, browser)

    def all(self, selector: str) -> list[Any]:
        found = self.browser.find_elements("css selector", selector)
        return [one for one in found if one.is_displayed()]

    def until(self, ready, seconds: float = 60) -> Any:
        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.support.ui import WebDriverWait

        waiting = WebDriverWait(
            self.browser, seconds, ignored_exceptions=[StaleElementReferenceException]
        )
        return waiting.until(lambda _: ready())

    def wait(self, selector: str) -> Any:
        return self.until(lambda: self.all(selector))[0]

    def said(self, selector: str, text: str) -> str:
        """What an element says once a text is in it."""

        def ready() -> str | None:
            found = [one.text for one in self.all(selector)]
            return found[0] if found and text in found[0] else None

        return self.until(ready)

    def tab(self, name: str) -> None:
        names = self.browser.find_elements("css selector", "button[role=tab]")
        next(one for one in names if one.text == name).click()

    def give(self, where: str, file: str) -> None:
        """Choose a file, another one before it taken back."""
        for close in self.all(f"{where} button[aria-label=Clear]"):
            close.click()
        field = self.until(
            lambda: next(
                iter(
                    one.find_elements("css selector", "input[type=file]")[0]
                    for one in self.all(where)
                ),
                None,
            )
        )
        field.send_keys(str(self.server.folder / file))

    def hover(self, selector: str, number: int = 0) -> None:
        self.actions().move_to_element(self.all(selector)[number]).perform()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.actions().send_keys(key).perform()

    def focus(self) -> Any:
        return self.browser.switch_to.active_element


def tabbed_to(page: Page, kind: str, role: str = "", *, tag: str = "", back: bool = False) -> bool:
    """Press the Tab key once, and say whether the focus is where it shall be."""
    step = page.actions()
    step = step.key_down(page.keys.SHIFT) if back else step
    step = step.send_keys(page.keys.TAB)
    (step.key_up(page.keys.SHIFT) if back else step).perform()
    here = page.focus()
    kinds = (here.get_attribute("class") or "").split()
    roles = here.get_attribute("role") or ""
    return (not kind or kind in kinds) and role in roles and here.tag_name.startswith(tag)


def inside(page: Page, kind: str) -> bool:
    """Press the Tab key once, and say whether a button in an element has the focus."""
    tabbed_to(page, "")
    found = "return document.activeElement.closest(arguments[0]) !== null"
    return page.browser.execute_script(found, f".{kind}")
