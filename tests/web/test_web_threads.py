"""A store of which some requests hang: few threads wait for it, and all others are answered."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from threading import Event

import pytest

import dataver
from dataver.serving import Server, serve
from dataver.storage.local import LocalStore
from dataver.web import app, threads


class Hanging:
    """A repository that does not answer all requests.

    Attributes:
        server: its server.
        answer: the store answers from then on.
    """

    def __init__(self, server: Server, answer: Event) -> None:
        self.server, self.answer = server, answer

    def ask(self, path: str) -> tuple[int, str]:
        """Return the status and the body."""
        connection = HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        try:
            connection.request("GET", path)
            reply = connection.getresponse()
            return reply.status, reply.read().decode()
        finally:
            connection.close()


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    """Two datasets, of which the store does not list the tags of `slow`."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(threads, "SAME", 2)
    monkeypatch.setattr(app, "_PAGES", 4)
    source, answer = tmp_path / "source", Event()
    source.mkdir()
    (source / "a.txt").write_text("text")
    repo = dataver.init(tmp_path / "repo")
    for name in ("quick", "slow"):
        repo.sync(source, name, workspace=tmp_path / "work" / name)
    for method in ("get", "list", "get_bounded"):
        found = getattr(LocalStore, method)

        def hang(self, key="", *given, found=found, **named):
            if "slow/tags" in key:
                answer.wait()
            return found(self, key, *given, **named)

        monkeypatch.setattr(LocalStore, method, hang)
    with serve(dataver.open(tmp_path / "repo"), port=0, report=lambda _: None) as server:
        made = Hanging(server, answer)
        assert made.ask("/-/version?ref=quick")[0] == 200  # imports and templates take their time
        monkeypatch.setattr(threads, "PATIENCE", 0.5)
        yield made
        answer.set()


def test_a_page_that_hangs_is_an_error_and_others_are_answered(hanging: Hanging) -> None:
    """However often it is loaded again; its threads are few."""
    before = threading.active_count()
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(hanging.ask, ["/-/version?ref=slow"] * 6))
    assert {status for status, _ in found} == {502}
    assert "the repository has not answered" in found[0][1].lower()
    assert "<nav" in found[0][1]
    for _ in range(10):
        assert hanging.ask("/-/version?ref=slow")[0] == 502
        assert hanging.ask("/-/version?ref=quick")[0] == 200
    assert threading.active_count() - before <= 6 + 4
    status, text = hanging.ask("/-/version.json?ref=slow")
    assert (status, "has not answered" in json.loads(text)["error"]["message"]) == (502, True)


def test_all_is_well_when_the_store_answers_again(hanging: Hanging) -> None:
    """Addresses that hung, and more of them than there are threads; meanwhile there are files."""
    paths = [f"/-/version?ref=slow&path=a.txt&line={number}" for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        assert {status for status, _ in pool.map(hanging.ask, paths)} == {502}
    assert hanging.ask("/-/static/page.js")[0] == 200
    assert hanging.ask("/slow@1.0.0/a.txt") == (200, "text")
    assert hanging.ask("/-/runs")[0] == 502
    hanging.answer.set()
    for path in (*paths, "/-/runs"):
        for _ in range(100):  # the threads end one by one
            if hanging.ask(path)[0] == 200:
                break
        assert hanging.ask(path)[0] == 200
