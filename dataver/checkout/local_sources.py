"""Local copies: unchanged files are linked or copied, changed ones contribute their shared bytes.

The idea: three kinds of folders can hold bytes of a version being fetched: a cached folder of the same tree;
a cached folder of a *near* tree, such as a parent, whose difference is known from the two trees without
reading files; and the remains of an interrupted fetch. For a changed file, both versions' extents are mapped
to intervals of each pack's raw stream (all its chunks in order): where they overlap, the bytes are equal.

Invariant 1: a cached file counts as verified if its size and mtime are unchanged since it was verified; with
`full` it is hashed again. Remains of an interrupted fetch are always hashed. Shared bytes of a changed file
are covered by that file's digest; after a mismatch the whole file is read from the repository.
"""

from __future__ import annotations

import os
import stat
from bisect import bisect_right
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from dataver.cache.stat_manifest import Lookup
from dataver.cache.version_cache import folder_name
from dataver.checkout.clone import clone
from dataver.checkout.folder import LONG, located
from dataver.checkout.plan import FetchedFile, positions, raw_extents, raw_start
from dataver.checkout.selection import FILES
from dataver.checkout.transfer import TINY, Copies, Copy, LocalCopy, PlannedFile
from dataver.errors import IntegrityError
from dataver.formats.entry import Kind
from dataver.hashing.digest import digest, new_hasher
from dataver.machine.descent import open_folder

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from dataver.cache.version_cache import CachedFolder
    from dataver.checkout.folder import Folder
    from dataver.checkout.selection import Rows
    from dataver.formats.entry import Entry, Extent
    from dataver.formats.pack import Footer
    from dataver.repository import RepositoryCore

__all__ = ["Cached", "CopyResult", "Interrupted", "LocalSource", "hash_file"]

MOST_CHANGES: Final = 200_000  # changes up to which a tree is near: ~100 MB of memory
_SMALLEST: Final = 64 * 1024  # smaller files are fetched whole: they take one or two frames
_BATCH: Final = 4 * 1024 * 1024  # bytes of files copied in one job
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


_Look = tuple[int, int, int]  # kind, size, modification time (ns)


class LocalSource(Protocol):
    """A local folder that may hold wanted files."""

    def copy_entries(
        self, rows: Rows, numbers: Sequence[int], folder: Folder, stamps: array[int]
    ) -> CopyResult:
        """Put verified files of entries into the folder.

        Records known modification times in `stamps`, by number.
        """
        ...

    def share(self, entry: Entry, target: FetchedFile) -> PlannedFile | None:
        """Return how to build a file from the bytes its local version shares with it; None if none."""
        ...

    def close(self) -> None:
        """Close open descriptors."""
        ...


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

    def share(self, entry: Entry, target: FetchedFile) -> PlannedFile | None:
        """Return how to continue an unfinished large file: copy intact chunks, fetch the rest."""
        from dataver.checkout.resume import LEAST, arrived

        if entry.size < LEAST:
            return None
        try:
            fd = self._open(entry.path)
        except OSError:
            return None
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return None
            spans, rest = arrived(fd, entry, self._repo.packs.footer)
        finally:
            os.close(fd)
        if not spans:
            return None
        target.spread()
        target.reused = sum(length for _, _, length in spans)
        return PlannedFile(target, rest, LocalCopy(lambda: self._open(entry.path), spans))

    def _open(self, path: str) -> int:
        with located(self._fd, path) as (root, name):
            return os.open(name, _READ, dir_fd=root)

    def close(self) -> None:
        """Close the folder."""
        os.close(self._fd)


class _Changes(NamedTuple):
    """Difference to a near tree: the old entry of each changed path (None: new), and paths by digest.

    The paths by digest are those, in the near tree, of files that changed or are wanted at other paths.
    """

    before: dict[str, Entry | None]
    by_digest: dict[bytes, str]


