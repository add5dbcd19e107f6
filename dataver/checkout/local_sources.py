"""Local copies: bytes of a version being fetched that are on this machine already.

The idea: two kinds of folders can hold them: the remains of an interrupted fetch of the same tree, and the
cached folders of versions (`dataver.checkout.cached_files`). Each source takes the files that it has; of the
others, large ones are built from the spans that the sources have, and the rest is read from the repository.

Invariant 1: remains of an interrupted fetch are always hashed. The digest of a file covers its spans. Of an
unfinished large file, arrived spans are not recorded, since a record could be wrong after a power cut. But a
pack's footer, authenticated by the pack's name, has the digest of each chunk; so the file is read once, and
chunks that match are not fetched again. A hole reads as zeros and matches only zeros.
"""

from __future__ import annotations

import errno
import os
import stat
from bisect import bisect_right
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from dataver.checkout.folder import located
from dataver.checkout.range_plan import FetchedFile, positions, raw_extents, raw_start
from dataver.checkout.selection import FILES
from dataver.checkout.transfer import Copies, LocalCopy, PlannedFile
from dataver.formats.entry import Kind
from dataver.hashing.digest import digest, new_hasher
from dataver.machine.deep_folders import open_folder

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from dataver.checkout.folder import Folder
    from dataver.checkout.selection import Rows
    from dataver.formats.entry import Entry, Extent
    from dataver.formats.pack import Footer
    from dataver.repository import RepositoryCore

__all__ = ["CopyResult", "Interrupted", "LARGE", "LEAST", "LocalSource", "arrived", "hash_file", "planned"]

LARGE: Final = 64 * 1024  # smaller files are fetched whole: they take one or two frames
_FIRST_READ: Final = 128 * 1024  # a buffer of this size is cheap even for a tiny file
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

LEAST: Final = 4 << 20
"""Smallest size in bytes of an unfinished file that is worth reading."""


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


def arrived(
    fd: int, extents: Iterable[tuple[Extent, int]], footer: Callable[[bytes], Footer]
) -> tuple[list[tuple[int, int, int]], list[tuple[Extent, int]]]:
    """Compare an unfinished file with the extents of its entry, given with their positions.

    Returns:
        Intact spans, as `(position, position, length)`, and the missing extents with their positions.
    """
    spans: list[tuple[int, int, int]] = []
    rest: list[tuple[Extent, int]] = []
    for extent, position in extents:
        if _is_hole(fd, position, extent.length):  # needs no footer
            rest.append((extent, position))
            continue
        known = footer(extent.pack)
        start = raw_start(known, extent)
        for right, low, high in _runs(fd, known, start, extent.length, position):
            there = position + low - start
            if right:
                spans.append((there, there, high - low))
            else:
                rest.extend(positions(raw_extents(known, low, high - low), there))
    return spans, rest


def _runs(fd: int, footer: Footer, start: int, length: int, position: int) -> Iterator[tuple[bool, int, int]]:
    """Cut a range of a pack's raw stream into runs of chunks that are intact in the file, or not."""
    starts, end = footer.chunk_starts, start + length
    chunk = bisect_right(starts, start) - 1
    begin, low, before = start, start, False
    while low < end:
        high = min(starts[chunk] + footer.lengths[chunk], end)
        whole = low == starts[chunk] and high - low == footer.lengths[chunk]
        right = whole and _is_right(fd, position + low - start, high - low, footer.chunk_digest(chunk))
        if right != before and low > begin:
            yield before, begin, low
            begin = low
        before, low, chunk = right, high, chunk + 1
    if low > begin:
        yield before, begin, low


def _is_hole(fd: int, position: int, length: int) -> bool:
    try:
        return os.lseek(fd, position, os.SEEK_DATA) >= position + length
    except OSError as error:
        return error.errno == errno.ENXIO  # only a hole up to the end


def _is_right(fd: int, position: int, length: int, name: bytes) -> bool:
    data = os.pread(fd, length, position)
    return len(data) == length and digest(data) == name
