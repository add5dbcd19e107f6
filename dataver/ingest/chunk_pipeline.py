"""Pipeline from found files to entries: read, cut, hash, deduplicate, append new chunks to packs.

The idea: the caller's thread reads files into *windows*, reusable buffers, and does the bookkeeping in
batches; a second thread cuts and hashes one window (`dataver.ingest.cutting`) while the next is read and the
previous one is looked up and appended. `PackSession` compresses and writes on its own threads. Windows of
tiny files are processed inline, since the two threads would only alternate. A file's bytes become *pieces*,
ranges of the raw stream of a known pack or of this session, and pieces become extents when the packs are
closed.

Keeps invariants 1 (a file that changes while it is read is read again, or refused) and 6 (chunks are copied
from the source at once). Memory is bounded by the windows and by the frames in flight. Errors of jobs are
raised here. It returns entries and does not touch trees or drafts.
"""

import errno
import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from dataver import parallel
from dataver.errors import DataverError, StoreError
from dataver.formats.block import Leaf
from dataver.formats.entry import Entry, Kind
from dataver.hashing import ChunkingParameters, new_hasher
from dataver.ingest.cutting import Chunk, CutBuffer, Cutter, File, LargeFile, Span
from dataver.ingest.dedup import KnownChunks, Placed, extents_of, place
from dataver.ingest.pack_writer import PackSession
from dataver.ingest.parent_chunks import Expected
from dataver.ingest.scan import ScannedItem
from dataver.ingest.stat_cache import FileStat, StatCache
from dataver.storage.holes import LEAST, ZEROS, data_spans

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

__all__ = ["Adder", "Counts"]

_WINDOW = 1 << 20  # bytes read before they are cut; a file up to this size is read at once
_WINDOWS = 3  # one each for reading, cutting and look-up
_FILES = 512  # files in a window
_TINY = 4096  # average size below which a window's files are hashed by the thread that read them
_TRIES = 3  # attempts to read a file that keeps changing
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_OPEN = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class Counts(Placed):
    """Counters of an `Adder`. Sizes in bytes."""

    __slots__ = ("files", "size", "unchanged")

    def __init__(self) -> None:
        super().__init__()
        self.files = self.size = self.unchanged = 0


class _WindowJob(NamedTuple):
    """A window being processed: the future of its chunks, and the files that end in it."""

    window: CutBuffer
    chunks: "Future[list[Chunk]]"
    complete: list[tuple[File, FileStat]]


