"""Local copies: bytes of a version being fetched that are on this machine already.

The idea: two kinds of folders can hold them: the remains of an interrupted fetch of the same tree, and the
cached folders of versions (`dataver.checkout.cached_files`). Each source takes the files that it has; of the
others, large ones are built from the spans that the sources have, and the rest is read from the repository.

Invariant 1: remains of an interrupted fetch are always hashed. The digest of a file covers its spans.
"""

from __future__ import annotations

import os
import stat
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from dataver.checkout.folder import located
from dataver.checkout.plan import FetchedFile, positions
from dataver.checkout.selection import FILES
from dataver.checkout.transfer import Copies, LocalCopy, PlannedFile
from dataver.formats.entry import Kind
from dataver.hashing.digest import new_hasher
from dataver.machine.descent import open_folder

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from dataver.checkout.folder import Folder
    from dataver.checkout.selection import Rows
    from dataver.formats.entry import Entry, Extent
    from dataver.repository import RepositoryCore

__all__ = ["LARGE", "CopyResult", "Interrupted", "LocalSource", "hash_file", "planned"]

LARGE: Final = 64 * 1024  # smaller files are fetched whole: they take one or two frames
_FIRST_READ: Final = 128 * 1024  # a buffer of this size is cheap even for a tiny file
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def hash_file(fd: int) -> bytes:
    """Return the BLAKE3-256 of an open file."""
    hasher = new_hasher()
    position, step = 0, _FIRST_READ
    while data := os.pread(fd, step, position):
        hasher.update(data)
        position += len(data)
        step = 1 << 20
    return hasher.digest()


class CopyResult(NamedTuple):
    """Result of copying entries from a source.

    Attributes:
        left: numbers of the entries that the source lacks.
        files: files that are in the folder now.
        size: their bytes.
        copies: files that are still to be copied.
    """

    left: list[int]
    files: int
    size: int
    copies: list[Copies]


class LocalSource(Protocol):
    """A local folder that may hold wanted files."""

    def copy_entries(
        self, rows: Rows, numbers: Sequence[int], folder: Folder, stamps: array[int]
    ) -> CopyResult:
        """Put verified files of entries into the folder.

        Records known modification times in `stamps`, by number.
        """
        ...

    def share(
        self, entry: Entry, extents: Iterable[tuple[Extent, int]]
    ) -> tuple[list[LocalCopy], Iterable[tuple[Extent, int]]]:
        """Return copies that provide a part of a file's extents, and the remaining extents.

        Extents are given with their positions in the file.
        """
        ...


def planned(entry: Entry, sources: Sequence[LocalSource]) -> PlannedFile:
    """Return how to create a file: spans copied from the sources, and the rest read from packs."""
    target = FetchedFile.of(entry)
    rest: Iterable[tuple[Extent, int]] = positions(entry.extents)
    if entry.size < LARGE or not sources:
        return PlannedFile(target, rest)
    copies: list[LocalCopy] = []
    for source in sources:
        found, rest = source.share(entry, rest)
        copies += found
    if copies:
        target.spread()
        target.reused = sum(length for copy in copies for _, _, length in copy.spans)
    return PlannedFile(target, rest, copies)


class Interrupted:
    """Folder of an interrupted fetch of the same tree.

    Complete files are reused after hashing, unfinished large files by their intact chunks.
    """

    def __init__(self, path: Path, repo: RepositoryCore) -> None:
        self._fd = open_folder(path)
        self._repo = repo

    def copy_entries(
        self,
        rows: Rows,
        numbers: Sequence[int],
        folder: Folder,
        stamps: array[int],  # noqa: ARG002  # of the protocol
    ) -> CopyResult:
        """Move the complete files into the folder."""
        left: list[int] = []
        files = size = 0
        for number in numbers:
            if rows.kinds[number] in FILES and rows.sizes[number] and self._moved(rows.entry(number), folder):
                files += 1
                size += rows.sizes[number]
            else:
                left.append(number)
        return CopyResult(left, files, size, [])

    def _moved(self, entry: Entry, folder: Folder) -> bool:
        try:
            with (
                located(self._fd, entry.path) as (root, name),
                located(folder.fd, entry.path) as (there, same),
            ):
                fd = os.open(name, _READ, dir_fd=root)
                try:
                    status = os.fstat(fd)
                    if not stat.S_ISREG(status.st_mode) or status.st_size != entry.size:
                        return False
                    if hash_file(fd) != entry.digest:
                        return False
                    mode = folder.mode_of(entry.kind == Kind.EXECUTABLE)
                    if stat.S_IMODE(status.st_mode) != mode:
                        if status.st_nlink > 1:
                            return False  # hard-linked to a cached folder, which has the same permission bits
                        os.fchmod(fd, mode)
                finally:
                    os.close(fd)
                os.rename(name, same, src_dir_fd=root, dst_dir_fd=there)  # descriptors
        except OSError:
            return False
        return True

    def share(
        self, entry: Entry, extents: Iterable[tuple[Extent, int]]
    ) -> tuple[list[LocalCopy], Iterable[tuple[Extent, int]]]:
        """Return the copy of an unfinished file's intact chunks, and the extents of the others."""
        from dataver.checkout.resume import LEAST, arrived

        if entry.size < LEAST:
            return [], extents
        try:
            fd = self._open(entry.path)
        except OSError:
            return [], extents
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return [], extents
            spans, rest = arrived(fd, extents, self._repo.packs.footer)
        finally:
            os.close(fd)
        return [LocalCopy(partial(self._open, entry.path), spans)] if spans else [], rest

    def _open(self, path: str) -> int:
        with located(self._fd, path) as (root, name):
            return os.open(name, _READ, dir_fd=root)

    def close(self) -> None:
        """Close the folder."""
        os.close(self._fd)