class Cached:
    """A complete cached folder of the same tree, or of a near one."""

    def __init__(
        self, repo: RepositoryCore, tree: bytes, cached: CachedFolder, *, link: bool, full: bool
    ) -> None:
        """Open it.

        Args:
            repo: where both trees are.
            tree: the wanted one.
            cached: the folder.
            link: hard-link its files; else copy them.
            full: hash every file before it is used.

        Raises:
            IntegrityError, OSError: it cannot be used, or its tree is not near.
        """
        self._repo = repo
        self._link = link
        self._full = full
        self._share = True
        self._rows = Lookup(cached.manifest)
        self._changes = _changes(repo, cached, tree)
        self._fd = open_folder(cached.path)

    def close(self) -> None:
        """Close the folder."""
        os.close(self._fd)

    def copy_entries(
        self, rows: Rows, numbers: Sequence[int], folder: Folder, stamps: array[int]
    ) -> CopyResult:
        """Link or copy the files of entries, also from other paths in this folder."""
        left: list[int] = []
        later: list[Copy] = []
        files = size = 0
        kinds, sizes, paths = rows.kinds, rows.sizes, rows.paths
        before, look = self._changes.before, self._rows.stat
        link = self._link and not self._full
        for number in numbers:
            path, kind, length = paths[number], kinds[number], sizes[number]
            old = self._before(rows, number) if path in before else path
            row = look(old) if old and kind in FILES else None
            if row is None or row[1] != length:
                left.append(number)
            elif link and row[0] == kind and self._linked(old, path, row, folder):
                stamps[number] = row[2]
                files += 1
                size += length
            elif length > TINY:
                later.append(Copy(rows, number, old, row))
            elif self._copied_tiny(Copy(rows, number, old, row), folder):
                files += 1
                size += length
            else:
                left.append(number)
        return CopyResult(left, files, size, list(_batches(partial(self._copied, folder), later)))

    def holds(self, rows: Rows, number: int) -> bool:
        """Return whether `take` would provide the file of an entry, according to the folder's manifest."""
        path = rows.paths[number]
        old = self._before(rows, number) if path in self._changes.before else path
        row = self._rows.stat(old) if old else None
        return row is not None and row[1] == rows.sizes[number]

    def _before(self, rows: Rows, number: int) -> str:
        """Return the path in this folder of a changed entry's bytes; empty if none."""
        return self._changes.by_digest.get(rows.entry(number).digest, "")

    def _linked(self, old: str, new: str, row: _Look, folder: Folder) -> bool:
        """Hard-link a file, then check that the linked file is the verified one."""
        try:
            if len(old) < LONG and len(new) < LONG:
                os.link(old, new, src_dir_fd=self._fd, dst_dir_fd=folder.fd, follow_symlinks=False)
                status = os.stat(new, dir_fd=folder.fd, follow_symlinks=False)  # a descriptor
            else:
                with located(self._fd, old) as (root, name), located(folder.fd, new) as (there, short):
                    os.link(name, short, src_dir_fd=root, dst_dir_fd=there, follow_symlinks=False)
                    status = os.stat(short, dir_fd=there, follow_symlinks=False)  # a descriptor
        except OSError:
            return False  # another file system, or the limit of links is reached: copy instead
        if _looks_like(status, row):
            return True
        folder.remove(new)
        return False

    def _copied_tiny(self, copy: Copy, folder: Folder) -> bool:
        """Copy a file through memory: check its stat values after reading, then write it."""
        size = copy.row[1]
        try:
            with located(self._fd, copy.old) as (root, name):
                fd = os.open(name, _READ, dir_fd=root)
            try:
                data = os.read(fd, size)
                if not _looks_like(os.fstat(fd), copy.row) or len(data) != size:
                    return False
            finally:
                os.close(fd)
        except OSError:
            return False
        if self._full and digest(data) != copy.rows.entry(copy.number).digest:
            return False
        folder.write(copy.path, copy.executable, data)
        return True

    def _copied(self, folder: Folder, copy: Copy) -> bool:
        """Copy a file; after a failure it is fetched from the repository."""
        source = self._open(copy.old, copy.row)
        if source is None:
            return False
        try:
            if self._full and hash_file(source) != copy.rows.entry(copy.number).digest:
                return False
            target = folder.new(copy.path, copy.executable)
            try:
                size = copy.row[1]
                self._share = clone(source, target, size, share=self._share)
                return os.fstat(target).st_size == size and _looks_like(os.fstat(source), copy.row)
            finally:
                os.close(target)
        except OSError:
            return False
        finally:
            os.close(source)

    def share(self, entry: Entry, target: FetchedFile) -> PlannedFile | None:
        """Return how to build a changed file: spans copied from its old version, the rest from packs."""
        before = self._changes.before.get(entry.path)
        if before is None or entry.size < _SMALLEST or before.size < _SMALLEST or not before.digest:
            return None
        row = self._rows.stat(entry.path)
        if row is None or row[1] != before.size:
            return None
        spans, rest = _overlaps(before, entry, self._repo.packs.footer)
        if not spans:
            return None
        target.spread()
        target.reused = sum(length for _, _, length in spans)
        return PlannedFile(target, rest, LocalCopy(lambda: self._opened(entry.path, row), spans))

    def _opened(self, path: str, row: _Look) -> int:
        """Return a descriptor; of an empty file if the file is gone, so that the digest does not match."""
        fd = self._open(path, row)
        return os.open(os.devnull, _READ) if fd is None else fd

    def _open(self, path: str, row: _Look) -> int | None:
        """Return a descriptor of a file if it is unchanged since it was verified."""
        try:
            with located(self._fd, path) as (root, name):
                fd = os.open(name, _READ, dir_fd=root)
        except OSError:
            return None
        if _looks_like(os.fstat(fd), row):
            return fd
        os.close(fd)
        return None


