"""A store in a local folder: a key is a path below it.

One idea: the file system's own guarantees, used in the one order that works (`durable.py`). `create` makes
a hard link to a finished temporary file, which exactly one of any number of racing processes can do;
fsspec's local `mode="create"` looks first and opens then, and two writers can both win.

Keeps invariants 2 and 4. Unfinished files are named `.tmp-<hex>`; listings leave them out and nobody waits
for them.
"""

import contextlib
import os
import stat as modes
import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from dataver.errors import AlreadyExists, IntegrityError, NotFound
from dataver.storage.base import (
    TEMPORARY,
    BytesLike,
    Data,
    ObjectInfo,
    Pin,
    Store,
    check_key,
    check_range,
    pieces,
)
from dataver.storage.durable import (
    flush_file,
    flush_folder,
    make_folders,
    name_new,
    temporary_copy,
    temporary_file,
)
from dataver.storage.translate import translate

__all__ = ["LocalStore"]

_FLUSHERS = 4  # threads that write small files: the disk joins their flushes
_WINDOW = 256  # small objects taken from the caller at a time


class LocalStore(Store):
    """A folder behind the contract; it is made when something is first written."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()
        self.local_root = self.root
        self.url = str(self.root)
        self.exclusive_create = True
        self._made: set[Path] = set()  # folders this process has seen to be there, durably
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "exclusive_create": self.exclusive_create}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["root"])  # type: ignore[misc]  # the one way to rebuild the lock
        self.exclusive_create = state["exclusive_create"]

    def get(self, key: str, start: int | None = None, length: int | None = None) -> bytes:
        """See `Store.get`."""
        first, length = check_range(start, length)
        with self._reading(key) as file:
            size = os.fstat(file.fileno()).st_size
            wanted = max(0, size - first) if length is None else length
            if first + wanted > size:
                raise self._too_short(key, size, first + wanted)
            file.seek(first)
            data = _read_exactly(file, wanted)
            if len(data) != wanted:
                raise self._too_short(key, first + len(data), first + wanted)
            return data

    def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        """See `Store.get_tail`."""
        check_range(0, length)
        with self._reading(key) as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - length))
            return _read_exactly(file, min(length, size)), size

    def put(self, key: str, data: Data) -> None:
        """See `Store.put`."""
        final = self._path(key)
        with self._translating("write", key), self._temporary(final.parent, data) as path:
            path.replace(final)
            flush_folder(final.parent)

    def create(self, key: str, data: Data) -> None:
        """See `Store.create`."""
        final = self._path(key)
        if os.path.lexists(final):
            raise AlreadyExists(f"{key} in {self.url} exists already.")
        with self._translating("create", key), self._temporary(final.parent, data) as path:
            self._name(path, final)
            flush_folder(final.parent)

    def put_new(self, key: str, data: Data) -> None:
        """See `Store.put_new`."""
        with self._translating("write", key):
            self._place(key, data)
            flush_folder(self._path(key).parent)

    def put_file_new(self, key: str, path: Path) -> None:
        """See `Store.put_file_new`; becomes a hard link to `path` where both lie on one file system."""
        final = self._path(key)
        try:
            flush_file(path)
        except OSError as error:
            raise translate(error, doing="read", key=str(path), url="this machine") from error
        with self._translating("write", key):
            self._make(final.parent)
            with contextlib.suppress(FileExistsError):
                if not name_new(path, final):
                    with temporary_copy(final.parent, path) as copy:
                        self._name(copy, final)
            flush_folder(final.parent)

    def put_many_new(self, items: Iterable[tuple[str, BytesLike]]) -> None:
        """See `Store.put_many_new`: files are flushed side by side, then each folder once."""
        from concurrent.futures import ThreadPoolExecutor
        from itertools import islice

        source = iter(items)
        folders: set[Path] = set()

        def place(item: tuple[str, BytesLike]) -> Path:
            with self._translating("write", item[0]):
                return self._place(*item)

        with ThreadPoolExecutor(_FLUSHERS, thread_name_prefix="dataver-put") as pool:
            while window := list(islice(source, _WINDOW)):
                folders.update(pool.map(place, window))
        with self._translating("write", ""):
            for folder in sorted(folders):
                flush_folder(folder)

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        path = self._path(key)
        with self._translating("delete", key):
            try:
                path.unlink()
            except (FileNotFoundError, NotADirectoryError):
                return
            flush_folder(path.parent)

    def stat(self, key: str) -> ObjectInfo:
        """See `Store.stat`."""
        path = self._path(key)
        with self._translating("look at", key):
            try:
                status = path.stat()
            except NotADirectoryError:
                raise self._missing(key) from None
        if not modes.S_ISREG(status.st_mode):
            raise self._missing(key)
        return _info(key, status)

    def get_pinned(self, key: str, pin: Pin, start: int, length: int) -> bytes:
        """See `Store.get_pinned`; a named pipe or a device is never waited for, nor read."""
        path = self._path(key)
        with self._translating("read", key):
            try:
                fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise self._changed(key, "it is gone") from error
            with open(fd, "rb", buffering=0) as file:
                status = os.fstat(fd)
                if not modes.S_ISREG(status.st_mode):
                    raise self._changed(key, "it is no file")
                if status.st_size != pin.size:
                    raise self._changed(key, f"it has {status.st_size} bytes now and had {pin.size}")
                file.seek(start)
                data = _read_exactly(file, length)
        if len(data) != length:
            raise self._changed(key, "it is shorter now")
        return data

    def list(self, prefix: str = "", after: str | None = None) -> Iterator[ObjectInfo]:
        """See `Store.list`."""
        folder = prefix.rpartition("/")[0]
        if folder:
            check_key(folder)
        with self._translating("list", folder):
            yield from _walk(str(self.root / folder), f"{folder}/" if folder else "", prefix, after or "")

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    @contextlib.contextmanager
    def _translating(self, doing: str, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise translate(error, doing=doing, key=key, url=self.url) from error

    @contextlib.contextmanager
    def _reading(self, key: str) -> Iterator[BinaryIO]:
        path = self._path(key)
        with self._translating("read", key):
            try:
                file = path.open("rb", buffering=0)
            except (IsADirectoryError, NotADirectoryError):
                raise self._missing(key) from None
            with file:
                yield file

    @contextlib.contextmanager
    def _temporary(self, folder: Path, data: Data) -> Iterator[Path]:
        self._make(folder)
        with temporary_file(folder, pieces(data)) as path:
            yield path

    def _make(self, folder: Path) -> None:
        if folder in self._made and folder.is_dir():
            return
        make_folders(folder)
        # another process may have made these a moment ago and not flushed them yet
        for above in (folder, *folder.parents):
            if above == self.root or above in self._made:
                break
            flush_folder(above.parent)
        with self._lock:
            self._made.add(folder)

    def _place(self, key: str, data: Data) -> Path:
        final = self._path(key)
        if not final.exists():
            with (
                self._temporary(final.parent, data) as path,
                contextlib.suppress(FileExistsError),
            ):
                self._name(path, final)
        return final.parent

    def _name(self, path: Path, final: Path) -> None:
        if name_new(path, final):
            return
        # no hard links here: look first, then rename; racing writers can both win
        self.exclusive_create = False
        if os.path.lexists(final):
            raise FileExistsError(final)
        path.replace(final)

    def _missing(self, key: str) -> NotFound:
        return NotFound(f"{key} in {self.url} does not exist.")

    def _too_short(self, key: str, size: int, end: int) -> IntegrityError:
        return IntegrityError(f"{key} in {self.url} ends at byte {size}, before {end}.")


def _read_exactly(file: BinaryIO, length: int) -> bytes:
    data = file.read(length)
    while data and len(data) < length:  # one call reads at most 2 GiB
        more = file.read(length - len(data))
        if not more:
            break
        data += more
    return data


def _info(key: str, status: os.stat_result) -> ObjectInfo:
    return ObjectInfo(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))


def _walk(folder: str, above: str, prefix: str, after: str) -> Iterator[ObjectInfo]:
    try:
        with os.scandir(folder) as found:
            # "a/" sorts where its keys do: between "a-" and "a0"
            named = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in found)
    except (FileNotFoundError, NotADirectoryError):
        return  # nothing was written yet, or it was deleted meanwhile
    for name in named:
        key = above + name
        if not key.startswith(prefix[: len(key)]) or name.startswith(TEMPORARY):
            continue
        if key <= after and not (key.endswith("/") and after.startswith(key)):
            continue  # a folder that sorts before it does so with all that it holds
        if key.endswith("/"):
            yield from _walk(f"{folder}/{name[:-1]}", key, prefix, after)
        elif key.startswith(prefix):
            try:
                yield _info(key, os.stat(f"{folder}/{name}"))  # noqa: PTH116  # a third of the time of a Path's
            except FileNotFoundError:
                continue  # deleted meanwhile, or a link to nowhere
