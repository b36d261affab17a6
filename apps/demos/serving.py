"""The server of the page: bounded, silent, and alone with who asks it."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import SetupError, UsageError, not_installed

if TYPE_CHECKING:
    from ...tasks.model import Model

_SETTINGS = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",  # nothing of a page of ours is there
    "DO_NOT_TRACK": "1",
}
# Scripts, fonts and pictures of this server alone, and no requests to any other: what the page
# shows may come from anybody.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
_HEADERS = {
    b"content-security-policy": _POLICY.encode(),
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
}
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def check_gradio() -> None:
    """Say what to install where Gradio is not there.

    Raises:
        SetupError: It is not.
    """
    if importlib.util.find_spec("gradio") is None:
        raise not_installed("Gradio", "demo", "The page")


def check_port(host: str, port: int) -> None:
    """Say where the page can't be served, before models are opened.

    Args:
        host: The address.
        port: The port.

    Raises:
        UsageError: This machine has no such address.
        SetupError: The port is taken, or must not be used.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(found[0], found[1]) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(found[4])
    except socket.gaierror as error:
        raise UsageError(f"--host '{host}': {error.strerror}.") from error
    except OSError as error:
        raise SetupError(
            f"'{host}' can't be served at port {port}: {error.strerror}. Name another --port."
        ) from error


def serve(models: Sequence[tuple[str, Model]], *, host: str, port: int, queue: int) -> None:
    """Serve the page of models until the process is interrupted.

    Args:
        models: The checkpoint of each, and itself.
        host: The address to listen at.
        port: The port.
        queue: How many requests may wait.
    """
    os.environ.update(_SETTINGS)  # read as Gradio is imported
    _let_loopback_by()
    with tempfile.TemporaryDirectory(prefix="unrolled-demo-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder

        import gradio as gr

        from .limits import ALL_UPLOADS, BODY_BYTES, UPLOAD_BYTES
        from .look import SCRIPT, STYLE
        from .page import page

        blocks = page(models, queue=queue)
        guard = (BoundedApp, (), {"folder": folder, "body": BODY_BYTES, "uploads": ALL_UPLOADS})
        _, address, _ = blocks.launch(
            server_name=host,
            server_port=port,
            prevent_thread_lock=True,
            quiet=True,
            inline=False,
            share=False,
            show_error=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            num_workers=0,
            enable_monitoring=False,
            run_history=False,
            footer_links=[],
            max_file_size=UPLOAD_BYTES,
            theme=gr.themes.Base(
                primary_hue="blue",
                font=["system-ui", "Segoe UI", "Roboto", "Noto Sans", "sans-serif"],
                font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"],
            ),
            css=STYLE,
            head=SCRIPT,
            app_kwargs={"middleware": [guard], "docs_url": None, "redoc_url": None},
        )
        print(f"{address} shows {len(models)} model(s); Ctrl-C ends it", flush=True)
        if host not in ("127.0.0.1", "localhost", "::1"):
            print("others can reach it: see docs/demo.md for what that means", file=sys.stderr)
        try:
            threading.Event().wait()  # until the command is asked to stop: see signals.py
        finally:
            blocks.close(verbose=False)


class BoundedApp:
    """Refuse what is too large before it is read, and say in each answer what a page may load.

    Args:
        app: The server's application.
        folder: Where uploads are kept.
        body: Bytes of a request at most that is no upload.
        uploads: Bytes of all uploads at most.
    """

    def __init__(self, app: Any, *, folder: str, body: int, uploads: int) -> None:
        self.app, self.folder, self.body, self.uploads = app, Path(folder), body, uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        upload = scope["path"].rstrip("/").endswith("/upload")
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if upload and self._kept() > self.uploads:
            await _refuse(send, 507, "There is no room for more files now: try again later.")
            return
        if not upload and length.isdigit() and int(length) > self.body:
            await _refuse(send, 413, f"At most {self.body:,} bytes are read.")
            return
        read = 0

        async def bounded() -> MutableMapping[str, Any]:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if not upload and read > self.body:  # its length was not said, or was wrong
                return {"type": "http.disconnect"}
            return message

        async def marked(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS.items()]
            await send(message)

        await self.app(scope, bounded, marked)

    def _kept(self) -> int:
        return sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())


async def _refuse(send: Send, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})


def _let_loopback_by() -> None:
    """Keep a proxy of the environment out of what Gradio asks its own server."""
    for name in ("NO_PROXY", "no_proxy"):
        known = os.environ.get(name, "")
        os.environ[name] = ",".join(filter(None, (known, "127.0.0.1", "localhost", "::1")))
