"""Transferring planned ranges to verified files: threads read and decode, one thread writes tiny files.

The idea: large reads, decompression, hashing and large writes release the GIL and run in a pool; creating
tiny files takes only small system calls, which contend for the GIL in several threads (33 against 55
microseconds per file), so the calling thread writes them. A file that one range contains is verified in
memory and written at once. Any other is written span by span, in any order, and hashed from the page cache as
soon as its spans are adjacent. Long runs of zeros are not written: they become holes.

Keeps invariant 1: every file's bytes are compared with its BLAKE3 digest; a file that fails never keeps its
name in a folder that becomes visible. Memory is bounded by bytes in flight, not by the dataset.
"""

from __future__ import annotations

import os
import threading
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from dataver import parallel
from dataver.checkout.frames import pieces_of
from dataver.checkout.range_plan import FetchedFile, Range, plan, positions
from dataver.errors import IntegrityError
from dataver.formats.entry import Kind
from dataver.hashing.digest import digest
from dataver.repository.frame_reader import FrameReader
from dataver.storage.holes import ZEROS, is_zero, nonzero_spans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from dataver.checkout.folder import Folder
    from dataver.checkout.selection import Rows
    from dataver.formats.entry import Extent
    from dataver.progress import Progress
    from dataver.repository import RepositoryCore

__all__ = ["TINY", "Copies", "Copy", "FileWindow", "LocalCopy", "PlannedFile", "Transfer"]

BYTES_IN_FLIGHT: Final = 64 * 1024 * 1024  # stored and decoded bytes
REMOTE_BYTES: Final = 2 * BYTES_IN_FLIGHT  # so that each of eight threads can read a range of `MAX_RANGE`
TINY: Final = 32 * 1024  # files up to this size are written by the calling thread
_SPAN: Final = 1024 * 1024

Whole = tuple[FetchedFile, "bytes | memoryview"]


class LocalCopy(NamedTuple):
    """Spans of a local file that a target shares: `(from, to, length)` each."""

    open_source: Callable[[], int]
    spans: list[tuple[int, int, int]]


class Copy(NamedTuple):
    """A complete local file: an entry's number, the path to copy from, and its expected stat values.

    `row` is kind, size and modification time (ns).
    """

    rows: Rows
    number: int
    old: str
    row: tuple[int, int, int]

    @property
    def path(self) -> str:
        """The target path."""
        return self.rows.paths[self.number]

    @property
    def executable(self) -> bool:
        """Its executable bit."""
        return self.rows.kinds[self.number] == Kind.EXECUTABLE


class Copies(NamedTuple):
    """Files that one thread copies in sequence; `copy` returns whether it succeeded."""

    copy: Callable[[Copy], bool]
    jobs: list[Copy]


class PlannedFile(NamedTuple):
    """A file to create: the extents to read, with their positions in it, and the spans to copy instead."""

    target: FetchedFile
    extents: Iterable[tuple[Extent, int]]
    copies: Sequence[LocalCopy] = ()


class FileWindow(NamedTuple):
    """Files that are planned together."""

    wanted: list[PlannedFile]
    copies: list[Copies]