class Adder:
    """Converter of scanned files to entries, for one command. Use from one thread, in a `with`.

    Args:
        locate: returns the leaf, and the number in it, of the current entry at a path, or None; None
            if there are no entries at all.
        known: finds known chunks.
        session: receives new chunks.
        chunking: the repository's cutting parameters.
        stats: the stat cache.
        problems: receives `(name, reason)` of files that could not be added.
        report: receives counts of files, their bytes, and the new bytes among them.
        unchanged: whether entries that are equal to those at their paths are yielded, too.
    """

    def __init__(
        self,
        *,
        locate: Callable[[str], tuple[Leaf, int] | None] | None,
        known: KnownChunks,
        session: PackSession,
        chunking: ChunkingParameters,
        stats: StatCache,
        problems: list[tuple[str, str]],
        report: Callable[[int, int, int], None],
        unchanged: bool = False,
    ) -> None:
        self._locate = locate
        self._known = known
        self._session = session
        self._chunking = chunking
        self._cutter = Cutter(chunking)
        self._stats = stats
        self._problems = problems
        self._report = report
        self._unchanged = unchanged
        self._size = max(_WINDOW, chunking.maximum)
        self._free: list[CutBuffer] = []
        self._windows = 0
        self._thread: ThreadPoolExecutor | None = None
        self._jobs: deque[_WindowJob] = deque()
        self._open: CutBuffer | None = None  # the window that small files are read into
        self._used = 0
        self._spans: list[Span] = []
        self._complete: list[tuple[File, FileStat]] = []
        self._files: list[File] = []
        self._plain: list[Entry] = []
        self._told = (0, 0, 0)
        self.counts = Counts()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)

    def add(self, found: ScannedItem) -> None:
        """Add one scanned item; its entry appears in a later `entries()`."""
        counts = self.counts
        if found.kind in (Kind.SYMLINK, Kind.DIRECTORY):
            self._add_plain(found)
            return
        prior: Entry | None = None
        if self._locate is not None and (place := self._locate(found.path)) is not None:
            leaf, number = place
            if leaf.kinds[number] == found.kind:
                remembered = self._stats.get(found.path, found.stat)
                if remembered is not None and remembered == leaf.file_digest(number):
                    counts.files += 1
                    counts.unchanged += 1
                    counts.size += found.stat.size
                    if self._unchanged:
                        self._plain.append(leaf.entry(number))
                    return
            prior = leaf.entry(number)
        try:
            self._read(found, prior)
        except OSError as error:
            if error.errno in _EXHAUSTED:
                raise  # it would affect the next file as well
            self._problems.append((found.source, f"it cannot be read: {error.strerror or error}"))

    @property
    def waiting(self) -> int:
        """The number of changed files that have no entry yet."""
        return len(self._files) + len(self._plain)

    def entries(self) -> Iterator[Entry]:
        """Flush the packs and yield the entries added since the last call, in no order."""
        self.flush()
        self._session.flush()
        files, plain = self._files, self._plain
        self._files, self._plain = [], []
        yield from plain
        for file in files:
            extents = file.extents if file.extents is not None else tuple(extents_of(file, self._session))
            yield Entry(file.found.path, file.found.kind, file.size, file.digest, "", extents)

    def flush(self) -> None:
        """Process the data read so far: cut it, look up its chunks and append new ones."""
        self._hand_over()
        self._finish_jobs()

    # life of a window: acquired, filled, submitted, finished, free again

    def _free_buffer(self) -> CutBuffer:
        """Return a window to read into; finish the oldest job if no window is free."""
        if not self._free:
            if self._windows < _WINDOWS:
                self._windows += 1
                return CutBuffer(self._size, self._chunking)
            self._finish_job()
        return self._free.pop()

    def _hand_over(self) -> None:
        """Submit the small files read so far for hashing and cutting."""
        window, spans, complete = self._open, self._spans, self._complete
        if window is None:
            return
        used, self._open, self._spans, self._complete = self._used - window.begin, None, [], []
        if used >= _TINY * len(spans):
            self._submit(window, complete, self._cutter.small, window, spans)
            return
        self._finish_jobs()
        with _own_errors():
            self._finish_window(window, self._cutter.small(window, spans), complete)

    def _submit(
        self,
        window: CutBuffer,
        complete: list[tuple[File, FileStat]],
        job: Callable[..., list[Chunk]],
        *what: object,
        **how: object,
    ) -> None:
        if self._thread is None:
            self._thread = parallel.pool(1, "cut")
        self._jobs.append(_WindowJob(window, self._thread.submit(job, *what, **how), complete))

    def _finish_jobs(self) -> None:
        while self._jobs:
            self._finish_job()

    def _finish_job(self) -> None:
        job = self._jobs.popleft()
        with _own_errors():
            self._finish_window(job.window, job.chunks.result(), job.complete)

    def _finish_window(
        self, window: CutBuffer, chunks: list[Chunk], complete: list[tuple[File, FileStat]]
    ) -> None:
        """Look up the chunks of a window together and append new ones."""
        for file, seen in complete:
            self._accept(file, seen)
        place(chunks, self._known, self._session, self.counts)
        self._free.append(window)
        self._report_counts()

    def _accept(self, file: File, seen: FileStat) -> None:
        """Record a file that was read and hashed without a change."""
        counts, prior = self.counts, file.prior
        counts.files += 1
        counts.size += file.size
        self._stats.put(file.found.path, seen, file.digest, still=file.still)
        if prior is not None:
            if file.same:
                if prior.kind == file.found.kind:
                    counts.unchanged += 1
                    if not self._unchanged:
                        return
                file.extents = prior.extents
            else:
                self._known.learn(extent.pack for extent in prior.extents)
        self._files.append(file)

    def _report_counts(self) -> None:
        now = (self.counts.files, self.counts.size, self.counts.new_size)
        self._report(*(new - old for new, old in zip(now, self._told, strict=True)))
        self._told = now

    def _add_plain(self, found: ScannedItem) -> None:
        entry = Entry(found.path, found.kind, 0, b"", found.target, ())
        place = self._locate(found.path) if self._locate is not None else None
        prior = None if place is None else place[0].entry(place[1])
        self.counts.files += 1
        if prior is not None and (prior.kind, prior.target) == (entry.kind, entry.target):
            self.counts.unchanged += 1
            if not self._unchanged:
                return
        self._plain.append(entry)

    def _read(self, found: ScannedItem, prior: Entry | None) -> None:
        """Read a file until its stat values before and after agree."""
        fd = os.open(found.source, _OPEN)
        try:
            before = found.stat
            for _ in range(_TRIES):
                file = File(found, prior)
                file.still = self._stats.holds_still(fd, before)
                read = self._read_small if before.size < self._size else self._read_large
                good, after = read(fd, file, before)
                if good:
                    return
                if found.verified and after._replace(ctime_ns=before.ctime_ns) != before:  # no mere hard link
                    self._problems.append((found.source, "it has changed since it was verified"))
                    return
                before = after
                os.lseek(fd, 0, os.SEEK_SET)
        finally:
            os.close(fd)
        self._problems.append((found.source, "it kept changing while it was read"))

    def _read_small(self, fd: int, file: File, before: FileStat) -> tuple[bool, FileStat]:
        """Read a small file into the current window; return whether it was stable, and its stat values."""
        size = before.size
        window = self._open
        if window is None or self._used + size >= len(window.view) or len(self._spans) >= _FILES:
            self._hand_over()
            window = self._open = self._free_buffer()
            self._used = window.begin
        start = self._used
        room = window.view[start : start + size + 1]  # one extra byte detects that the file has grown
        count = os.readv(fd, [room])
        if count < size:
            count += _fill(fd, room[count:])
        after = _file_stat(fd)
        good = after == before and count == size
        if good:
            file.size = size
            self._used = start + size
            self._spans.append((file, start, self._used))
            self._complete.append((file, after))
        return good, after

    def _read_large(self, fd: int, file: File, before: FileStat) -> tuple[bool, FileStat]:
        """Read and submit one window after the other; return whether the file was stable.

        Holes are not read: a window ends where a hole begins.
        """
        self._hand_over()
        expected = None
        if file.prior is not None:
            self._known.learn(extent.pack for extent in file.prior.extents)
            expected = Expected(file.prior.extents, self._known.footer)
        holes = _holes(fd, before.size)
        large, hasher = LargeFile(file, expected), new_hasher(parallel=bool(holes))
        while True:
            window = self._free_buffer()
            end = holes[0][0] - file.size if holes else self._size
            room = window.view[window.begin : window.begin + min(end, self._size)]
            try:
                count = _fill(fd, room)
                after = _file_stat(fd)
            except OSError:
                self._free.append(window)
                raise
            hasher.update(window.view[window.begin : window.begin + count])
            file.size += count
            hole = 0
            if holes and file.size == holes[0][0]:
                hole = holes[0][1]
                file.size += hole
                os.lseek(fd, file.size, os.SEEK_SET)
                for done in range(0, hole, len(ZEROS)):
                    hasher.update(ZEROS[: hole - done])
                holes.popleft()
            elif count < len(room):
                break
            self._submit(window, [], self._cutter.large, window, large, count, final=False, hole=hole)
        good = after == before and file.size == after.size
        if good:
            file.digest = hasher.digest()
            self._submit(window, [(file, after)], self._cutter.large, window, large, count, final=True)
        else:
            self._free.append(window)
        return good, after


@contextmanager
def _own_errors() -> Iterator[None]:
    """Translate `OSError` of cutting and storing, which the file being read did not cause."""
    try:
        yield
    except DataverError:
        raise  # some DataverErrors are OSErrors, too
    except OSError as error:
        raise StoreError(f"data that was read cannot be stored: {error.strerror or error}.") from error


def _fill(fd: int, room: memoryview) -> int:
    """Read until `room` is full or the file ends; return the number of bytes read."""
    count = 0
    while count < len(room) and (more := os.readv(fd, [room[count:]])):
        count += more
    return count


def _file_stat(fd: int) -> FileStat:
    now = os.fstat(fd)
    return FileStat(now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino)


def _holes(fd: int, size: int) -> deque[tuple[int, int]]:
    """Return offsets and lengths of holes worth keeping; none if all blocks are allocated."""
    holes: deque[tuple[int, int]] = deque()
    if 512 * os.fstat(fd).st_blocks >= size:
        return holes
    at = 0
    for begin, end in (*data_spans(fd, size), (size, size)):
        if begin - at >= LEAST:
            holes.append((at, begin - at))
        at = end
    os.lseek(fd, 0, os.SEEK_SET)
    return holes
