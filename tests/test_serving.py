"""The web server of the page on serving answers whatever is sent to it."""

from __future__ import annotations

import json
import socket
import threading
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
from app_models import write_models
from pages import blocks


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """The port of the page's own server, with a small model where the page has its run."""
    folder = tmp_path_factory.mktemp("serving")
    write_models(folder)
    ran = folder / "runs/translation/1/checkpoints"
    ran.mkdir(parents=True)
    (folder / "translation.ckpt").rename(ran / "best.ckpt")
    (code,) = [block for block in blocks("docs/howto/serving.md", "python") if "Server" in block]
    names: dict[str, object] = {"__name__": "page"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(Path(folder))
        exec(compile(code, "serving.md", "exec"), names)
    names["Translate"].log_message = lambda *_: None
    with names["ThreadingHTTPServer"](("127.0.0.1", 0), names["Translate"]) as server:
        threading.Thread(target=server.serve_forever).start()
        yield server.server_port
        server.shutdown()


def answered(port: int, body: bytes, **headers: str) -> tuple[HTTPResponse, object]:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/", body, headers)
    response = connection.getresponse()
    content = json.loads(response.read())
    connection.close()
    return response, content


def test_sentences_are_translated_while_another_client_says_nothing(port):
    with socket.create_connection(("127.0.0.1", port)):
        response, content = answered(port, b'["ein hund", ""]')
    assert response.status == 200
    assert isinstance(content, list)
    assert len(content) == 2
    assert content[1] == ""


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"\xff", b"null", b"5", b'"ein hund"', b'{"a": 1}', b"[5]", b'[["a"]]'),
        *(b"[" * 50_000, b'"' + b"a" * 100_000, json.dumps(["a"] * 65).encode()),
        json.dumps(["a " * 3000]).encode(),
    ],
    ids=lambda body: body[:8].decode("latin-1"),
)
def test_what_can_not_be_translated_is_answered_with_a_sentence(port, body):
    response, content = answered(port, body)
    assert response.status == 400
    assert list(content) == ["error"]
    assert len(content["error"]) > 9


@pytest.mark.parametrize("length", ["-5", "abc", str(10**9)])
def test_a_wrong_length_is_answered_too(port, length):
    response, content = answered(port, b"[]", **{"Content-Length": length})
    assert (response.status, list(content)) == (400, ["error"])