def _looks_like(status: os.stat_result, row: _Look) -> bool:
    """Return whether a file has the size and modification time it had when it was verified."""
    return status.st_size == row[1] and status.st_mtime_ns == row[2] and stat.S_ISREG(status.st_mode)


def _batches(copy: Callable[[Copy], bool], jobs: list[Copy]) -> Iterator[Copies]:
    """Yield files to be copied in batches large enough for a thread's job."""
    batch: list[Copy] = []
    size = 0
    for job in jobs:
        batch.append(job)
        size += job.row[1]
        if size >= _BATCH:
            yield Copies(copy, batch)
            batch, size = [], 0
    if batch:
        yield Copies(copy, batch)


def _changes(repo: RepositoryCore, cached: CachedFolder, new: bytes) -> _Changes:
    from dataver.tree import diff

    changes = _Changes({}, {})
    if cached.tree == new:
        return changes
    lacking: dict[bytes, int] = {}
    for change in diff(cached.tree, new, repo.blocks.load):
        if change.new is not None:
            changes.before[change.path] = change.old
            if change.new.size:
                lacking[change.new.digest] = change.new.size
        if change.old is not None and change.old.digest:
            changes.by_digest[change.old.digest] = change.path
        if len(changes.before) + len(changes.by_digest) > MOST_CHANGES:
            raise IntegrityError("the cached version has hardly anything in common with the wanted one")
    for known in changes.by_digest:
        lacking.pop(known, None)
    if lacking and cached.path.name == folder_name(
        cached.tree
    ):  # after a partial fetch not all blocks are local
        changes.by_digest.update(_unchanged(repo, cached.tree, lacking))
    return changes


def _unchanged(repo: RepositoryCore, tree: bytes, wanted: dict[bytes, int]) -> Iterator[tuple[bytes, str]]:
    """Yield digest and path of files with wanted contents; sizes exclude most others."""
    sizes = set(wanted.values())
    for leaf in repo.tree(tree).leaves():
        if sizes.isdisjoint(leaf.sizes):
            continue
        for number, size in enumerate(leaf.sizes):
            if size in sizes and leaf.kinds[number] in FILES:
                path, _, _, name, _ = leaf.row(number)
                if name in wanted:
                    yield name, path


def _overlaps(
    old: Entry, new: Entry, footer: Callable[[bytes], Footer]
) -> tuple[list[tuple[int, int, int]], list[tuple[Extent, int]]]:
    """Compare two versions of a file by the location of their bytes.

    Returns:
        Spans that both have, as `(position in old, position in new, length)`, and the remaining extents
        with their positions in new.
    """
    packs = {extent.pack for extent in old.extents} & {extent.pack for extent in new.extents}
    if not packs:
        return [], []
    have: dict[bytes, list[tuple[int, int, int]]] = defaultdict(list)
    for extent, position in positions(old.extents):
        if extent.pack in packs:
            start = raw_start(footer(extent.pack), extent)
            have[extent.pack].append((start, start + extent.length, position))
    for intervals in have.values():
        intervals.sort()
    spans: list[tuple[int, int, int]] = []
    rest: list[tuple[Extent, int]] = []
    for extent, position in positions(new.extents):
        if extent.pack not in packs:
            rest.append((extent, position))
            continue
        known = footer(extent.pack)
        start = raw_start(known, extent)
        for held, low, high, at in _cut(start, start + extent.length, have[extent.pack]):
            there = position + low - start
            if held:
                spans.append((at, there, high - low))
            else:
                rest.extend(positions(raw_extents(known, low, high - low), there))
    return spans, rest


def _cut(low: int, high: int, intervals: list[tuple[int, int, int]]) -> Iterator[tuple[bool, int, int, int]]:
    """Cut `[low, high)` into ranges that sorted intervals contain and ranges that they do not.

    Yields `(held, from, to, position)`, the position that of `from` in the file the intervals come from.
    """
    number = max(bisect_right(intervals, (low, high, 0)) - 1, 0)
    while low < high:
        while number < len(intervals) and intervals[number][1] <= low:
            number += 1
        if number == len(intervals) or intervals[number][0] >= high:
            yield False, low, high, 0
            return
        start, end, position = intervals[number]
        if start > low:
            yield False, low, start, 0
            low = start
        until = min(end, high)
        yield True, low, until, position + low - start
        low = until
