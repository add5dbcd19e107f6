"""Filling a new folder with a version: from local sources, then the repository, links last.

The idea: one pass over the tree, a leaf at a time. Each entry gets its folder; each file is placed from a
local source (`reuse`), planned to be copied from one or to share with one, or planned to be read
(`transfer`). Impossible fetches are refused before the first byte is written: too little space here, names
that the file system does not distinguish in `wish`.

Keeps invariants 1, 9 and 10 (links that would leave the folder are left out and reported).
"""

from __future__ import annotations

import errno
import os
from array import array
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from dataver.checkout.local_sources import planned
from dataver.checkout.range_plan import WINDOW_ENTRIES, WINDOW_EXTENTS, WINDOW_FAR, WINDOW_NEAR
from dataver.checkout.selection import FILES, Part
from dataver.checkout.transfer import FileWindow, PlannedFile, Transfer
from dataver.errors import DataverError, IntegrityError, StoreError
from dataver.formats.entry import Kind, safe_link
from dataver.hashing.digest import digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from dataver.checkout.folder import Folder
    from dataver.checkout.local_sources import LocalSource
    from dataver.formats.entry import Entry
    from dataver.progress import Progress
    from dataver.repository import RepositoryCore

__all__ = ["Filled", "check_space", "fill", "local_errors", "parts_of"]

_NOTHING: Final = digest(b"")
_AT_ONCE: Final = 2_000  # entries; as many as a leaf has


class Filled(NamedTuple):
    """Result of filling a folder.

    Attributes:
        transferred: stored bytes read from the repository.
        reused: bytes of files that came from this machine.
        problems: entries left out, with the reason.
        stamps: the known modification time (ns) of each entry, in order; 0 if unknown. Empty for folders
            that will be writable.
    """

    transferred: int
    reused: int
    problems: list[tuple[str, str]]
    stamps: array[int]


def check_space(where: Path, size: int) -> None:
    """Check the free space before a fetch.

    Raises:
        StoreError: the file system of `where` has less than `size` bytes free.
    """
    status = os.statvfs(where)
    free = status.f_bavail * status.f_frsize
    if size > free:
        raise StoreError(
            f"{where} has {free / 1e6:.1f} MB free, but the files take {size / 1e6:.1f} MB;"
            " nothing was written.",
            hint="make room, fetch to another disk (`dest`), or only a part of the version (`paths`)",
        )


@contextmanager
def local_errors(where: Path, hint: str | None = None) -> Iterator[None]:
    """Translate `OSError` of the local disk; the files written so far stay for the next attempt.

    Args:
        where: the folder being written.
        hint: the hint if the folder cannot be written.
    """
    try:
        yield
    except DataverError:
        raise  # some DataverErrors are OSErrors, too
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(
                f"the disk that holds {where} is full.",
                hint="make room and fetch again: complete files are not fetched twice",
            ) from error
        raise StoreError(
            f"{where} cannot be written: {error.strerror or error}.", hint=hint or str(error)
        ) from error


def fill(
    repo: RepositoryCore,
    parts: Iterable[Part],
    folder: Folder,
    sources: Sequence[LocalSource],
    progress: Progress,
) -> Filled:
    """Write entries, which come in the order of a tree, into a new folder; verify every file.

    Raises:
        IntegrityError: damaged bytes or impossible entries, by name.
        OSError: the local disk failed.
    """
    near = repo.store.local_root is not None
    filling = _Filling(folder, sources, progress, WINDOW_NEAR if near else WINDOW_FAR)
    transfer = Transfer(repo, folder, progress)
    transfer.run(filling.windows(parts))
    filling.make_links()
    reused = transfer.reused + filling.placed
    return Filled(transfer.transferred, reused, filling.problems, filling.stamps)


def parts_of(entries: Iterable[Entry]) -> Iterator[Part]:
    """Yield single entries as parts."""
    return map(_part_of, _some(entries))


class _Loose(NamedTuple):
    """Entries as columns."""

    held: list[Entry]
    paths: list[str]
    kinds: list[int]
    sizes: list[int]

    def file_digest(self, number: int) -> bytes:
        return self.held[number].digest

    def entry(self, number: int) -> Entry:
        return self.held[number]


def _part_of(held: list[Entry]) -> Part:
    paths, kinds, sizes = [e.path for e in held], [int(e.kind) for e in held], [e.size for e in held]
    return Part(_Loose(held, paths, kinds, sizes), range(len(held)))


def _some(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    remaining = iter(entries)
    while held := list(islice(remaining, _AT_ONCE)):
        yield held


class _Filling:
    """Choice of the source of each entry's bytes."""

    def __init__(self, folder: Folder, sources: Sequence[LocalSource], progress: Progress, most: int) -> None:
        self._folder = folder
        self._sources = sources
        self._progress = progress
        self._most = most
        self._links: list[tuple[str, str]] = []
        self.placed = 0
        self.problems: list[tuple[str, str]] = []
        self.stamps = array("q")

    def windows(self, parts: Iterable[Part]) -> Iterator[FileWindow]:
        """Yield the files to transfer, in lists short enough to be planned in memory."""
        window, extents, size = FileWindow([], []), 0, 0
        for part in parts:
            for wanted in self._copy_from_sources(part, window):
                window.wanted.append(wanted)
                extents += len(wanted.target.extents)
                size += wanted.target.size
                full = len(window.wanted) >= WINDOW_ENTRIES or extents >= WINDOW_EXTENTS
                if full or size >= self._most:
                    yield window
                    window, extents, size = FileWindow([], []), 0, 0
            if window.copies:
                yield FileWindow([], window.copies)
                window = window._replace(copies=[])
        if window.wanted:
            yield window

    def _copy_from_sources(self, part: Part, window: FileWindow) -> Iterator[PlannedFile]:
        """Create the folders of a part, place local files, and yield the others."""
        rows, numbers = part
        self._folder.prepare([rows.paths[number] for number in numbers])
        stamps = array("q", bytes(8 * len(rows.paths)))
        left: Sequence[int] = numbers
        for source in self._sources:
            taken = source.copy_entries(rows, left, self._folder, stamps)
            left = taken.left
            self.placed += taken.size
            self._progress.advance(taken.files, taken.size)
            window.copies.extend(taken.copies)
        if not self._folder.writable:
            self.stamps.extend(stamps[number] for number in numbers)
        for number in left:
            kind = rows.kinds[number]
            if kind in FILES and rows.sizes[number]:
                yield planned(rows.entry(number), self._sources)
            else:
                self._other(rows.entry(number))

    def _other(self, entry: Entry) -> None:
        """Create an entry without bytes."""
        if entry.kind == Kind.SYMLINK:
            self._links.append((entry.path, entry.target))
        elif entry.kind == Kind.DIRECTORY:
            self._folder.make_folder(entry.path)
        elif entry.digest != _NOTHING:
            raise IntegrityError(f"{entry.path!r} cannot be restored: it is empty, and its digest is not.")
        else:
            self._folder.write(entry.path, entry.kind == Kind.EXECUTABLE, b"")
            self._progress.advance(1, 0)

    def make_links(self) -> None:
        """Create the symbolic links, after all files, so that no file is written through a link."""
        for path, target in self._links:
            if safe_link(path, target):
                self._folder.link(path, target)
            else:
                self.problems.append((path, f"the link leads out of the version, to {target!r}"))
