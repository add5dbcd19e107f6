"""What is on this machine already: unchanged files are linked or copied, changed ones give what they share.

The idea: three kinds of folders can hold bytes of a version that is being fetched. A cached folder of the
same tree; a cached folder of a *near* tree, such as a parent, whose difference is known from the two trees
without reading files; and what an interrupted fetch left. Of a file that changed, both versions' extents are
mapped to intervals of each pack's raw stream (all its chunks in a row): where they overlap, the bytes are the
same.

Invariant 1: a cached file counts as verified if it looks as it did when it was verified (size and mtime);
with `full` it is hashed again. What an interrupted fetch left is always hashed. Shared bytes of a changed
file are covered by that file's digest, and a mismatch there sends the whole file back to the repository.
"""

from __future__ import annotations

import os
import stat
from bisect import bisect_right
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from dataver.checkout.clone import clone
from dataver.checkout.folder import LONG, located, open_folder
from dataver.checkout.plan import Target, positions, raw_extents, raw_start
from dataver.checkout.stat_manifest import Lookup
from dataver.checkout.transfer import TINY, Copies, Copy, LocalCopy, Wanted
from dataver.checkout.version_cache import folder_name
from dataver.checkout.wish import FILES
from dataver.errors import IntegrityError
from dataver.formats.entry import Kind
from dataver.hashing.digest import digest, new_hasher

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from dataver.checkout.folder import Folder
    from dataver.checkout.version_cache import CachedFolder
    from dataver.checkout.wish import Rows
    from dataver.formats.entry import Entry, Extent
    from dataver.formats.pack import Footer
    from dataver.repository import Repository

__all__ = ["Cached", "Interrupted", "Source", "Taken", "hash_file"]

MOST_CHANGES: Final = 200_000  # a tree that differs in more is not near: ~100 MB of memory
_SMALLEST: Final = 64 * 1024  # of a file below this, all is fetched: it lies in one or two frames
_BATCH: Final = 4 * 1024 * 1024  # bytes of files copied in one go
_FIRST_READ: Final = 128 * 1024  # a buffer that a tiny file hardly fills is cheap at this size
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


class Taken(NamedTuple):
    """What a source gave of some entries.

    Attributes:
        left: numbers of the entries it does not give.
        files: files that are in the folder now.
        size: bytes of them.
        copies: files that are still to be copied.
    """

    left: list[int]
    files: int
    size: int
    copies: list[Copies]


_Look = tuple[int, int, int]  # kind, size, modification time (ns)


