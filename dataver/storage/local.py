"""A store in a local folder: a key is a path below it.

The idea: use the file system's own guarantees in the order that `durable.py` describes. `create` makes a hard
link to a finished temporary file, in which exactly one of any number of racing processes succeeds. fsspec's
local `mode="create"` checks first and opens then, so two writers can both win.

Keeps invariants 2 and 4. Unfinished files are named `.tmp-<hex>`; listings omit them.
"""

import contextlib
import os
import stat as modes
import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from dataver import parallel
from dataver.errors import AlreadyExists, IntegrityError, NotFound
from dataver.storage.base import (
    MAX_KEY,
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
from dataver.user import expand_user

__all__ = ["LocalStore"]

_WINDOW = 256  # small objects taken from the caller at a time


class LocalStore(Store):
    """The store contract in a folder; the folder is made by the first write."""

    def __init__(self, root: Path) -> None:
        self.root = expand_user(root).absolute()
        self.local_root = self.root
        self.url = str(self.root)
        self.exclusive_create = True
        self._made: set[Path] = set()  # folders that are known to exist, durably
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "exclusive_create": self.exclusive_create}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["root"])  # type: ignore[misc]  # the one way to rebuild the lock
        self.exclusive_create = state["exclusive_create"]

    @property
    def location(self) -> str:
        """See `Store.location`."""
        return os.path.realpath(self.root)

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

    def get_bounded(self, key: str, most: int) -> bytes:
        """See `Store.get_bounded`."""
        with self._reading(key) as file:
            size = os.fstat(file.fileno()).st_size
            if size > most:
                raise self._too_long(key, size, most)
            return _read_exactly(file, size)

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

    def put_new(self, key: str, data: Data) -> bool:
        """See `Store.put_new`."""
        with self._translating("write", key):
            written = self._place(key, data)
            flush_folder(self._path(key).parent)
        return written

    def put_file_new(self, key: str, path: Path) -> bool:
        """See `Store.put_file_new`; makes a hard link to `path` if both are on one file system."""
        final = self._path(key)
        try:
            flush_file(path)
        except OSError as error:
            raise translate(error, doing="read", key=str(path), url="this machine") from error
        with self._translating("write", key):
            self._make(final.parent)
            written = False
            with contextlib.suppress(FileExistsError):
                if not name_new(path, final):
                    with temporary_copy(final.parent, path) as copy:
                        self._name(copy, final)
                written = True
            flush_folder(final.parent)
        return written

    def put_many_new(self, items: Iterable[tuple[str, BytesLike]]) -> Sequence[str]:
        """See `Store.put_many_new`: files are flushed concurrently, then each folder once."""
        source = iter(items)
        folders: set[Path] = set()
        there = []

        def place(item: tuple[str, BytesLike]) -> bool:
            with self._translating("write", item[0]):
                return self._place(*item)

        with parallel.pool(parallel.FLUSHES, "put") as pool:
            while window := list(islice(source, _WINDOW)):
                folders.update(self._path(key).parent for key, _ in window)
                written = pool.map(place, window)
                there += [key for (key, _), done in zip(window, written, strict=True) if not done]
        with self._translating("write", ""):
            for folder in sorted(folders):
                flush_folder(folder)
        return there

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
        """See `Store.get_pinned`; a named pipe or a device is never read."""
        path = self._path(key)
        with self._translating("read", key):
            try:
                fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise self._changed(key, "it is gone") from error
            with open(fd, "rb", buffering=0) as file:
                status = os.fstat(fd)
                if not modes.S_ISREG(status.st_mode):
                    raise self._changed(key, "it is not a file")
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
            yield from _walk(str(self.root), f"{folder}/" if folder else "", prefix, after or "")

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
            try:  # opening a named pipe must not block
                descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except (IsADirectoryError, NotADirectoryError):
                raise self._missing(key) from None
            if not modes.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                raise self._missing(key)
            with open(descriptor, "rb", buffering=0) as file:
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
        # another process may have made these just now without flushing them
        for above in (folder, *folder.parents):
            if above == self.root or above in self._made:
                break
            flush_folder(above.parent)
        with self._lock:
            self._made.add(folder)

    def _place(self, key: str, data: Data) -> bool:
        final = self._path(key)
        if not final.exists():
            with (
                self._temporary(final.parent, data) as path,
                contextlib.suppress(FileExistsError),
            ):
                self._name(path, final)
                return True
        return False

    def _name(self, path: Path, final: Path) -> None:
        if name_new(path, final):
            return
        # no hard links here: check first, then rename; racing writers can both win
        if os.path.lexists(final):
            raise FileExistsError(final)
        path.replace(final)
        self.exclusive_create = False

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


def _walk(root: str, top: str, prefix: str, after: str) -> Iterator[ObjectInfo]:
    """Yield the objects below a folder ("" or a key that ends in "/"); folders may nest without end."""
    ahead = [top]
    while ahead:
        key = ahead.pop()
        if key.endswith("/") or not key:
            ahead += reversed(_inside(root, key, prefix, after))
            continue
        try:
            yield _info(key, os.stat(f"{root}/{key}"))  # noqa: PTH116  # a third of the time of a Path's
        except FileNotFoundError:
            continue  # deleted meanwhile, or a link to nowhere


def _inside(root: str, above: str, prefix: str, after: str) -> list[str]:
    """Return the keys in a folder that may be listed, in order; those of folders end in "/"."""
    try:
        with os.scandir(f"{root}/{above}") as found:
            # "a/" sorts where its keys do: between "a-" and "a0"
            named = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in found)
    except (FileNotFoundError, NotADirectoryError):
        return []  # nothing was written yet, or it was deleted meanwhile
    keys = []
    for name in named:
        key = above + name
        if not key.startswith(prefix[: len(key)]) or name.startswith(TEMPORARY) or len(key) > MAX_KEY:
            continue
        # a folder that sorts before `after` does so with everything in it
        if key > after or (key.endswith("/") and after.startswith(key)):
            keys.append(key)
    return [key for key in keys if key.endswith("/") or key.startswith(prefix)]
