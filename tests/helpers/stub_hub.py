"""As much of the Hugging Face hub as one model needs: made, uploaded, downloaded."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def stub_hub(files: dict[str, bytes]) -> Iterator[str]:
    """Serve a model's files on loopback; what is uploaded is added to them."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words):
            pass

        def answer(self, body: object, code: int = 200, **headers: str) -> None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(code)
            for name, value in {"content-length": str(len(data)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            url = f"http://{self.headers['host']}"
            if self.path == "/api/repos/create":
                self.answer({"url": f"{url}/user/model"})
            elif self.path == "/api/validate-yaml":
                self.answer({"errors": [], "warnings": []})
            elif self.path.endswith("/preupload/main"):
                asked = json.loads(body)["files"]
                found = [
                    {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for one in asked
                ]
                self.answer({"files": found})
            elif self.path.endswith("/commit/main"):
                for line in body.splitlines():
                    record = json.loads(line)
                    if record["key"] == "file":
                        value = record["value"]
                        files[value["path"]] = base64.b64decode(value["content"])
                self.answer({"commitUrl": f"{url}/user/model/commit/{COMMIT}", "commitOid": COMMIT})
            else:
                self.answer({"error": "not here"}, 404)

        def do_GET(self):
            place = self.path.partition("?")[0]
            name = place.partition(f"/resolve/{COMMIT}/")[2]
            if "/tree/" in place:
                tree = [
                    {"type": "file", "path": one, "size": len(data), "oid": "0" * 40}
                    for one, data in files.items()
                ]
                self.answer(tree)
            elif place.startswith("/api/models/user/model"):
                siblings = [{"rfilename": one} for one in files]
                self.answer({"id": "user/model", "sha": COMMIT, "siblings": siblings})
            elif place.startswith("/user/model/") and name in files:
                etag = hashlib.sha1(files[name], usedforsecurity=False).hexdigest()
                self.answer(files[name], etag=f'"{etag}"', x_repo_commit=COMMIT)
            else:
                self.answer({"error": "not here"}, 404, x_error_code="RepoNotFound")

        do_HEAD = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
