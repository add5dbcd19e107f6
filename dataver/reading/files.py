"""The files of one version, read where they are: whole, in part, many at once, or as open files.

    files = dataver.open().files("vision/cats@1.2.0")
    files.read("train/a.jpg")
    with files.open("train.parquet") as file: ...

The idea: names come from the tree, bytes from frames. One object serves many threads; a forked child and a
process that got it pickled read with connections, locks and memory of their own.

Keeps invariant 1: every frame is checked before a byte of it is used, and a file that is read whole is
compared with its digest besides.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

from dataver.errors import DataverError, IntegrityError, InvalidInput, NotFound, StoreError
from dataver.hashing.digest import digest
from dataver.reading.folders import Folders, Info
from dataver.reading.frames import DAMAGED, Frames, runs_of
from dataver.reading.place import Place
from dataver.reading.stream import FileReader
from dataver.reading.threads import pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from dataver.formats.entry import Entry
    from dataver.reading.frames import Run
    from dataver.repository import Published, Repository

__all__ = ["Files"]

T = TypeVar("T")
Contents: TypeAlias = list[bytes]
Part: TypeAlias = tuple[str, int, "int | None"]


class _Here(NamedTuple):
    """What one process reads with."""

    repo: Repository
    folders: Folders
    frames: Frames


class Files:
    """Random access to the files of one published version.

    Get one from `Repository.files`. Paths are `/`-separated, as `dataver ls` shows them; links are followed
    where a file is read.
    """

    def __init__(self, repo: Repository, published: Published, *, run: str | None = None) -> None:
        self._place = Place(repo, published)
        self._run = run
        self._here: dict[int, _Here] = {}

    def __repr__(self) -> str:
        return f"Files({self.ref!r}, {self.digest[:16]}…)"

    def __getstate__(self) -> tuple[Place, str | None]:
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

    def list(self, folder: str = "") -> list[Info]:
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

    def read(self, path: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return the bytes of a file from `start` to before `stop`, or its end where that comes first.

        Raises:
            PathNotFound: there is no such file.
            IsADirectoryError: a folder.
            InvalidInput: `start` or `stop` is negative.
            IntegrityError: the repository holds other bytes.
            StoreError: the store fails; names the file.
        """
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
        parts = [(path, start, stop) for path, start, stop in wanted]
        for path, start, stop in parts:
            if start < 0 or (stop is not None and stop < 0):
                raise InvalidInput(f"'{path}' has no bytes from {start} to {stop}.")
        if not parts:
            return []
        return self._reading(parts[0][0], lambda here: self._read(here, parts))

    def read_soon(self, path: str, start: int = 0, stop: int | None = None) -> Future[bytes]:
        """Begin a `read` on another thread."""
        return pool("ahead").submit(self.read, path, start, stop)

    def open(self, path: str) -> FileReader:
        """Open a file: seekable, buffered, reading ahead while it is read in order.

        Raises:
            PathNotFound: there is no such file.
            IsADirectoryError: a folder.
        """
        entry = self._reading(path, lambda here: here.folders.entry(path))
        return FileReader(self, path, entry.size)

    def _read(self, here: _Here, parts: Sequence[Part]) -> Contents:
        runs: list[list[Run]] = []
        whole: list[Entry | None] = []
        for path, start, stop in parts:
            entry = here.folders.entry(path)
            end = entry.size if stop is None else min(stop, entry.size)
            runs.append(runs_of(entry.extents, start, end, here.repo) if start < end else [])
            whole.append(entry if start == 0 and end == entry.size else None)
        found = here.frames.read(runs)
        for each, content in zip(whole, found, strict=True):
            if each is not None and digest(content) != each.digest:
                raise IntegrityError(
                    f"'{each.path}' in {self.ref} cannot be read: the repository holds other bytes for it"
                    " than its digest says.",
                    hint=DAMAGED,
                )
        return found

    def _reading(self, path: str, read: Callable[[_Here], T]) -> T:
        """Return what `read` returns; look once more where packs have moved, and name the file in errors."""
        from dataver.repository.packs import PackMissing

        here = self._here.get(os.getpid()) or self._begin()
        try:
            try:
                return read(here)
            except PackMissing:  # was it repacked, and is the layout at hand that of before?
                here.repo.blocks.refresh()
                here.folders.tree = here.repo.tree(self.published.record.tree)
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

    def _refuse_deleted(self, here: _Here, path: str, cause: IntegrityError) -> None:
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

    def _begin(self) -> _Here:
        """Make what this process reads with; a parent's may hold locks that nobody frees."""
        repo = self._place.repository()
        here = _Here(repo, Folders(repo.tree(self.published.record.tree), self.ref), Frames(repo))
        # two threads may both come here: one of the two stays
        self._here = {pid: one for pid, one in self._here.items() if pid == os.getpid()}
        return self._here.setdefault(os.getpid(), here)
