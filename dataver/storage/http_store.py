"""A repository on a web server: read-only, through fsspec's HTTP file system.

The idea: a published repository is a folder of immutable files, so any web server can serve it. Differences
of web servers are handled here. A server without ranges sends the whole object, which is kept for the next
range of it. A server without index pages cannot be listed, which is an error and not an empty listing.
"""

import contextlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from html import unescape
from typing import Any, Never
from urllib.parse import quote, unquote, urljoin

from dataver import parallel
from dataver.errors import NotFound, StoreError
from dataver.storage.base import Data, ObjectInfo, check_key, check_range
from dataver.storage.fsspec_store import FsspecStore
from dataver.web_page import refuse_web_page

# Imports in functions: aiohttp is needed when a client is made.

__all__ = ["HttpStore"]

_ROOT_MARK = "dataver.json"
_PAGES = 3  # attempts to load a folder's page while it is not an index page
_LINK = re.compile(r"""<a\s[^>]*?href\s*=\s*["']?([^"'\s>]+)""", re.IGNORECASE)
_INDEX = re.compile(r"\b(index of|directory listing)\b", re.IGNORECASE)


class HttpStore(FsspecStore):
    """The reading part of the contract on `http://` and `https://`; writing raises a `StoreError`.

    Args:
        url: the address.
        storage_options: passed to fsspec's file system.
        on_redirect: called with the URL of a redirect before it is followed; raises a `StoreError` to refuse
            it.
    """

    def __init__(
        self,
        url: str,
        storage_options: Mapping[str, Any] | None = None,
        on_redirect: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(url, storage_options)
        self._on_redirect = on_redirect
        self._ranges = True  # until the server ignores a range
        self._whole: tuple[str, bytes] = ("", b"")  # the object that it sent last
        self._whole_turn = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_whole_turn": None, "_whole": ("", b"")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._whole_turn = threading.Lock()

    def _client_options(self) -> dict[str, Any]:
        options, check = super()._client_options(), self._on_redirect
        if check is None:
            return options
        from aiohttp import TraceConfig
        from yarl import URL

        async def redirected(_session: Any, _context: Any, seen: Any) -> None:
            headers = seen.response.headers
            try:
                check(str(seen.response.url.join(URL(headers.get("Location") or headers.get("URI", "")))))
            except BaseException:
                seen.response.close()
                raise

        tracing = TraceConfig()
        tracing.on_request_redirect.append(redirected)
        given = options.get("client_kwargs") or {}
        traces = {"trace_configs": [*given.get("trace_configs", ()), tracing]}
        return options | {"client_kwargs": given | traces}

    @contextlib.contextmanager
    def _translating(self, doing: str, key: str) -> Iterator[None]:
        with super()._translating(doing, key):
            try:
                yield
            except FileNotFoundError as error:
                cause = error.__cause__  # fsspec reports any failure as a missing file
                raise error if cause is None or isinstance(cause, FileNotFoundError) else cause from None

    def get(self, key: str, start: int | None = None, length: int | None = None) -> bytes:
        """See `Store.get`."""
        first, length = check_range(start, length)
        check_key(key)
        if start is None and length is None:
            return super().get(key)
        if self._ranges:
            data = self._fetch(key, first, length)
            if length is not None and len(data) == length:
                return data
            size = self.stat(key).size
            if length is None and len(data) == size - first:
                return data
            if (
                len(data) != size
            ):  # a short or unexpected reply: the parent repeats the request and reports the error
                return super().get(key, start, length)
            self._ranges = False
            self._whole = (key, data)
        with self._whole_turn:  # a pack is below 100 MB, and is mostly read from one end to the other
            if self._whole[0] != key:
                self._whole = (key, super().get(key))
            data = self._whole[1]
        end = len(data) if length is None else first + length
        if max(first, end) > len(data):
            refuse_web_page(data, f"{key} in {self.url}")
            raise self._too_short(key, len(data), max(first, end))
        return data[first:end]

    def _fetch(self, key: str, first: int, length: int | None) -> bytes:
        if length == 0:
            self._check_start(key, first)
            return b""

        def read(_left: float) -> bytes:
            file_system, root = self._client()
            end = None if length is None else first + length
            with self._translating("read", key):
                return bytes(file_system.cat_file(f"{root}/{quote(key)}", start=first, end=end))

        return self._retry(read)

    def list(self, prefix: str = "", after: str | None = None) -> Iterator[ObjectInfo]:
        """See `Store.list`; `stat` provides sizes, as index pages do not state them exactly.

        Raises:
            StoreError: the server shows no index pages.
        """
        folder = prefix.rpartition("/")[0]
        found = sorted(self._below(folder))
        if not found:
            self._check_absence(folder)
        wanted = [key for key in found if key.startswith(prefix) and (after is None or key > after)]
        with parallel.pool(parallel.REQUESTS, "list") as pool:
            yield from list(pool.map(self.stat, wanted))

    def _below(self, top: str) -> Iterator[str]:
        """Yield the keys below a folder, with one request per folder."""
        ahead = [top]
        while ahead:
            folder = ahead.pop()
            for name in self._names(folder) or ():
                path = f"{folder}/{name}" if folder else name
                if name.endswith("/"):
                    ahead.append(path.rstrip("/"))
                else:
                    yield path

    def _check_absence(self, folder: str) -> None:
        """Check that the index pages above an absent folder do not list it."""
        while folder:
            there = self._names(folder) is not None
            folder, _, name = folder.rpartition("/")
            if not there and f"{name}/" in (self._names(folder) or ()):
                raise self._no_listing(f"{folder}/{name}".strip("/"))
        if _ROOT_MARK not in (self._names("") or ()):
            raise self._no_index()

    def _no_index(self) -> StoreError:
        return StoreError(
            f"{self.url} cannot be listed: the web server shows no index pages.",
            hint="turn them on there (nginx: autoindex on; Apache: Options +Indexes), or make a copy of "
            "the repository with another tool",
        )

    def _names(self, folder: str) -> set[str] | None:
        """Return the names in a folder's index page; folders end in a slash. None if there is no page.

        Raises:
            StoreError: pages are forbidden, or the reply is not an index page.
        """
        here = f"{self._address}/{quote(folder)}/" if folder else f"{self._address}/"

        def load(_left: float) -> str:
            file_system, _ = self._client()
            with self._translating("list", folder):
                return bytes(file_system.cat_file(here)).decode("utf-8", "replace")

        for _ in range(_PAGES):
            try:
                names = _index_names(self._retry(load), here)
            except NotFound:
                return None
            except StoreError as error:
                if error.transient:
                    raise
                raise self._no_index() from error
            if names is not None:
                return names
        raise self._no_listing(folder)

    def put(self, key: str, data: Data) -> None:  # noqa: ARG002  # the contract's
        """Raise an error: the store is read-only."""
        self._refuse(key)

    def create(self, key: str, data: Data) -> None:  # noqa: ARG002  # the contract's
        """Raise an error: the store is read-only."""
        self._refuse(key)

    def delete(self, key: str) -> None:
        """Raise an error: the store is read-only."""
        self._refuse(key)

    def _refuse(self, key: str) -> Never:
        raise StoreError(
            f"{key} cannot be written: {self.url} is a web address, which is read-only.",
            hint="write to the repository that the web server serves (a folder, s3://, sftp://)",
        )


def _index_names(page: str, here: str) -> set[str] | None:
    """Return the names in an index page of the folder at a URL, None if the page is not one."""
    links = [
        urljoin(here, unescape(link)).partition("?")[0].partition("#")[0] for link in _LINK.findall(page)
    ]
    names = {unquote(link[len(here) :]) for link in links if link.startswith(here)}
    # an empty folder's page links to its parent, or names itself an index
    above = here.rstrip("/").rpartition("/")[0] + "/"
    if not any(names) and above not in links and not _INDEX.search(page):
        return None
    return {name for name in names if name and "/" not in name.rstrip("/") and not name.startswith(".")}
