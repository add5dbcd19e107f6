"""Replies that are not the store's: a proxy's page or a refused folder is never an empty listing."""

import functools
import http.server
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import dataver
from dataver.errors import DataverError, IntegrityError, StoreError
from dataver.storage import open_store
from servers.clouds import azure_options, gcs_options

_PAGE = b'<!doctype html><title>Sign in</title><form action="https://proxy.example/login"></form>'
_BODIES = {"a web page": _PAGE, "nothing": b"", "another JSON object": b'{"login": "https://proxy.example"}'}


@contextmanager
def _serving(handler: Any) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """A web server of a folder that gives a page in the place of what `lies` chooses."""

    def __init__(self, *arguments: Any, lies: Any, **options: Any) -> None:
        self._lies = lies
        super().__init__(*arguments, **options)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def send_head(self) -> Any:
        if not self._lies(self.path):
            return super().send_head()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(_PAGE)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(_PAGE)
        return None


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a repository `repo` that has two datasets."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.bin").write_bytes(os.urandom(300_000))
    repo = dataver.init(tmp_path / "www" / "repo")
    repo.sync("photos", "vision/cats")
    (tmp_path / "photos" / "b.bin").write_bytes(b"b")
    repo.sync("photos", "dogs")
    return tmp_path / "www"


@pytest.mark.parametrize("lie", ["", "vision/", "dogs/versions/"])
def test_a_page_is_no_index_page(folder: Path, lie: str) -> None:
    """Neither all datasets nor one of them are missing where a folder's index page is something else."""
    handler = functools.partial(
        _Quiet, directory=str(folder), lies=lambda path: path == f"/repo/datasets/{lie}"
    )
    with _serving(handler) as address:
        repo = dataver.open(f"{address}/repo")
        with pytest.raises(StoreError, match="not a listing") as caught:
            repo.datasets()
        assert "proxy" in str(caught.value.hint)


def test_an_index_page_without_names_is_an_empty_folder(folder: Path) -> None:
    """And a folder that no index page names is not there."""
    (folder / "repo" / "datasets" / "birds").mkdir()
    with _serving(functools.partial(_Quiet, directory=str(folder), lies=lambda _: False)) as address:
        store = open_store(f"{address}/repo")
        assert list(store.list("datasets/birds/")) == list(store.list("index/a/b/")) == []


@pytest.mark.parametrize("kind", ["packs", "trees", "datasets"])
def test_a_page_in_place_of_an_object_is_called_that(folder: Path, kind: str) -> None:
    """It is not called missing: the sentence says that a proxy may have sent it."""

    def lies(path: str) -> bool:
        return path.startswith(f"/repo/{kind}/") and not path.endswith("/")

    with _serving(functools.partial(_Quiet, directory=str(folder), lies=lies)) as address:
        repo = dataver.open(f"{address}/repo")
        with pytest.raises(DataverError, match="is a web page") as caught:
            repo.fetch("vision/cats", dest="out")
        assert "missing" not in str(caught.value)


def test_a_page_in_place_of_a_range_is_called_that() -> None:
    """A bucket's object that ends before the range does may be none."""

    class Handler(_Quiet):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, lies=lambda _: True)

    with _serving(Handler) as address:
        store = open_store("s3://bucket/r", {"endpoint_url": address, "key": "k", "secret": "s"})
        with pytest.raises(IntegrityError, match="is a web page"):
            store.get("packs/a", 100, 1000)


@pytest.mark.parametrize("body", _BODIES)
@pytest.mark.parametrize("cloud", ["gcs", "azure"])
def test_clouds_do_not_list_foreign_replies(cloud: str, body: str) -> None:
    """Google's and Azure's clients raise, or are held to the form of a listing."""
    pytest.importorskip({"gcs": "gcsfs", "azure": "adlfs"}[cloud])

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(_BODIES[body])))
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            self.wfile.write(_BODIES[body])

        def log_message(self, *_: object) -> None:
            pass

    with _serving(Handler) as address:
        url, options = {
            "gcs": ("gs://b/r", gcs_options(address)),
            "azure": ("abfs://b/r", azure_options(address)),
        }[cloud]
        with pytest.raises(StoreError):
            list(open_store(url, options).list("datasets/"))
