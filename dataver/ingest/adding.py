"""From found files to entries: read, cut, hash, deduplicate, hand new chunks to the packs.

The idea: the caller's thread reads files into *windows*, buffers that are used again and again, and does the
bookkeeping in batches; a thread of its own cuts and hashes one window (`dataver.ingest.cutting`) while the
next is being read and the one before is looked up and appended. Compression and writing happen behind
`PackSession`. Windows of tiny files are not handed to the thread: two threads would only take turns. A file's
bytes become *pieces*, stretches of the raw stream of a known pack or of this session, and pieces become
extents when the packs are closed.

Keeps invariants 1 (a file that changes while it is read is read again, or refused) and 6 (chunks are copied
out of the source at once). Memory is bounded by the windows and by the frames in flight. What a job raises is
raised here. It does not touch trees or drafts: it answers with entries.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import NamedTuple, Self

from dataver.formats.block import Leaf
from dataver.formats.entry import Entry, Kind
from dataver.hashing import ChunkingParameters, new_hasher
from dataver.ingest.cutting import Chunk, Cutter, File, LargeFile, Span, Window
from dataver.ingest.expected import Expected
from dataver.ingest.known import KnownChunks
from dataver.ingest.packing import PackSession
from dataver.ingest.placing import Placed, extents_of, place
from dataver.ingest.scan import Found
from dataver.ingest.stat_cache import FileStat, StatCache

__all__ = ["Adder", "Counts"]

_WINDOW = 1 << 20  # bytes read before they are cut; a file up to this size is read in one go
_WINDOWS = 3  # one being read into, one being cut, one being looked up
_FILES = 512  # files in a window
_TINY = 4096  # average size below which a window's files are hashed by the thread that read them
_TRIES = 3  # readings of a file that keeps changing
_OPEN = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class Counts(Placed):
    """What an `Adder` has done so far. Sizes in bytes."""

    __slots__ = ("files", "size", "unchanged")

    def __init__(self) -> None:
        super().__init__()
        self.files = self.size = self.unchanged = 0


class _Job(NamedTuple):
    """A window on its way: what will be its chunks, and the files that are complete with it."""

    window: Window
    chunks: "Future[list[Chunk]]"
    complete: list[tuple[File, FileStat]]


class Adder:
    """Turns found things into entries, one command long. Use from one thread, in a `with`; it ends its own.

    Args:
        locate: gives the leaf, and the number in it, of the entry that stands at a path now, or None; None
            where there are no entries at all.
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
        locate: Callable[[str], tuple[Leaf, int] | None] | None,
        known: KnownChunks,
        session: PackSession,
        chunking: ChunkingParameters,
        stats: StatCache,
        problems: list[tuple[str, str]],
        report: Callable[[int, int, int], None],
    ) -> None:
        self._locate = locate
        self._known = known
        self._session = session
        self._chunking = chunking
        self._cutter = Cutter(chunking)
        self._stats = stats
        self._problems = problems
        self._report = report
        self._size = max(_WINDOW, chunking.maximum)
        self._free: list[Window] = []
        self._windows = 0
        self._thread: ThreadPoolExecutor | None = None
        self._jobs: deque[_Job] = deque()
        self._open: Window | None = None  # the window that small files are read into
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

    def add(self, found: Found) -> None:
        """Take one thing; its entry appears in a later `entries()`."""
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
                    return
            prior = leaf.entry(number)
        try:
            self._read(found, prior)
        except OSError as error:
            self._problems.append((found.source, f"it cannot be read: {error.strerror or error}"))

    @property
    def waiting(self) -> int:
        """How many changed files wait to become entries."""
        return len(self._files) + len(self._plain)

    def entries(self) -> Iterator[Entry]:
        """Settle the packs and yield the entries of everything added since the last call, in no order."""
        self.flush()
        self._session.settle()
        files, plain = self._files, self._plain
        self._files, self._plain = [], []
        yield from plain
        for file in files:
            extents = file.extents if file.extents is not None else tuple(extents_of(file, self._session))
            yield Entry(file.found.path, file.found.kind, file.size, file.digest, "", extents)

    def flush(self) -> None:
        """Finish what was read: cut it, look up its chunks and append those that are new."""
        self._hand_over()
        self._finish_jobs()

    # windows: taken, filled, handed over, settled, free again

    def _take(self) -> Window:
        """Return a window to read into; settles the oldest job where all windows are on their way."""
        if not self._free:
            if self._windows < _WINDOWS:
                self._windows += 1
                return Window(self._size, self._chunking)
            self._finish_job()
        return self._free.pop()

    def _hand_over(self) -> None:
        """Let the small files read so far be hashed and cut."""
        window, spans, complete = self._open, self._spans, self._complete
        if window is None:
            return
        used, self._open, self._spans, self._complete = self._used - window.begin, None, [], []
        if used >= _TINY * len(spans):
            self._submit(window, complete, self._cutter.small, window, spans)
            return
        self._finish_jobs()
        self._settle(window, self._cutter.small(window, spans), complete)

    def _submit(
        self,
        window: Window,
        complete: list[tuple[File, FileStat]],
        job: Callable[..., list[Chunk]],
        *what: object,
        **how: object,
    ) -> None:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "dataver-cut")
        self._jobs.append(_Job(window, self._thread.submit(job, *what, **how), complete))

    def _finish_jobs(self) -> None:
        while self._jobs:
            self._finish_job()

    def _finish_job(self) -> None:
        job = self._jobs.popleft()
        self._settle(job.window, job.chunks.result(), job.complete)

    def _settle(self, window: Window, chunks: list[Chunk], complete: list[tuple[File, FileStat]]) -> None:
        """Look up the chunks of a window together and append those that are new."""
        for file, seen in complete:
            self._accept(file, seen)
        place(chunks, self._known, self._session, self.counts)
        self._free.append(window)
        self._tell()

    def _accept(self, file: File, seen: FileStat) -> None:
        """Take a file that was read well and hashed."""
        counts, prior = self.counts, file.prior
        counts.files += 1
        counts.size += file.size
        self._stats.put(file.found.path, seen, file.digest)
        if prior is not None:
            if file.same:
                if prior.kind == file.found.kind:
                    counts.unchanged += 1
                    return
                file.extents = prior.extents
            else:
                self._known.learn(extent.pack for extent in prior.extents)
        self._files.append(file)

    def _tell(self) -> None:
        now = (self.counts.files, self.counts.size, self.counts.new_size)
        self._report(*(new - old for new, old in zip(now, self._told, strict=True)))
        self._told = now

    def _add_plain(self, found: Found) -> None:
        entry = Entry(found.path, found.kind, 0, b"", found.target, ())
        place = self._locate(found.path) if self._locate is not None else None
        prior = None if place is None else place[0].entry(place[1])
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
                file = File(found, prior)
                read = self._read_small if before.size < self._size else self._read_large
                good, after = read(fd, file, before)
                if good:
                    return
                before = after
                os.lseek(fd, 0, os.SEEK_SET)
        finally:
            os.close(fd)
        self._problems.append((found.source, "it kept changing while it was read"))

    def _read_small(self, fd: int, file: File, before: FileStat) -> tuple[bool, FileStat]:
        """Read a file of less than a window behind those before it; return whether it held still."""
        size = before.size
        window = self._open
        if window is None or self._used + size >= len(window.view) or len(self._spans) >= _FILES:
            self._hand_over()
            window = self._open = self._take()
            self._used = window.begin
        start = self._used
        room = window.view[start : start + size + 1]  # one more byte shows that the file has grown
        count = os.readv(fd, [room])
        if count < size:
            count += _fill(fd, room[count:])
        after = _look(fd)
        good = after == before and count == size
        if good:
            file.size = size
            self._used = start + size
            self._spans.append((file, start, self._used))
            self._complete.append((file, after))
        return good, after

    def _read_large(self, fd: int, file: File, before: FileStat) -> tuple[bool, FileStat]:
        """Read a window after the other and hand each over; return whether the file held still."""
        self._hand_over()
        expected = None
        if file.prior is not None:
            self._known.learn(extent.pack for extent in file.prior.extents)
            expected = Expected(file.prior.extents, self._known.footer)
        large, hasher = LargeFile(file, expected), new_hasher()
        while True:
            window = self._take()
            try:
                count = _fill(fd, window.view[window.begin :])
                after = _look(fd)
            except OSError:
                self._free.append(window)
                raise
            hasher.update(window.view[window.begin : window.begin + count])
            file.size += count
            if count < self._size:
                break
            self._submit(window, [], self._cutter.large, window, large, count, final=False)
        good = after == before and file.size == after.size
        if good:
            file.digest = hasher.digest()
            self._submit(window, [(file, after)], self._cutter.large, window, large, count, final=True)
        else:
            self._free.append(window)
        return good, after


def _fill(fd: int, room: memoryview) -> int:
    """Read until `room` is full or the file ends; return how many bytes came."""
    count = 0
    while count < len(room) and (more := os.readv(fd, [room[count:]])):
        count += more
    return count


def _look(fd: int) -> FileStat:
    now = os.fstat(fd)
    return FileStat(now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino)
