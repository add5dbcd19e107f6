"""A server with the batch API of git-lfs."""

import contextlib
import hashlib
import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class LfsServer(ThreadingHTTPServer):
    """Objects by their SHA-256, and what was asked for.

    Attributes:
        objects: bytes by SHA-256.
        login: "user:password" that a batch needs; "" for none.
        batches: numbers of objects in each request.
        key: part of the addresses; with another one, old addresses have expired.
        answer: the answer to a batch instead of the right one.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.login, self.key = "", "1"
        self.batches: list[int] = []
        self.answer: bytes | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def keep(self, data: bytes) -> bytes:
        """Keep an object; return its pointer."""
        self.objects[hashlib.sha256(data).hexdigest()] = data
        return pointer(data)


def pointer(data: bytes) -> bytes:
    """Return the pointer to these bytes."""
    oid = hashlib.sha256(data).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(data)}\n".encode()


class _Handler(BaseHTTPRequestHandler):
    server: LfsServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        login = b64encode(self.server.login.encode()).decode()
        if self.server.login and self.headers["Authorization"] != f"Basic {login}":
            self._send(401, b"")
            return
        assert self.path == "/cats.git/info/lfs/objects/batch"
        assert self.headers["Accept"] == "application/vnd.git-lfs+json"
        self.server.batches.append(len(body["objects"]))
        found = []
        for each in body["objects"]:
            if each["oid"] in self.server.objects:
                href = f"{self.server.url}/{self.server.key}/{each['oid']}"
                action = {"download": {"href": href, "header": {"X-Pass": "yes"}}}
                found.append({**each, "actions": action})
            else:
                found.append({**each, "error": {"code": 404, "message": "Object does not exist"}})
        self._send(200, self.server.answer or json.dumps({"objects": found}).encode())

    def do_GET(self) -> None:
        _, key, oid = self.path.split("/")
        if key != self.server.key or self.headers["X-Pass"] != "yes":
            self._send(403, b"")
        else:
            self._send(200, self.server.objects[oid])

    def _send(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.git-lfs+json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextlib.contextmanager
def lfs_server() -> Iterator[LfsServer]:
    """Run a server."""
    with LfsServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