class Transfer:
    """Transfer of files into a folder.

    Attributes:
        transferred: stored bytes read from the repository.
        reused: bytes of verified files that were copied from local files instead.
    """

    def __init__(self, repo: RepositoryCore, folder: Folder, progress: Progress) -> None:
        self._repo = repo
        self._folder = folder
        self._progress = progress
        remote = repo.store.local_root is None
        self._threads = parallel.RANGES if remote else parallel.cores()
        self._most = REMOTE_BYTES if remote else BYTES_IN_FLIGHT
        self._reader = FrameReader(repo.packs, self._count)
        self._lock = threading.Lock()
        self._again: list[FetchedFile] = []
        self._stopped = False
        self.transferred = 0
        self.reused = 0

    def run(self, windows: Iterable[FileWindow]) -> None:
        """Create the files of each window; their folders exist.

        Raises:
            IntegrityError: a file's bytes do not match its entry; the message names it.
        """
        self._run(windows)
        while self._again:
            # the local bytes were damaged: read the whole file from the repository
            again, self._again = self._again, []
            for target in again:
                self._folder.remove(target.path)
                target.reused = 0
                target.spread()
            self._run([FileWindow([PlannedFile(target, positions(target.extents)) for target in again], [])])

    def _run(self, windows: Iterable[FileWindow]) -> None:
        pool = parallel.pool(self._threads, "fetch")
        done: SimpleQueue[tuple[Future[list[Whole]], int]] = SimpleQueue()
        flying = running = 0  # bytes and jobs
        try:
            for work, cost in (job for window in windows for job in self._jobs(window)):
                while running and (flying + cost > self._most or not done.empty()):
                    flying -= self._write_back(*done.get())  # in order of completion: one may be slow
                    running -= 1
                pool.submit(work).add_done_callback(partial(_hand_over, done, cost))
                flying += cost
                running += 1
            for _ in range(running):
                self._write_back(*done.get())
        finally:
            self._stopped = True  # after an error, queued and running jobs end at the next range
            pool.shutdown(wait=True, cancel_futures=True)
            self._stopped = False

    def _jobs(self, window: FileWindow) -> Iterator[tuple[Callable[[], list[Whole]], int]]:
        """Plan a window, create its spread files and yield the pool's jobs, with their bytes of memory."""
        for batch in window.copies:
            yield self._copies_job(batch), _SPAN
        ranges = plan(((wanted.target, wanted.extents) for wanted in window.wanted), self._repo.packs.footers)
        for target, _, copies in window.wanted:
            if not target.whole:
                self._folder.create(target.path)
            for copy in copies:
                yield self._copy_job(target, copy), _SPAN
        for one in ranges:
            yield self._range_job(one), one.length + one.raw

    def _range_job(self, one: Range) -> Callable[[], list[Whole]]:
        return lambda: self._read(one)

    def _copy_job(self, target: FetchedFile, copy: LocalCopy) -> Callable[[], list[Whole]]:
        return lambda: self._copy(target, copy)

    def _copies_job(self, copies: Copies) -> Callable[[], list[Whole]]:
        return lambda: self._copy_whole(copies)

    def _write_back(self, future: Future[list[Whole]], cost: int) -> int:
        """Write the tiny files of a range; return the bytes of memory that it frees."""
        size = 0
        wholes = future.result()
        folder = self._folder
        for target, content in wholes:
            if digest(content) != target.digest:
                raise _wrong(target)
            folder.write(target.path, target.executable, content)
            size += target.size
        if wholes:
            self._progress.advance(len(wholes), size)
        return cost

    def _read(self, one: Range) -> list[Whole]:
        """Read a range and process it on a thread of the pool; return the tiny files."""
        if self._stopped:
            return []
        tiny: list[Whole] = []
        landed: dict[FetchedFile, list[tuple[int, int]]] = {}

        with _OneFile(self._folder) as file:
            for piece, position, part in pieces_of(one, self._reader):
                target = piece.target
                if not target.whole:
                    hole = file.put(target, position, part)
                    landed.setdefault(target, []).append((position, -len(part) if hole else len(part)))
                    continue
                content = part if len(part) == target.size else _joined(target, position, part)
                if content is None:
                    continue
                if target.size <= TINY:
                    tiny.append((target, _unpinned(content)))
                else:
                    self._write_whole(target, content)
        for target, spans in landed.items():
            self._landed(target, spans)
        return tiny

    def _write_whole(self, target: FetchedFile, content: bytes | memoryview) -> None:
        if digest(content) != target.digest:
            raise _wrong(target)
        self._folder.write(target.path, target.executable, content)
        self._progress.advance(1, target.size)

    def _copy_whole(self, copies: Copies) -> list[Whole]:
        """Copy whole files; read those that cannot be copied from the repository."""
        size = files = 0
        failed: list[FetchedFile] = []
        for copy in copies.jobs:
            if self._stopped:
                break
            if copies.copy(copy):
                files += 1
                size += copy.row[1]
            else:
                failed.append(FetchedFile.of(copy.rows.entry(copy.number)))
        with self._lock:
            self.reused += size
            self._again += failed
        self._progress.advance(files, size)
        return []

    def _copy(self, target: FetchedFile, copy: LocalCopy) -> list[Whole]:
        """Copy the spans that a target shares with a local file."""
        if self._stopped:
            return []
        source = copy.open_source()
        landed = []
        try:
            with _OneFile(self._folder) as file:
                for start, position, length in copy.spans:
                    for done in range(0, length, _SPAN):
                        count = min(_SPAN, length - done)
                        data = os.pread(source, count, start + done)
                        hole = file.put(target, position + done, data) and len(data) == count
                        landed.append((position + done, -count if hole else count))
        finally:
            os.close(source)
        self._landed(target, landed)
        return []

    def _landed(self, target: FetchedFile, spans: list[tuple[int, int]]) -> None:
        """Record written spans; hash adjacent ones, unless another thread does.

        The length of a hole is negative; a hole is hashed without being read.
        """
        if not target.hand_over(spans):
            return
        fd = self._folder.open(target.path)
        try:
            while (complete := target.release()) is None:
                length = target.next_span()
                for done in range(0, -length, len(ZEROS)):
                    target.hasher.update(ZEROS[: -length - done])
                for done in range(0, length, _SPAN):
                    target.hasher.update(os.pread(fd, min(_SPAN, length - done), target.frontier + done))
                target.frontier += abs(length)
            if complete:
                self._complete(target, fd)
        finally:
            os.close(fd)

    def _complete(self, target: FetchedFile, fd: int) -> None:
        size = os.fstat(fd).st_size
        if target.hasher.digest() == target.digest and size <= target.size:
            if size < target.size:
                os.ftruncate(fd, target.size)  # it ends with a hole
            self._folder.finish(fd, target.executable)
            with self._lock:
                self.reused += target.reused
            self._progress.advance(1, target.size)
        elif target.reused:
            with self._lock:
                self._again.append(target)
        else:
            raise _wrong(target)

    def _count(self, size: int) -> None:
        with self._lock:
            self.transferred += size
        self._progress.advance(0, 0, new=size)


