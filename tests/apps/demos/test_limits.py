"""What is too large is refused before it is read, and what is no upload is not opened."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from unrolled.apps.demos import limits
from unrolled.apps.demos.limits import problem, uploaded, within
from unrolled.apps.demos.serving import BoundedApp, check_port
from unrolled.apps.demos.sessions import Sessions
from unrolled.errors import DataError, SetupError, UsageError


def answer(guard: BoundedApp, path: str, chunks: list[bytes], length: int | None = None) -> dict:
    """What a request is answered, and how much of it the application has read."""
    found: dict[str, Any] = {"read": 0, "gone": False}
    waiting = [
        {"type": "http.request", "body": chunk, "more_body": number + 1 < len(chunks)}
        for number, chunk in enumerate(chunks)
    ]

    async def app(scope, receive, send):
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                found["gone"] = True
                return
            found["read"] += len(message["body"])
            if not message["more_body"]:
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive():
        return waiting.pop(0)

    async def send(message):
        found.update({key: message[key] for key in ("status", "headers") if key in message})

    guard.app = app
    headers = [] if length is None else [(b"content-length", str(length).encode())]
    asyncio.run(guard({"type": "http", "path": path, "headers": headers}, receive, send))
    return found


def test_a_large_request_is_not_read(tmp_path):
    guard = BoundedApp(None, folder=str(tmp_path), body=10, uploads=100)
    assert answer(guard, "/gradio_api/queue/join", [b"12345"], 5)["status"] == 200
    refused = answer(guard, "/gradio_api/queue/join", [b"1" * 11], 11)
    assert (refused["status"], refused["read"]) == (413, 0)
    # one that does not say how long it is, or lies
    for said in (None, 5):
        found = answer(guard, "/gradio_api/queue/join", [b"123456"] * 9, said)
        assert found["gone"]
        assert found["read"] <= 10


def test_uploads_end_where_there_is_no_room(tmp_path):
    guard = BoundedApp(None, folder=str(tmp_path), body=10, uploads=100)
    assert answer(guard, "/gradio_api/upload", [b"1" * 60], 60)["status"] == 200
    (tmp_path / "a").mkdir()
    (tmp_path / "a/one").write_bytes(b"1" * 101)
    assert answer(guard, "/gradio_api/upload", [b"1" * 60], 60)["status"] == 507


def test_each_answer_says_that_the_page_loads_nothing_from_elsewhere(tmp_path):
    guard = BoundedApp(None, folder=str(tmp_path), body=10, uploads=100)
    headers = dict(answer(guard, "/", [b""])["headers"])
    policy = headers[b"content-security-policy"].decode()
    assert policy.startswith("default-src 'self';")
    assert "http" not in policy
    assert "*" not in policy


def test_only_uploads_are_opened_and_they_are_removed(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "here"))
    inside, outside = tmp_path / "here/a.png", tmp_path / "secret.png"
    inside.parent.mkdir()
    for file in (inside, outside):
        file.write_bytes(b"12345")
    link = inside.with_name("link.png")
    link.symlink_to(outside)
    for name in (outside, link, tmp_path / "here/../secret.png"):
        with pytest.raises(DataError, match="no file that was uploaded"), uploaded(str(name)):
            pass
    assert outside.exists()
    with pytest.raises(DataError, match="at most"), uploaded(str(inside), 4):
        pass
    assert not inside.exists()
    with pytest.raises(DataError, match="choose it again"), uploaded(str(inside)):
        pass


def test_messages_name_the_file_and_not_its_place(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    (tmp_path / "a.png").write_bytes(b"no image")

    def read(path: Path) -> None:
        raise DataError(f"'{path}' is no image.")

    with (
        pytest.raises(DataError, match=r"^'a.png' is no image"),
        uploaded(str(tmp_path / "a.png")) as path,
    ):
        read(path)


def test_long_texts_are_refused_whoever_sends_them():
    assert within("a" * limits.TEXT)
    with pytest.raises(DataError, match="1,001 characters; at most 1,000"):
        within("a" * (limits.TEXT + 1))


def test_what_a_message_quotes_is_text():
    assert "<b>" not in problem(DataError("'<b>' is no image."))


def test_there_is_room_for_so_many_visitors():
    made: list[int] = []
    sessions = Sessions(lambda: made.append(1) or len(made))
    assert sessions["first"] == sessions["first"] == 1
    for number in range(limits.SESSIONS):
        sessions[str(number)]
    assert sessions["first"] > 1  # forgotten, and begun anew
    sessions.forget("first")
    assert sessions["first"] == len(made)


def test_a_port_that_is_taken_is_told():
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SetupError, match="Name another --port"):
            check_port("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(SetupError):
        check_port("192.0.2.1", 7860)  # an address that no machine has
    with pytest.raises(UsageError, match="--host"):
        check_port("no such host", 7860)
