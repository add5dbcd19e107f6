"""The example repository (`ui.example`), served by this process."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

import dataver
from dataver.serving import Server, serve

TESTS = Path(__file__).parent.parent


@dataclass
class Reply:
    """What came back."""

    status: int
    headers: Message
    text: str


@dataclass
class Pages:
    """A served repository.

    Attributes:
        repo: the repository.
        server: the server.
        reports: what it reported.
    """

    repo: dataver.Repository
    server: Server
    reports: list[str]

    def ask(self, path: str, method: str = "GET", body: str | None = None, **headers: str) -> Reply:
        """Ask on a connection of its own; `_` in names of headers stands for `-`."""
        connection = HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        try:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, given)
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read().decode())
        finally:
            connection.close()

    def page(self, name: str, /, **query: object) -> str:
        """Return the HTML of a page."""
        reply = self.ask(f"/-/{name}?{urlencode(query)}")
        assert reply.status == 200, reply.text
        return reply.text

    def document(self, name: str, /, **query: object) -> Any:
        """Return the document of a page."""
        reply = self.ask(f"/-/{name}.json?{urlencode(query)}")
        assert reply.status == 200, reply.text
        return json.loads(reply.text)


def make_example(folder: Path, versions: int) -> None:
    """Make the example in a process of its own, with lineage on."""
    hidden = {name: value for name, value in os.environ.items() if not name.startswith("DATAVER_")}
    subprocess.run(
        [sys.executable, "-m", "ui.example", str(folder), str(versions)], cwd=TESTS, env=hidden, check=True
    )


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the example, which tests do not change."""
    folder = tmp_path_factory.mktemp("example")
    make_example(folder, 40)
    return folder


@pytest.fixture
def pages(example: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pages]:
    """The example, served on a free port."""
    monkeypatch.setenv("DATAVER_CACHE", str(example / "cache"))
    monkeypatch.setenv("DATAVER_STATE", str(example / "state"))
    repo, reports = dataver.open(example / "repo"), list[str]()
    with serve(repo, port=0, report=reports.append) as server:
        yield Pages(repo, server, reports)
