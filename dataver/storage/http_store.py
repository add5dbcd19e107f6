"""A repository that a web server shows: read-only, through fsspec's HTTP file system.

One idea: a published repository is a folder of files that never change, so any web server can give it away.
What web servers differ in is met here: one that knows no ranges sends the whole object, which is kept for the
next range of it; one without index pages cannot be listed, and that is said instead of "nothing there".
"""

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Never
from urllib.parse import quote, unquote

from dataver.errors import NotFound, StoreError
from dataver.storage.base import Data, ObjectInfo, check_key, check_range
from dataver.storage.fsspec_store import FsspecStore

__all__ = ["HttpStore"]

_ROOT_MARK = "dataver.json"
_ASKING = 16  # questions at once


class HttpStore(FsspecStore):
    """The reading half of the contract on `http://` and `https://`; writing raises a `StoreError`."""

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        super().__init__(url, storage_options)
        self._ranges = True  # until the server shows that it knows none
        self._whole: tuple[str, bytes] = ("", b"")  # the object that it sent last
        self._whole_turn = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_whole_turn": None, "_whole": ("", b"")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._whole_turn = threading.Lock()

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
            if len(data) != size:  # a short or strange reply: the parent tries again, and says which
                return super().get(key, start, length)
            self._ranges = False
            self._whole = (key, data)
        with self._whole_turn:  # a pack is below 100 MB, and is mostly read from one end to the other
            if self._whole[0] != key:
                self._whole = (key, super().get(key))
            data = self._whole[1]
        end = len(data) if length is None else first + length
        if max(first, end) > len(data):
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
        """See `Store.list`; sizes are asked for by `stat`, as index pages do not say them exactly.

        Raises:
            StoreError: the server shows no index pages.
        """
        folder = prefix.rpartition("/")[0]
        found = sorted(self._below(folder))
        if not found and _ROOT_MARK not in self._names(""):
            raise StoreError(
                f"{self.url} cannot be listed: the web server shows no index pages.",
                hint="turn them on there (nginx: autoindex on; Apache: Options +Indexes), or make a copy of "
                "the repository with another tool",
            )
        wanted = [key for key in found if key.startswith(prefix) and (after is None or key > after)]
        with ThreadPoolExecutor(_ASKING, thread_name_prefix="dataver-list") as pool:
            yield from list(pool.map(self.stat, wanted))

    def _below(self, folder: str) -> Iterator[str]:
        """Yield the keys below a folder, an index page a folder."""
        for name in self._names(folder):
            path = f"{folder}/{name}" if folder else name
            if name.endswith("/"):
                yield from self._below(path.rstrip("/"))
            else:
                yield path

    def _names(self, folder: str) -> set[str]:
        """Return the names in a folder's index page; folders end in a slash. Empty where there is no page."""
        here = f"{self._address}/{quote(folder)}/" if folder else f"{self._address}/"

        def look(_left: float) -> set[str]:
            file_system, _ = self._client()
            with self._translating("list", folder):
                file_system.invalidate_cache()
                try:
                    links = file_system.ls(here, detail=False)
                except FileNotFoundError:
                    return set()
            inside = (link.partition("?")[0].partition("#")[0] for link in links)
            names = {unquote(link[len(here) :]) for link in inside if link.startswith(here)}
            return {
                name for name in names if name and "/" not in name.rstrip("/") and not name.startswith(".")
            }

        try:
            return self._retry(look)
        except NotFound:
            return set()
        except StoreError as error:
            if error.transient:
                raise
            return set()  # index pages are forbidden: an empty listing, which `list` looks at again

    def put(self, key: str, data: Data) -> None:  # noqa: ARG002  # the contract's
        """Refuse."""
        self._refuse(key)

    def create(self, key: str, data: Data) -> None:  # noqa: ARG002  # the contract's
        """Refuse."""
        self._refuse(key)

    def delete(self, key: str) -> None:
        """Refuse."""
        self._refuse(key)

    def _refuse(self, key: str) -> Never:
        raise StoreError(
            f"{key} cannot be written: {self.url} is a web address, which is only read.",
            hint="write to the repository where the web server has it from (a folder, s3://, sftp://)",
        )
