"""From planned ranges to verified files: reading and decoding in threads, tiny files written by one.

The idea: large reads, decompression, hashing and large writes release the GIL and go to a pool; creating tiny
files is nothing but small system calls, which fight over the GIL when several threads make them (33 against
55 microseconds a file), so they are handed back and written by the calling thread. A file that comes out of
one range is verified in memory and written in one go. Any other is written span by span and hashed from the
page cache as soon as its spans are adjacent, in whatever order they arrive.

Keeps invariant 1: every file's bytes are compared with its BLAKE3 digest; what fails is never left under its
name in a folder that becomes visible. Memory is bounded by bytes in flight, not by the dataset.
"""

from __future__ import annotations

import os
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from dataver.checkout.frames import pieces_of
from dataver.checkout.plan import Range, Target, plan, positions
from dataver.errors import IntegrityError
from dataver.formats.compression import make_decompressor
from dataver.formats.entry import Kind
from dataver.hashing.digest import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future
    from queue import SimpleQueue

    from dataver.checkout.folder import Folder
    from dataver.checkout.wish import Rows
    from dataver.formats.entry import Extent
    from dataver.progress import Progress
    from dataver.repository import Repository

__all__ = ["TINY", "Copies", "Copy", "LocalCopy", "Transfer", "Wanted", "Window"]

BYTES_IN_FLIGHT: Final = 64 * 1024 * 1024  # stored bytes and those they become
REMOTE_BYTES: Final = 2 * BYTES_IN_FLIGHT  # so that eight threads have a range of `MAX_RANGE` each on its way
TINY: Final = 32 * 1024  # files up to this size are written by the calling thread
REMOTE_THREADS: Final = 8
_SPAN: Final = 1024 * 1024

Whole = tuple[Target, "bytes | memoryview"]


class LocalCopy(NamedTuple):
    """Spans of a local file that a target shares: `(from, to, length)` each."""

    open_source: Callable[[], int]
    spans: list[tuple[int, int, int]]


class Copy(NamedTuple):
    """A file that is there as a whole: an entry's number, the path to copy from, and how that must look.

    `row` is kind, size and modification time (ns).
    """

    rows: Rows
    number: int
    old: str
    row: tuple[int, int, int]

    @property
    def path(self) -> str:
        """Where it goes."""
        return self.rows.paths[self.number]

    @property
    def executable(self) -> bool:
        """The executable bit it is to have."""
        return self.rows.kinds[self.number] == Kind.EXECUTABLE


class Copies(NamedTuple):
    """Files that one thread copies in a row; `copy` says whether that went well."""

    copy: Callable[[Copy], bool]
    jobs: list[Copy]


class Wanted(NamedTuple):
    """A file to be made: the extents to be read, with their positions in it, and what is copied instead."""

    target: Target
    extents: Iterable[tuple[Extent, int]]
    copy: LocalCopy | None = None


class Window(NamedTuple):
    """As much as is planned at a time."""

    wanted: list[Wanted]
    copies: list[Copies]


