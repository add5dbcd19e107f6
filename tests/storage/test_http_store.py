"""A repository that a web server shows: opened, listed, fetched and verified; never written."""

import functools
import http.server
import os
import pickle
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import dataver
from dataver.errors import IntegrityError, NotFound, StoreError
from dataver.storage import open_store


class _Plain(http.server.SimpleHTTPRequestHandler):
    """Python's own: index pages, no ranges."""

    log: list[str]

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.log.append(f"{self.path} {self.headers.get('Range', '')}".strip())
        super().do_GET()


class _Ranges(_Plain):
    """One that knows ranges, as nginx, Caddy and Apache do."""

    def do_GET(self) -> None:
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if found is None or not path.is_file():
            super().do_GET()
            return
        self.log.append(f"{self.path} {self.headers['Range']}")
        data, first = path.read_bytes(), int(found[1])
        last = min(int(found[2] or len(data)), len(data) - 1)
        if first > last:
            self.send_error(416)
            return
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        self.wfile.write(data[first : last + 1])


class _NoIndex(_Ranges):
    """One that shows files, and 403 for folders."""

    def list_directory(self, path: str | os.PathLike[str]) -> Any:
        self.send_error(403)


class _Forbidding(_Plain):
    """One that shows nothing."""

    def send_head(self) -> Any:
        self.send_error(403)


@contextmanager
def _serving(folder: Path, kind: type[_Plain]) -> Iterator[tuple[str, list[str]]]:
    log: list[str] = []
    handler = type("Handler", (kind,), {"log": log})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=folder))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", log
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds a repository `repo` with two versions and a tag, served as it is."""
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "photos"
    source.mkdir()
    repo = dataver.init(tmp_path / "www" / "repo")
    for number in range(2):
        (source / f"{number}.bin").write_bytes(os.urandom(300_000))
        (source / f"{number}.txt").write_bytes(b"small")
        repo.sync(source, "vision/cats")
    repo.tag("vision/cats@1.0.0", "first")
    return tmp_path / "www"


@pytest.mark.parametrize("kind", [_Plain, _Ranges])
def test_a_served_repository_is_listed_fetched_and_verified(
    folder: Path, tmp_path: Path, kind: type[_Plain]
) -> None:
    """All that only reads works over HTTP, whether or not the server knows ranges."""
    with _serving(folder, kind) as (address, log):
        repo = dataver.open(f"{address}/repo")
        assert [(one.name, one.versions) for one in repo.datasets()] == [("vision/cats", 2)]
        assert repo.version("vision/cats@first").label == "1.0.0"
        report = repo.fetch("vision/cats", dest=tmp_path / "out")
        assert (report.files, report.problems) == (4, [])
        for path in (tmp_path / "photos").iterdir():
            assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
        assert repo.verify("vision/cats@latest").ok
        with pytest.raises(NotFound, match="no dataset 'vision/dogs'"):
            repo.version("vision/dogs")
        packs = [line for line in log if "/packs/" in line]
        assert any("bytes=" in line for line in packs)


def test_a_server_without_index_pages_says_so(folder: Path) -> None:
    """Nothing listed is not nothing there: the sentence names the server's setting."""
    with _serving(folder, _NoIndex) as (address, _):
        repo = dataver.open(f"{address}/repo")
        with pytest.raises(StoreError, match="no index pages") as caught:
            repo.version("vision/cats")
        assert "autoindex" in str(caught.value.hint)
        with pytest.raises(NotFound, match="not a dataver repository"):
            dataver.open(f"{address}/elsewhere")


def test_a_served_repository_is_never_written(folder: Path, tmp_path: Path) -> None:
    """An upload ends with a sentence, and `init` does, too."""
    with _serving(folder, _Plain) as (address, _):
        repo = dataver.open(f"{address}/repo")
        with pytest.raises(StoreError, match="read-only"):
            repo.tag("vision/cats", "production")
        with pytest.raises(StoreError, match="read-only"):
            dataver.init(f"{address}/new")


@pytest.mark.parametrize("kind", [_Plain, _Ranges])
def test_ranges_are_exact(tmp_path: Path, kind: type[_Plain]) -> None:
    """Any range gives its bytes, one past the end an error; without ranges an object is fetched once."""
    (tmp_path / "packs").mkdir()
    (tmp_path / "packs" / "a").write_bytes(bytes(range(200)))
    with _serving(tmp_path, kind) as (address, log):
        store = open_store(address)
        read: Callable[..., bytes] = store.get
        assert read("packs/a", 10, 20) == bytes(range(10, 30))
        assert read("packs/a", 190) == bytes(range(190, 200))
        assert read("packs/a", 0, 200) == read("packs/a") == bytes(range(200))
        assert read("packs/a", 5, 0) == b""
        assert store.get_tail("packs/a", 7) == (bytes(range(193, 200)), 200)
        assert sum("/packs/a" in line for line in log) <= (3 if kind is _Plain else 6)
        with pytest.raises(IntegrityError):
            read("packs/a", 190, 20)
        with pytest.raises(NotFound):
            read("packs/b", 0, 1)
        again = pickle.loads(pickle.dumps(store))
        assert again.get("packs/a", 1, 2) == b"\x01\x02"


def test_a_refusal_is_not_taken_for_absence(tmp_path: Path) -> None:
    """What the server forbids is not "not there", which its size is asked by, too."""
    with _serving(tmp_path, _Forbidding) as (address, _):
        for look in (lambda store: store.stat("packs/a"), lambda store: store.get("packs/a", 0, 5)):
            with pytest.raises(StoreError, match="403"):
                look(open_store(address))
