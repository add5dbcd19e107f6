"""A repository that is served by this process, and a client that hides nothing."""

import random
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest

import dataver
from copies import Copy
from dataver.serving import Server, serve

NOISE = random.Random(5).randbytes(3_000_000)
STRANGE = (
    "<img src=x onerror=alert(1)>.html",
    "a b%20c#d?e&f.txt",
    "quote'\"quote",
    "grüße ☃.txt",
    "javascript:alert(1)",
    "C:drive",
    "back`tick;semi",
)


@dataclass
class Reply:
    """What came back."""

    status: int
    headers: Message
    body: bytes


@dataclass
class World:
    """A served repository.

    Attributes:
        repo: the repository.
        source: the folder that `vision/cats@1.0.0` was made from.
        server: the server.
        reports: what it reported.
    """

    repo: dataver.Repository
    source: Path
    server: Server
    reports: list[str] = field(default_factory=list)

    def connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.server.port, timeout=120)

    def ask(self, path: str, method: str = "GET", **headers: str) -> Reply:
        """Ask on a connection of its own; `_` in names of headers stands for `-`."""
        connection = self.connect()
        try:
            return exchange(connection, path, method, **headers)
        finally:
            connection.close()

    def raw(self, data: bytes) -> bytes:
        """Send bytes, and return all that comes until the server closes."""
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=120) as plain:
            plain.sendall(data)
            plain.shutdown(socket.SHUT_WR)
            received = b""
            while part := plain.recv(65536):
                received += part
            return received


def exchange(connection: HTTPConnection, path: str, method: str = "GET", **headers: str) -> Reply:
    """Ask on a connection that is open."""
    connection.request(
        method, path, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )
    response: HTTPResponse = connection.getresponse()
    return Reply(response.status, response.headers, response.read())


def publish(folder: Path) -> None:
    """Publish `vision/cats@1.0.0` and 1.1.0 (production), and `words`."""
    source = folder / "source"
    contents = {
        "large.bin": NOISE,
        "labels.csv": b"".join(b"%d,cat\n" % number for number in range(50_000)),
        "train/a/deep.txt": b"deep",
        "nothing": b"",
        **{f"strange/{name}": name.encode() for name in STRANGE},
    }
    for name, content in contents.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (source / "empty").mkdir()
    (source / "link").symlink_to("large.bin")
    repo = dataver.init(folder / "repo")
    repo.sync(source, "vision/cats", workspace=folder / "work", message="<b>first</b>")
    (source / "labels.csv").write_bytes(b"0,dog\n")
    repo.sync(source, "vision/cats", workspace=folder / "work", label="1.1.0")
    repo.tag("vision/cats@1.1.0", "production")
    repo.sync(source / "train", "words", workspace=folder / "work")
    (source / "labels.csv").write_bytes(contents["labels.csv"])


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copy_of: Copy) -> Iterator[World]:
    """`vision/cats@1.0.0` and 1.1.0 (production), and `words`, served on a free port."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    copy_of(publish, tmp_path)
    made = World(dataver.open(tmp_path / "repo"), tmp_path / "source", None)  # type: ignore[arg-type]
    with serve(made.repo, port=0, report=made.reports.append) as made.server:
        yield made