class Source(Protocol):
    """A local folder that may hold what is wanted."""

    def take(self, rows: Rows, numbers: Sequence[int], folder: Folder, stamps: array[int]) -> Taken:
        """Put files of entries into the folder, verified.

        Notes in `stamps`, by number, the modification time that a file is known to have.
        """
        ...

    def share(self, entry: Entry, target: Target) -> Wanted | None:
        """Return how to make a file out of what its other version here shares with it; None if nothing."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


class Interrupted:
    """What an interrupted fetch of the same tree left.

    Whole files are taken over once they are hashed, of large ones the chunks that are right.
    """

    def __init__(self, path: Path, repo: Repository) -> None:
        self._fd = open_folder(path)
        self._repo = repo

    def take(self, rows: Rows, numbers: Sequence[int], folder: Folder, stamps: array[int]) -> Taken:  # noqa: ARG002  # the protocol's
        """Move the files over that are complete."""
        left: list[int] = []
        files = size = 0
        for number in numbers:
            if rows.kinds[number] in FILES and rows.sizes[number] and self._moved(rows.entry(number), folder):
                files += 1
                size += rows.sizes[number]
            else:
                left.append(number)
        return Taken(left, files, size, [])

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
                            return False  # shared with a cached folder, whose bits these are
                        os.fchmod(fd, mode)
                finally:
                    os.close(fd)
                os.rename(name, same, src_dir_fd=root, dst_dir_fd=there)  # descriptors
        except OSError:
            return False
        return True

    def share(self, entry: Entry, target: Target) -> Wanted | None:
        """Return how to go on with an unfinished large file: what is right is copied, the rest fetched."""
        from dataver.checkout.unfinished import LEAST, arrived

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
        return Wanted(target, rest, LocalCopy(lambda: self._open(entry.path), spans))

    def _open(self, path: str) -> int:
        with located(self._fd, path) as (root, name):
            return os.open(name, _READ, dir_fd=root)

    def close(self) -> None:
        """Close the folder."""
        os.close(self._fd)


class _Changes(NamedTuple):
    """How a near tree differs: the old entry of each path that changed (None: new), and paths by digest.

    The paths are those of the near tree, of files that changed or are wanted at other paths.
    """

    before: dict[str, Entry | None]
    by_digest: dict[bytes, str]


class Cached:
    """A complete folder of the cache: of the same tree, or of a near one."""

    def __init__(
        self, repo: Repository, tree: bytes, cached: CachedFolder, *, link: bool, full: bool
    ) -> None:
        """Open it.

        Args:
            repo: where both trees are.
            tree: the wanted one.
            cached: the folder.
            link: hard-link its files; else copy them.
            full: hash every file before it is used.

        Raises:
            IntegrityError, OSError: it cannot be used, or its tree is not near at all.
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

    def take(self, rows: Rows, numbers: Sequence[int], folder: Folder, stamps: array[int]) -> Taken:
        """Link or copy the files of entries, from whatever paths they have here."""
        left: list[int] = []
        later: list[Copy] = []
        files = size = 0
        kinds, sizes, paths = rows.kinds, rows.sizes, rows.paths
        before, look = self._changes.before, self._rows.look
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
        return Taken(left, files, size, list(_batches(partial(self._copied, folder), later)))

    def holds(self, rows: Rows, number: int) -> bool:
        """Tell whether `take` would give the file of an entry, as far as the folder's manifest says."""
        path = rows.paths[number]
        old = self._before(rows, number) if path in self._changes.before else path
        row = self._rows.look(old) if old else None
        return row is not None and row[1] == rows.sizes[number]

    def _before(self, rows: Rows, number: int) -> str:
        """Return the path that the bytes of a changed entry have here; empty if none."""
        return self._changes.by_digest.get(rows.entry(number).digest, "")

    def _linked(self, old: str, new: str, row: _Look, folder: Folder) -> bool:
        """Hard-link, then look whether what was linked is what was verified."""
        try:
            if len(old) < LONG and len(new) < LONG:
                os.link(old, new, src_dir_fd=self._fd, dst_dir_fd=folder.fd, follow_symlinks=False)
                status = os.stat(new, dir_fd=folder.fd, follow_symlinks=False)  # a descriptor
            else:
                with located(self._fd, old) as (root, name), located(folder.fd, new) as (there, short):
                    os.link(name, short, src_dir_fd=root, dst_dir_fd=there, follow_symlinks=False)
                    status = os.stat(short, dir_fd=there, follow_symlinks=False)  # a descriptor
        except OSError:
            return False  # another file system, or as many links as it allows: a copy will do
        if _looks_like(status, row):
            return True
        folder.remove(new)
        return False

    def _copied_tiny(self, copy: Copy, folder: Folder) -> bool:
        """Copy a file through memory: it is looked at when it was read, and written if it is right."""
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
        """Copy a file; a failure leaves it unfinished, to be made anew from the repository."""
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

    def share(self, entry: Entry, target: Target) -> Wanted | None:
        """Return how to make a changed file: spans copied from its old version, the rest from packs."""
        before = self._changes.before.get(entry.path)
        if before is None or entry.size < _SMALLEST or before.size < _SMALLEST or not before.digest:
            return None
        row = self._rows.look(entry.path)
        if row is None or row[1] != before.size:
            return None
        spans, rest = _overlaps(before, entry, self._repo.packs.footer)
        if not spans:
            return None
        target.spread()
        target.reused = sum(length for _, _, length in spans)
        return Wanted(target, rest, LocalCopy(lambda: self._opened(entry.path, row), spans))

    def _opened(self, path: str, row: _Look) -> int:
        """Return a descriptor; of nothing if the file is gone, so that the digest will not fit."""
        fd = self._open(path, row)
        return os.open(os.devnull, _READ) if fd is None else fd

    def _open(self, path: str, row: _Look) -> int | None:
        """Return a descriptor of a file that looks as it did when it was verified."""
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
    """Tell whether a file has the size and modification time it had when it was verified."""
    return status.st_size == row[1] and status.st_mtime_ns == row[2] and stat.S_ISREG(status.st_mode)


def _batches(copy: Callable[[Copy], bool], jobs: list[Copy]) -> Iterator[Copies]:
    """Yield files to be copied, as many at a time as are worth a thread's attention."""
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


def _changes(repo: Repository, cached: CachedFolder, new: bytes) -> _Changes:
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
    if lacking and cached.path.name == folder_name(cached.tree):  # of a part, not all blocks are here
        changes.by_digest.update(_unchanged(repo, cached.tree, lacking))
    return changes


def _unchanged(repo: Repository, tree: bytes, wanted: dict[bytes, int]) -> Iterator[tuple[bytes, str]]:
    """Yield digest and path of files that have wanted contents; their sizes sort out most of the rest."""
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
    """Compare two versions of a file by where their bytes are stored.

    Returns:
        Spans that both have, as `(position in old, position in new, length)`, and what is left as extents
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
    """Cut `[low, high)` into what sorted intervals hold and what they do not.

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