class _OneFile:
    """Cache of the last file written to: consecutive spans mostly belong to one file."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._target: FetchedFile | None = None
        self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def put(self, target: FetchedFile, position: int, data: bytes | memoryview) -> bool:
        """Write bytes at a position of a file; return whether they are zeros and were left as a hole."""
        if target is not self._target:
            self.__exit__()
            self._fd = self._folder.open(target.path)
            self._target = target
        view = memoryview(data)
        if is_zero(view):
            return True
        for start, end in nonzero_spans(view):
            done = start
            while done < end:
                done += os.pwrite(self._fd, view[done:end], position + done)
        return False


def _hand_over(
    done: SimpleQueue[tuple[Future[list[Whole]], int]], cost: int, future: Future[list[Whole]]
) -> None:
    done.put((future, cost))


def _joined(target: FetchedFile, position: int, part: memoryview) -> bytes | None:
    """Record a part of a whole file; return the file once it is complete."""
    if target.parts is None:
        target.parts = []
    target.parts.append((position, part))
    target.left -= len(part)
    if target.left > 0:
        return None
    parts = sorted(target.parts, key=lambda item: item[0])
    target.parts = None
    return b"".join(part for _, part in parts)


def _unpinned(content: bytes | memoryview) -> bytes | memoryview:
    """Copy a small view, so that it does not keep the whole frame in memory until it is written."""
    if isinstance(content, memoryview) and 4 * len(content) < len(content.obj):  # type: ignore[arg-type]
        return bytes(content)
    return content


def _wrong(target: FetchedFile) -> IntegrityError:
    return IntegrityError(
        f"{target.path!r} cannot be restored: its bytes in the repository do not match its digest",
        hint="`dataver verify` lists all damage; a copy of the repository may still hold the file",
    )
