"""The files of one version, read on demand: whole, ranges, many at once, or as open files.

    files = dataver.open().files("vision/cats@1.2.0")
    files.read("train/a.jpg")
    with files.open("train.parquet") as file: ...

The idea: names come from the tree; bytes from the version's folder if this machine has fetched it, else from
frames. An object is thread-safe; a forked child, and a process that unpickles it, use their own connections,
locks and memory.

Keeps invariant 1: every frame is verified before its bytes are used, and a file that is read whole is also
compared with its digest, once per process.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from dataver.errors import DataverError, IntegrityError, InvalidInput, NotFound, StoreError
from dataver.lineage.record.recorder import Reads, join
from dataver.parallel import process_pool
from dataver.reading.directory_view import Info
from dataver.reading.process_cache import VersionHandle
from dataver.reading.stream import FileReader
from dataver.reading.version_reader import VersionReader
from dataver.repository.read_again import PackMissing
from dataver.tree.selection import path_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from dataver.formats.event import Subset
    from dataver.reading.directory_view import Folders
    from dataver.repository import Published, RepositoryCore

__all__ = ["Files"]

T = TypeVar("T")
Contents: TypeAlias = list[bytes]
Part: TypeAlias = "tuple[str | os.PathLike[str], int, int | None]"
Listing: TypeAlias = list[Info]

_BEFORE: Final = "no bytes come before the beginning of a file"


class Files:
    """Random access to the files of one published version.

    Get one from `Repository.files`. Paths are `/`-separated, as `dataver ls` shows them; links are followed
    where a file is read. One object may be used by many threads, and be passed to other processes.

        files = repo.files("vision/cats@1.2.0")
        header = files.read("train/a.png", 0, 64)
        for info in files.walk("train"):
            print(info.path, info.size)
    """

    def __init__(self, repo: RepositoryCore, published: Published, *, run: str | None = None) -> None:
        self._place = VersionHandle(repo, published)
        self._run = run
        self._here: dict[int, VersionReader] = {}
        self._reads = Reads(repo, published, run)  # at once: workers that read join this process's run

    def __repr__(self) -> str:
        return f"Files({self.ref!r}, {self.digest[:16]}…)"

    def __getstate__(self) -> tuple[VersionHandle, str | None]:
        join()  # the receiving process belongs to the current run
        return self._place, self._run

    def __setstate__(self, state: tuple[VersionHandle, str | None]) -> None:
        self._place, self._run = state
        self._here = {}

    @property
    def published(self) -> Published:
        """The version's record."""
        return self._place.published

    @property
    def ref(self) -> str:
        """The version's name: `dataset@label`."""
        return self.published.ref

    @property
    def digest(self) -> str:
        """The content's digest: `dv1:` and 64 hex characters."""
        return f"dv1:{self.published.record.tree.hex()}"

    def info(self, path: str | os.PathLike[str], *, follow: bool = False) -> Info:
        """Return the attributes of a path; with `follow`, those of a link's target.

        Raises:
            PathNotFound: there is nothing.
        """
        name = path_of(path)
        return self._reading(name, lambda here: here.folders.info(name, follow=follow))

    def list(self, folder: str | os.PathLike[str] = "") -> Listing:
        """Return the direct contents of a folder, by name; empty means the version itself.

        Raises:
            PathNotFound: there is no such folder.
            NotADirectoryError: it is a file.
        """
        name = path_of(folder)
        return self._reading(name, lambda here: here.folders.list(name))

    def contents(self, folder: str | os.PathLike[str] = "") -> Iterator[Info]:
        """Yield the direct contents of a folder in path order, at once for a folder of any size.

        Raises:
            PathNotFound: there is no such folder.
            NotADirectoryError: it is a file.
        """
        name = path_of(folder)
        found = self._reading(name, lambda here: here.folders.contents(name))
        return (each.info for each in found)

    @property
    def folders(self) -> Folders:
        """The names in the version."""
        return self._reading("", lambda here: here.folders)

    def walk(self, folder: str | os.PathLike[str] = "", *, empty: bool = False) -> Iterator[Info]:
        """Yield all files and links below a folder, in path order.

        Args:
            folder: where to begin; a link to a folder below it is yielded, not walked into.
            empty: yield the folders that hold nothing, too.

        Raises:
            PathNotFound: there is no such folder.
            NotADirectoryError: it is a file.
        """
        name = path_of(folder)
        return self._reading(name, lambda here: here.folders.walk(name, empty=empty))

    @property
    def fetched(self) -> bool:
        """Whether this machine has fetched all of the version, so that its files are local ones."""
        return self._reading("", lambda here: here.fetched is not None)

    def in_current_run(self) -> Files:
        """Return the files for one pass: its reads belong to the run that is current now, until that ends."""
        found = Files.__new__(Files)
        found._place, found._run = self._place, self._run
        found._here = {os.getpid(): (self._here.get(os.getpid()) or self._begin()).in_current_run()}
        return found

    def in_run(self, run: str | None) -> Files:
        """Return the files for a run, by its key: what any process reads through them belongs to it."""
        found = Files.__new__(Files)
        found.__setstate__((self._place, run))
        return found

    def note_listed(self, path: str = "", size: int = 0) -> None:
        """Say that names, or facts of a file, were asked for; see `Reads.listed`."""
        self._reading("", lambda here: here.reads.listed(path, size))

    def note_shard(self, subset: Subset, files: int, size: int) -> None:
        """Record that a shard of the version will be read; see `Reads.shard`."""
        self._reading("", lambda here: here.reads.shard(subset, files, size))

    def read(self, path: str | os.PathLike[str], start: int = 0, stop: int | None = None) -> bytes:
        """Return bytes of a file.

        Args:
            path: the file.
            start: the first byte.
            stop: the end, exclusive; None, or more than the size, means the end of the file.

        Raises:
            PathNotFound: there is no such file.
            IsADirectoryError: it is a folder.
            InvalidInput: `start` or `stop` is negative.
            IntegrityError: the repository holds other bytes.
            StoreError: the store fails; names the file.
        """
        name = path_of(path)
        if start >= 0 and (stop is None or stop >= 0) and (here := self._here.get(os.getpid())) is not None:
            near = here.near(name, start, stop)
            if near is not None:
                return near
        return self.read_many([(name, start, stop)])[0]

    def read_each(self, group: Sequence[tuple[str, int]]) -> Iterator[bytes]:
        """Yield the contents of files, `(path, size)` each, one at a time, for a pass (`in_current_run`).

        Raises:
            PathNotFound, IsADirectoryError, IntegrityError, StoreError: as `read`.
        """
        begin = 0
        while begin < len(group):
            here = self._here.get(os.getpid()) or self._begin()
            batch = here.reads.batch(group[begin:]) if here.fetched is not None else None
            if batch is None:
                yield from (self.read(path) for path, _ in group[begin:])
                return
            yield from here.each(batch)
            begin += batch.done
            if begin < len(group):
                yield self.read(group[begin][0])
                begin += 1

    def read_many(self, wanted: Iterable[Part]) -> Contents:
        """Return parts of files, `(path, start, stop)` each, in that order.

        Shared frames are fetched once, adjacent ones in one request, and requests run in parallel.

        Args:
            wanted: the parts; a `stop` of None means the end of the file.

        Raises:
            PathNotFound: there is no such file.
            IsADirectoryError: it is a folder.
            InvalidInput: `start` or `stop` is negative.
            IntegrityError: the repository holds other bytes for one of them.
            StoreError: the store fails; names a file.
        """
        parts = [(path_of(path), start, stop) for path, start, stop in wanted]
        for path, start, stop in parts:
            if start < 0 or (stop is not None and stop < 0):
                raise InvalidInput(f"'{path}' cannot be read from {start} to {stop}: {_BEFORE}.")
        if not parts:
            return []
        return self._reading(parts[0][0], lambda here: here.read(parts))

    def read_soon(
        self, path: str | os.PathLike[str], start: int = 0, stop: int | None = None
    ) -> Future[bytes]:
        """Begin to read bytes of a file on another thread. Arguments and errors as for `read`."""
        return process_pool("ahead").submit(self.read, path, start, stop)

    def read_opened(self, path: str, start: int, stop: int) -> bytes:
        """Return bytes of an open file; the read belongs to the run that opened it."""
        return self._reading(path, lambda here: here.read([(path, start, stop)], noted=False))[0]

    def read_opened_soon(self, path: str, start: int, stop: int) -> Future[bytes]:
        """Begin a `read_opened` on another thread."""
        return process_pool("ahead").submit(self.read_opened, path, start, stop)

    def open(self, path: str | os.PathLike[str]) -> FileReader:
        """Open a file: seekable, buffered, reading ahead while it is read in order; for many threads.

        Raises:
            PathNotFound: there is no such file.
            IsADirectoryError: it is a folder.
        """
        return FileReader(self, path_of(path))

    def descriptor(self, path: str | os.PathLike[str]) -> int | None:
        """Return a descriptor of a file, which the caller closes, if this machine has fetched the version.

        None means: use `read` or `open`. Records that the file is read.

        Raises:
            PathNotFound: there is no such file.
            IsADirectoryError: it is a folder.
        """
        name = path_of(path)
        return self._reading(name, lambda here: here.open(name))

    def size(self, path: str | os.PathLike[str]) -> int:
        """Return the bytes of the file at a path, links followed.

        Raises:
            PathNotFound: there is no such file.
            IsADirectoryError: it is a folder.
        """
        name = path_of(path)
        return self._reading(name, lambda here: here.folders.entry(name).size)

    def _reading(self, path: str, read: Callable[[VersionReader], T]) -> T:
        """Return the result of `read`; retry once if packs have moved, and name the file in errors."""
        here = self._here.get(os.getpid()) or self._begin()
        try:
            try:
                return read(here)
            except PackMissing:  # the layout read before may predate a repack
                here.refresh()
                return read(here)
        except StoreError as error:
            raise StoreError(
                f"'{path}' in {self.ref} cannot be read: {error.message}",
                hint=error.hint,
                transient=error.transient,
                retry_after=error.retry_after,
            ) from error
        except IntegrityError as error:
            self._refuse_deleted(here, path, error)
            if f"'{path}'" in error.message:
                raise
            raise IntegrityError(
                f"'{path}' in {self.ref} cannot be read: {error.message}", hint=error.hint
            ) from error

    def _refuse_deleted(self, here: VersionReader, path: str, cause: IntegrityError) -> None:
        """Raise an error that names the deletion, if missing bytes belong to a deleted version."""
        record = self.published.record
        try:
            gone = here.repo.records.tombstone(record.dataset, record.label)
        except DataverError:
            return
        if gone is not None:
            raise NotFound(
                f"'{path}' cannot be read: {self.ref} was deleted on {gone.deleted:%Y-%m-%d}"
                f" by {gone.author}.",
                hint=f"`dataver list {record.dataset}` lists the others",
            ) from cause

    def _begin(self) -> VersionReader:
        """Create this process's reader; a parent's may hold locks that are never released."""
        # two threads may both do this: one result is kept
        self._here = {pid: one for pid, one in self._here.items() if pid == os.getpid()}
        return self._here.setdefault(
            os.getpid(), VersionReader(self._place.shared(), self.published, self._run)
        )
