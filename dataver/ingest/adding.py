"""From found files to entries: read, cut, hash, deduplicate, hand new chunks to the packs.

The idea: the caller's thread only reads, cuts and hashes (long calls that release the GIL) and does the
bookkeeping in batches; compression and writing happen behind `PackSession`. A file's bytes become *pieces*,
stretches of the raw stream of a known pack or of this session, and pieces become extents when the packs are
closed.

Keeps invariants 1 (a file that changes while it is read is read again, or refused) and 6 (chunks are copied
out of the source at once). Memory is bounded by the batch and by the frames in flight. It does not touch
trees or drafts: it answers with entries.
"""

import os
from collections.abc import Callable, Iterator
from typing import TypeAlias

from dataver.formats.entry import Entry, Extent, Kind
from dataver.formats.pack import Footer
from dataver.hashing import Chunker, ChunkingParameters, digest, new_hasher
from dataver.ingest.known import KnownChunks
from dataver.ingest.packing import PackSession, interval_extent
from dataver.ingest.scan import Found
from dataver.ingest.stat_cache import FileStat, StatCache

__all__ = ["Adder", "Counts"]

_SMALL = 1 << 20  # a file up to this size is read in one go
_BATCH_BYTES = 4 << 20
_BATCH_FILES = 512
_WINDOW = 4 << 20  # buffer of a large file
_TRIES = 3  # readings of a file that keeps changing
_OPEN = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class Counts:
    """What an `Adder` has done so far. Sizes in bytes."""

    __slots__ = ("files", "new_chunks", "new_size", "size", "unchanged")

    def __init__(self) -> None:
        self.files = self.size = self.unchanged = self.new_chunks = self.new_size = 0


class _Piece:
    """A stretch of raw bytes: of the pack with this footer, or of the session's stream (None)."""

    __slots__ = ("footer", "length", "start")

    def __init__(self, footer: Footer | None, start: int, length: int) -> None:
        self.footer, self.start, self.length = footer, start, length


class _File:
    """One file on its way to an entry."""

    __slots__ = ("digest", "extents", "found", "pieces", "size")

    def __init__(self, found: Found) -> None:
        self.found = found
        self.size = 0
        self.digest = b""
        self.pieces: list[_Piece] = []
        self.extents: tuple[Extent, ...] | None = None

    def extend(self, footer: Footer | None, start: int, length: int) -> None:
        """Add the next stretch of the file's bytes; neighbours merge."""
        if self.pieces:
            last = self.pieces[-1]
            if last.footer is footer and last.start + last.length == start:
                last.length += length
                return
        self.pieces.append(_Piece(footer, start, length))


_Chunk: TypeAlias = tuple[_File, bytes, "memoryview | bytes"]  # of which file, its digest, its bytes


