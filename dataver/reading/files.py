"""The files of one version, read where they are: whole, in part, many at once, or as open files.

    files = dataver.open().files("vision/cats@1.2.0")
    files.read("train/a.jpg")
    with files.open("train.parquet") as file: ...

The idea: names come from the tree; bytes from the version's folder where this machine has fetched it, else
from frames. One object serves many threads; a forked child, and a process that got it pickled, read with
connections, locks and memory of their own.

Keeps invariant 1: every frame is checked before a byte of it is used, and a file that is read whole is
compared with its digest besides, once a process.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from dataver.errors import DataverError, IntegrityError, InvalidInput, NotFound, StoreError
from dataver.lineage.reads import look, reads_of
from dataver.reading.folders import Info
from dataver.reading.here import Here
from dataver.reading.place import Place
from dataver.reading.stream import FileReader, LocalReader
from dataver.reading.threads import pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from dataver.repository import Published, Repository

__all__ = ["Files"]

T = TypeVar("T")
Contents: TypeAlias = list[bytes]
Part: TypeAlias = tuple[str, int, "int | None"]
Listing: TypeAlias = list[Info]

_BEFORE: Final = "no bytes come before the beginning of a file"


class Files:
    """Random access to the files of one published version.

    Get one from `Repository.files`. Paths are `/`-separated, as `dataver ls` shows them; links are followed
    where a file is read.
    """

    def __init__(self, repo: Repository, published: Published, *, run: str | None = None) -> None:
        self._place = Place(repo, published)
        self._run = run
        self._here: dict[int, Here] = {}
        self._reads = reads_of(repo, published, run)  # at once: workers that read join this process's run

    def __repr__(self) -> str:
        return f"Files({self.ref!r}, {self.digest[:16]}…)"

    def __getstate__(self) -> tuple[Place, str | None]:
        look()  # whoever gets it belongs to the run of this moment
        return self._place, self._run

    def __setstate__(self, state: tuple[Place, str | None]) -> None:
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

    def info(self, path: str, *, follow: bool = False) -> Info:
        """Return what there is at a path; with `follow`, of a link what it leads to.

        Raises:
            PathNotFound: there is nothing.
        """
        return self._reading(path, lambda here: here.folders.info(path, follow=follow))

    def list(self, folder: str = "") -> Listing:
        """Return what stands directly in a folder, by name; empty means the version itself.

        Raises:
            PathNotFound: there is no such folder.
            NotADirectoryError: a file.
        """
        return self._reading(folder, lambda here: here.folders.list(folder))

    def walk(self, folder: str = "", *, empty: bool = False) -> Iterator[Info]:
        """Yield all files and links below a folder, in path order.

        Args:
            folder: where to begin; a link to a folder below it is yielded, not walked into.
            empty: yield the folders that hold nothing, too.

        Raises:
            PathNotFound: there is no such folder.
            NotADirectoryError: a file.
        """
        return self._reading(folder, lambda here: here.folders.walk(folder, empty=empty))

    @property
    def fetched(self) -> bool:
        """Whether this machine has fetched all of the version, so that its files are local ones."""
        return self._reading("", lambda here: here.fetched is not None)

    def note_shard(self, patterns: Sequence[str], rank: int, world: int, files: int, size: int) -> None:
        """Say that a share of the version is to be read; see `dataver.lineage.reads.Reads.shard`."""
        self._reading("", lambda here: here.reads.shard(patterns, rank, world, files, size))

    def read(self, path: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return the bytes of a file from `start` to before `stop`, or its end where that comes first.

        Raises:
            PathNotFound: there is no such file.
            IsADirectoryError: a folder.
            InvalidInput: `start` or `stop` is negative.
            IntegrityError: the repository holds other bytes.
            StoreError: the store fails; names the file.
        """
        if start >= 0 and (stop is None or stop >= 0) and (here := self._here.get(os.getpid())) is not None:
            near = here.near(path, start, stop)
            if near is not None:
                return near
        return self.read_many([(path, start, stop)])[0]

    def read_many(self, wanted: Iterable[Part]) -> Contents:
        """Return parts of files, `(path, start, stop)` each, in that order.

        What they share is fetched once, what lies side by side in one request, and requests run side by side.

        Raises:
            PathNotFound: there is no such file.
            IsADirectoryError: a folder.
            InvalidInput: `start` or `stop` is negative.
            IntegrityError: the repository holds other bytes for one of them.
            StoreError: the store fails; names a file.
        """
        parts = [*wanted]
        for path, start, stop in parts:
            if start < 0 or (stop is not None and stop < 0):
                raise InvalidInput(f"'{path}' cannot be read from {start} to {stop}: {_BEFORE}.")
        if not parts:
            return []
        return self._reading(parts[0][0], lambda here: here.read(parts))

    def read_soon(self, path: str, start: int = 0, stop: int | None = None) -> Future[bytes]:
        """Begin a `read` on another thread."""
        return pool("ahead").submit(self.read, path, start, stop)

    def open(self, path: str) -> FileReader | LocalReader:
        """Open a file: seekable, buffered, reading ahead while it is read in order.

        Raises:
            PathNotFound: there is no such file.
            IsADirectoryError: a folder.
        """
        descriptor = self.descriptor(path)
        return FileReader(self, path) if descriptor is None else LocalReader(descriptor, path)

    def descriptor(self, path: str) -> int | None:
        """Return a descriptor of a file, for the caller to close, where this machine has fetched the version.

        None means: use `read` or `open`. Notes that the file is read.

        Raises:
            PathNotFound: there is no such file.
            IsADirectoryError: a folder.
        """
        return self._reading(path, lambda here: here.open(path))

    def size(self, path: str) -> int:
        """Return the bytes of the file at a path, links followed.

        Raises:
            PathNotFound: there is no such file.
            IsADirectoryError: a folder.
        """
        return self._reading(path, lambda here: here.folders.entry(path).size)

    def _reading(self, path: str, read: Callable[[Here], T]) -> T:
        """Return what `read` returns; look once more where packs have moved, and name the file in errors."""
        from dataver.repository.packs import PackMissing

        here = self._here.get(os.getpid()) or self._begin()
        try:
            try:
                return read(here)
            except PackMissing:  # was it repacked, and is the layout at hand that of before?
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

    def _refuse_deleted(self, here: Here, path: str, cause: IntegrityError) -> None:
        """Say of bytes that are missing that the version is, where somebody deleted it."""
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

    def _begin(self) -> Here:
        """Make what this process reads with; a parent's may hold locks that nobody frees."""
        # two threads may both come here: one of the two stays
        self._here = {pid: one for pid, one in self._here.items() if pid == os.getpid()}
        return self._here.setdefault(os.getpid(), Here(self._place.shared(), self.published, self._run))
