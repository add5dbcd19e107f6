"""Per-process reader of one version: resolved names, cached folder, frames.

The idea: costly results (an entry with thousands of extents, a verified digest) are cached, within bounds,
because loaders and column readers read the same files repeatedly.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from itertools import accumulate
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

from dataver.errors import IntegrityError
from dataver.hashing.digest import digest
from dataver.lineage.record.recorder import Reads
from dataver.reading.cached_version import Fetched
from dataver.reading.directory_view import Folders
from dataver.reading.frames import DAMAGED, StreamRange

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dataver.formats.entry import Entry, Extent
    from dataver.lineage.record.journal import Batch
    from dataver.reading.process_cache import Shared
    from dataver.repository import Published

__all__ = ["VersionReader"]

_MANY: Final = 16  # extents from which on an entry is remembered
_ENTRIES: Final = 64
_COMPARED: Final = 200_000  # digests, 100 bytes each


class _FileExtents(NamedTuple):
    """A file and the positions of its extents."""

    entry: Entry
    begins: Sequence[int]


class VersionReader:
    """Per-process reader of a version; thread-safe.

    Attributes:
        repo: the repository, with memory and locks of this process.
        folders: the names.
        fetched: the version's folder in the cache, or None.
        reads: recorder of the files read.
    """

    def __init__(self, shared: Shared, published: Published, run: str | None) -> None:
        self._shared = shared
        self.repo = repo = shared.repo
        self._published = published
        self.folders = Folders(repo.tree(published.record.tree), published.ref)
        self.fetched = Fetched.find(published.record.tree)
        self._frames = shared.frames
        self._spread: dict[str, _FileExtents] = {}
        self._compared: set[bytes] = set()
        self.reads = Reads(repo, published, run)

    def in_current_run(self) -> VersionReader:
        """Return a reader for one pass, whose reads belong to the run that is current now."""
        found = VersionReader.__new__(VersionReader)
        found.__dict__.update(self.__dict__)
        found.reads = self.reads.in_current_run()
        return found

    def refresh(self) -> None:
        """Resolve all locations again, after packs have moved."""
        self.repo.blocks.refresh()
        self.folders.tree = self.repo.tree(self._published.record.tree)
        self._spread = {}
        self._compared = set()

    def open(self, path: str) -> int | None:
        """Note that a file is read; return a descriptor of it if the version was fetched.

        Raises:
            PathNotFound: there is no such file.
            IsADirectoryError: a folder.
        """
        if self.fetched is not None:
            descriptor = self.fetched.open(path)
            if descriptor is not None:
                self.reads.path(path, os.fstat(descriptor).st_size)
                return descriptor
        entry = self.folders.entry(path)
        self.reads.path(entry.path, entry.size)
        return self.fetched.open(entry.path) if self.fetched is not None else None

    def near(self, path: str, start: int, stop: int | None) -> bytes | None:
        """Return a range of a file of a fetched version by a fast path; None: use `read`."""
        found = self.fetched.read(path, start, stop) if self.fetched is not None else None
        if found is None:
            return None
        self.reads.path(path, found[1])
        return found[0]

    def each(self, batch: Batch) -> Iterator[bytes]:
        """Yield the files of a batch of a fetched version; `batch.done` tells how many were yielded.

        It ends early at a link, a missing file, the end of the run and in a forked child.
        """
        read, process = self.fetched.read, os.getpid()  # type: ignore[union-attr]
        try:
            for number, (path, _) in enumerate(batch.files, 1):
                near = read(path, 0, None)
                if near is None or os.getpid() != process:
                    return
                batch.done = number
                if batch.closed:
                    batch.done -= 1  # it was not recorded
                    return
                if monotonic() >= batch.due:
                    self.reads.progress(batch)
                yield near[0]
            if os.getpid() == process:
                self.reads.progress(batch)
        finally:
            batch.end()

    def read(self, parts: Sequence[tuple[str, int, int | None]], *, noted: bool = True) -> list[bytes]:
        """Return parts of files, each `(path, start, stop)`; see `Files.read_many`.

        Args:
            parts: the parts.
            noted: whether that is a read of its own; an open file was read when it was opened.
        """
        found: list[bytes] = [b""] * len(parts)
        far: list[tuple[int, _FileExtents, int, int]] = []
        named: list[tuple[str, int]] = []
        for number, (path, start, stop) in enumerate(parts):
            near = self.fetched.read(path, start, stop) if self.fetched is not None else None
            if near is not None:
                found[number], size = near
                named.append((path, size))
                continue
            spread = self._find(path)
            entry = spread.entry
            named.append((entry.path, entry.size))
            if self.fetched is not None and entry.path != path:
                linked = self.fetched.read(entry.path, start, stop)
                if linked is not None:
                    found[number] = linked[0]
                    continue
            far.append((number, spread, start, entry.size if stop is None else min(stop, entry.size)))
        if noted:
            self.reads.paths(named)
        if far:
            self._read_far(far, found)
        return found

    def _read_far(self, far: Sequence[tuple[int, _FileExtents, int, int]], found: list[bytes]) -> None:
        """Read what is not on this machine as a file."""
        self._frames.prepare(
            extent.pack for _, spread, start, end in far for extent in _touched(spread, start, end)
        )
        contents = self._frames.read([self._runs(spread, start, end) for _, spread, start, end in far])
        for (number, spread, start, end), content in zip(far, contents, strict=True):
            entry = spread.entry
            if start == 0 and end == entry.size and entry.digest not in self._compared:
                if digest(content) != entry.digest:
                    raise IntegrityError(
                        f"'{entry.path}' in {self._published.ref} cannot be read: its bytes in the"
                        " repository do not match its digest.",
                        hint=DAMAGED,
                    )
                if len(self._compared) >= _COMPARED:
                    self._compared = set()
                self._compared.add(entry.digest)
            found[number] = content

    def _find(self, path: str) -> _FileExtents:
        found = self._spread.get(path)
        if found is None:
            entry = self.folders.entry(path)
            if len(entry.extents) <= 1:
                return _FileExtents(entry, (0, entry.size))
            found = _FileExtents(entry, [*accumulate((one.length for one in entry.extents), initial=0)])
            if len(entry.extents) >= _MANY:
                if len(self._spread) >= _ENTRIES:
                    self._spread = {}
                self._spread[path] = found
        return found

    def _runs(self, spread: _FileExtents, start: int, end: int) -> list[StreamRange]:
        """Return the runs that hold bytes `start` to before `end` of a file.

        Raises:
            PackMissing: a pack is not there.
            IntegrityError: an extent does not fit its pack.
        """
        found: list[StreamRange] = []
        if start >= end:
            return found
        first = bisect_right(spread.begins, start) - 1
        for extent, begin in zip(_touched(spread, start, end), spread.begins[first:], strict=False):
            base = self._frames.start_of(extent.pack, extent.offset, extent.skip, extent.length)
            low = base + max(0, start - begin)
            high = base + min(extent.length, end - begin)
            if found and found[-1].pack == extent.pack and found[-1].high == low:
                found[-1] = found[-1]._replace(high=high)
            else:
                found.append(StreamRange(extent.pack, low, high))
        return found


def _touched(spread: _FileExtents, start: int, end: int) -> Sequence[Extent]:
    """Return the extents that hold bytes `start` to before `end`."""
    if start >= end:
        return ()
    first = bisect_right(spread.begins, start) - 1
    last = bisect_right(spread.begins, end - 1)
    return spread.entry.extents[first:last]