class Transfer:
    """Fills a folder with files.

    Attributes:
        transferred: stored bytes read from the repository.
        reused: bytes of verified files that were copied from local files instead.
    """

    def __init__(self, repo: Repository, folder: Folder, progress: Progress) -> None:
        self._repo = repo
        self._folder = folder
        self._progress = progress
        cores = os.cpu_count() or 1
        remote = repo.store.local_root is None
        self._threads = REMOTE_THREADS if remote else max(2, min(cores, 4))
        self._most = REMOTE_BYTES if remote else BYTES_IN_FLIGHT
        self._local = threading.local()
        self._lock = threading.Lock()
        self._again: list[Target] = []
        self._stopped = False
        self.transferred = 0
        self.reused = 0

    def run(self, windows: Iterable[Window]) -> None:
        """Make the files of each window; their folders are there.

        Raises:
            IntegrityError: a file whose bytes are not what its entry says, by name.
        """
        self._run(windows)
        while self._again:
            # the local bytes were not what they should have been: all of it from the repository
            again, self._again = self._again, []
            for target in again:
                self._folder.remove(target.path)
                target.reused = 0
                target.spread()
            self._run([Window([Wanted(target, positions(target.extents)) for target in again], [])])

    def _run(self, windows: Iterable[Window]) -> None:
        from concurrent.futures import ThreadPoolExecutor  # 4 ms that a folder found ready does without
        from queue import SimpleQueue

        pool = ThreadPoolExecutor(self._threads, "dataver-fetch")
        done: SimpleQueue[tuple[Future[list[Whole]], int]] = SimpleQueue()
        flying = running = 0  # bytes and jobs
        try:
            for work, cost in (job for window in windows for job in self._jobs(window)):
                while running and (flying + cost > self._most or not done.empty()):
                    flying -= self._write_back(*done.get())  # whichever is first: one may be slow
                    running -= 1
                pool.submit(work).add_done_callback(partial(_hand_over, done, cost))
                flying += cost
                running += 1
            for _ in range(running):
                self._write_back(*done.get())
        finally:
            self._stopped = True  # after an error, what is still queued or running ends at the next range
            pool.shutdown(wait=True, cancel_futures=True)
            self._stopped = False

    def _jobs(self, window: Window) -> Iterator[tuple[Callable[[], list[Whole]], int]]:
        """Plan a window, make its spread files and yield what the pool has to do, with bytes of memory."""
        for batch in window.copies:
            yield self._copies_job(batch), _SPAN
        ranges = plan(((wanted.target, wanted.extents) for wanted in window.wanted), self._repo.packs.footers)
        for target, _, copy in window.wanted:
            if not target.whole:
                self._folder.create(target.path)
            if copy is not None:
                yield self._copy_job(target, copy), _SPAN
        for one in ranges:
            yield self._range_job(one), one.length + one.raw

    def _range_job(self, one: Range) -> Callable[[], list[Whole]]:
        return lambda: self._read(one)

    def _copy_job(self, target: Target, copy: LocalCopy) -> Callable[[], list[Whole]]:
        return lambda: self._copy(target, copy)

    def _copies_job(self, copies: Copies) -> Callable[[], list[Whole]]:
        return lambda: self._copy_whole(copies)

    def _write_back(self, future: Future[list[Whole]], cost: int) -> int:
        """Write the tiny files a range gave; return the memory that is free now."""
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
        """Read a range and do all that can be done in a thread of the pool; return the tiny files."""
        if self._stopped:
            return []
        tiny: list[Whole] = []
        landed: dict[Target, list[tuple[int, int]]] = {}

        def read() -> memoryview:
            data = memoryview(self._repo.packs.read(one.pack, one.offset, one.length))
            self._count(len(data))
            return data

        with _OneFile(self._folder) as file:
            for piece, position, part in pieces_of(read(), one, self._decompressor(), read):
                target = piece.target
                if not target.whole:
                    file.put(target, position, part)
                    landed.setdefault(target, []).append((position, len(part)))
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

    def _write_whole(self, target: Target, content: bytes | memoryview) -> None:
        if digest(content) != target.digest:
            raise _wrong(target)
        self._folder.write(target.path, target.executable, content)
        self._progress.advance(1, target.size)

    def _copy_whole(self, copies: Copies) -> list[Whole]:
        """Copy whole files; what cannot be copied comes from the repository."""
        size = files = 0
        failed: list[Target] = []
        for copy in copies.jobs:
            if self._stopped:
                break
            if copies.copy(copy):
                files += 1
                size += copy.row[1]
            else:
                failed.append(Target.of(copy.rows.entry(copy.number)))
        with self._lock:
            self.reused += size
            self._again += failed
        self._progress.advance(files, size)
        return []

    def _copy(self, target: Target, copy: LocalCopy) -> list[Whole]:
        """Copy the spans that a target shares with a local file."""
        if self._stopped:
            return []
        source = copy.open_source()
        try:
            with _OneFile(self._folder) as file:
                for start, position, length in copy.spans:
                    for done in range(0, length, _SPAN):
                        count = min(_SPAN, length - done)
                        file.put(target, position + done, os.pread(source, count, start + done))
        finally:
            os.close(source)
        self._landed(target, [(position, length) for _, position, length in copy.spans])
        return []

    def _landed(self, target: Target, spans: list[tuple[int, int]]) -> None:
        """Note spans that were written; hash what is adjacent now, unless another thread is at it."""
        if not target.hand_over(spans):
            return
        fd = self._folder.open(target.path)
        try:
            while (complete := target.release()) is None:
                length = target.next_span()
                for done in range(0, length, _SPAN):
                    target.hasher.update(os.pread(fd, min(_SPAN, length - done), target.frontier + done))
                target.frontier += length
            if complete:
                self._complete(target, fd)
        finally:
            os.close(fd)

    def _complete(self, target: Target, fd: int) -> None:
        if target.hasher.digest() == target.digest and os.fstat(fd).st_size == target.size:
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

    def _decompressor(self) -> Any:
        found = getattr(self._local, "decompressor", None)
        if found is None:
            found = self._local.decompressor = make_decompressor()
        return found


class _OneFile:
    """Keeps the file that was written to last open: spans of one file mostly come in a row."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._target: Target | None = None
        self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def put(self, target: Target, position: int, data: bytes | memoryview) -> None:
        """Write bytes at a position of a file."""
        if target is not self._target:
            self.__exit__()
            self._fd = self._folder.open(target.path)
            self._target = target
        done = 0
        view = memoryview(data)
        while done < len(view):
            done += os.pwrite(self._fd, view[done:], position + done)


def _hand_over(
    done: SimpleQueue[tuple[Future[list[Whole]], int]], cost: int, future: Future[list[Whole]]
) -> None:
    done.put((future, cost))


def _joined(target: Target, position: int, part: memoryview) -> bytes | None:
    """Put a part of a whole file beside the others; return the file once all of it is there."""
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


def _wrong(target: Target) -> IntegrityError:
    return IntegrityError(
        f"{target.path!r} cannot be restored: the repository holds other bytes for it than its digest says",
        hint="`dataver verify` tells what else is damaged; a copy of the repository may still hold it",
    )