class Adder:
    """Turns found things into entries, one command long. Use from one thread.

    Args:
        prior: gives the entry that stands at a path now, or None; None where there are no entries at all.
        known: where chunks may already lie.
        session: where new chunks go.
        chunking: the repository's cutting parameters.
        stats: remembers unchanged files.
        problems: `(name, reason)` of files that could not be added, appended to.
        report: told of files done, their bytes, and the new bytes among them.
    """

    def __init__(
        self,
        *,
        prior: Callable[[str], Entry | None] | None,
        known: KnownChunks,
        session: PackSession,
        chunking: ChunkingParameters,
        stats: StatCache,
        problems: list[tuple[str, str]],
        report: Callable[[int, int, int], None],
    ) -> None:
        self._prior = prior or (lambda _path: None)
        self._fresh = prior is None
        self._known = known
        self._session = session
        self._chunker = Chunker(chunking)
        self._smallest = chunking.minimum
        self._stats = stats
        self._problems = problems
        self._report = report
        self._buffer: memoryview | None = None
        self._batch: list[_Chunk] = []
        self._batch_bytes = 0
        self._files: list[_File] = []
        self._plain: list[Entry] = []
        self._told = (0, 0, 0)
        self.counts = Counts()

    def add(self, found: Found) -> None:
        """Take one thing; its entry appears in a later `entries()`."""
        counts = self.counts
        if found.kind in (Kind.SYMLINK, Kind.DIRECTORY):
            self._add_plain(found)
            return
        prior = None if self._fresh else self._prior(found.path)
        if prior is not None and prior.kind == found.kind:
            remembered = self._stats.get(found.path, found.stat)
            if remembered is not None and remembered == prior.digest:
                counts.files += 1
                counts.unchanged += 1
                counts.size += found.stat.size
                return
        try:
            self._read(found, prior)
        except OSError as error:
            self._problems.append((found.source, f"it cannot be read: {error.strerror or error}"))
        if self._batch_bytes >= _BATCH_BYTES or len(self._batch) >= _BATCH_FILES:
            self.flush()

    @property
    def waiting(self) -> int:
        """How many changed files wait to become entries."""
        return len(self._files) + len(self._plain)

    def entries(self) -> Iterator[Entry]:
        """Settle the packs and yield the entries of everything added since the last call, in no order."""
        self.flush()
        self._session.settle()
        self._known.settled()
        files, plain = self._files, self._plain
        self._files, self._plain = [], []
        yield from plain
        for file in files:
            extents = file.extents if file.extents is not None else tuple(self._extents(file))
            yield Entry(file.found.path, file.found.kind, file.size, file.digest, "", extents)

    def flush(self) -> None:
        """Look up the chunks of the batch together and append those that are new."""
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        own, counts, session = self._known.own, self.counts, self._session
        places = self._known.find([name for _, name, _ in batch if own(name) is None])
        for file, name, data in batch:
            length = len(data)
            position = own(name)
            if position is None:
                place = places.get(name)
                if place is not None and place.length == length:
                    file.extend(place.footer, place.start, length)
                    continue
                position = session.append(data, name)
                self._known.remember(name, position)
                counts.new_chunks += 1
                counts.new_size += length
            file.extend(None, position, length)
        self._tell()

    def _tell(self) -> None:
        now = (self.counts.files, self.counts.size, self.counts.new_size)
        self._report(*(new - old for new, old in zip(now, self._told, strict=True)))
        self._told = now

    def _add_plain(self, found: Found) -> None:
        entry = Entry(found.path, found.kind, 0, b"", found.target, ())
        prior = self._prior(found.path)
        self.counts.files += 1
        if prior is not None and (prior.kind, prior.target) == (entry.kind, entry.target):
            self.counts.unchanged += 1
        else:
            self._plain.append(entry)

    def _read(self, found: Found, prior: Entry | None) -> None:
        """Read a file until two looks at its stat values agree."""
        fd = os.open(found.source, _OPEN)
        try:
            before = found.stat
            for _ in range(_TRIES):
                file = _File(found)
                data = b""
                if before.size <= _SMALL:
                    data = os.read(fd, before.size + 1)
                    if len(data) < before.size:
                        data = _read_on(fd, data)
                    file.size = len(data)
                else:
                    self._read_large(fd, file, prior)
                now = os.fstat(fd)
                after = FileStat(now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino)
                if after == before and file.size == after.size:
                    self._accept(file, data, after, prior)
                    return
                before = after
                os.lseek(fd, 0, os.SEEK_SET)
        finally:
            os.close(fd)
        self._problems.append((found.source, "it kept changing while it was read"))

    def _accept(self, file: _File, data: bytes, seen: FileStat, prior: Entry | None) -> None:
        """Take a file that was read well; `data` is its content where that was read in one go."""
        counts = self.counts
        counts.files += 1
        counts.size += file.size
        if not file.digest:
            file.digest = digest(data)
        self._stats.put(file.found.path, seen, file.digest)
        if prior is not None and prior.digest == file.digest:
            if prior.kind == file.found.kind:
                counts.unchanged += 1
                return
            file.extents = prior.extents
        elif data:
            if prior is not None:
                self._known.learn(extent.pack for extent in prior.extents)
            self._cut(file, data)
        self._files.append(file)

    def _cut(self, file: _File, data: bytes) -> None:
        """Put the chunks of a small file into the batch."""
        self._batch_bytes += len(data)
        ends = self._chunker.cut(data, final=True) if len(data) > self._smallest else ()
        if len(ends) < 2:
            self._batch.append((file, file.digest, data))  # one chunk: its digest is the file's
            return
        view, start = memoryview(data), 0
        for end in ends:
            part = view[start:end]
            self._batch.append((file, digest(part), part))
            start = end

    def _read_large(self, fd: int, file: _File, prior: Entry | None) -> None:
        """Read in windows; each window's chunks are appended before the buffer is used again."""
        if self._buffer is None:
            self._buffer = memoryview(bytearray(_WINDOW + self._chunker.params.maximum))
        if prior is not None:
            self._known.learn(extent.pack for extent in prior.extents)
        buffer, hasher = self._buffer, new_hasher()
        held, final = 0, False
        while not final:
            count = os.readv(fd, [buffer[held:]])
            final = count == 0
            hasher.update(buffer[held : held + count])
            held += count
            file.size += count
            if not final and held < _WINDOW:
                continue
            start = 0
            for end in self._chunker.cut(buffer[:held], final=final):
                part = buffer[start:end]
                self._batch.append((file, digest(part), part))
                start = end
            self.flush()
            rest = bytes(buffer[start:held])
            held = len(rest)
            buffer[:held] = rest
        file.digest = hasher.digest()
        if prior is not None and prior.digest == file.digest:
            file.pieces = []

    def _extents(self, file: _File) -> Iterator[Extent]:
        for piece in file.pieces:
            if piece.footer is None:
                yield from self._session.extents(piece.start, piece.length)
            else:
                yield interval_extent(piece.footer, piece.start, piece.length)


def _read_on(fd: int, data: bytes) -> bytes:
    """Read what a short read left over."""
    while more := os.read(fd, _SMALL):
        data += more
    return data
