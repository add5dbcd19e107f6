"""Verifying packs: every frame once, and every file's digest once, on a few threads.

The idea: files are taken in the version's order, because a digest needs its bytes in order, a *window* of
about 8 MB of them at a time. A window's frames are read in few runs, checked against their pack's footer, and
cut into the files' bytes while they are still in memory; frames that no file needs follow at the end.
A file of one chunk is not cut out: its digest must equal the one in the footer, which is compared with the
chunk when its frame is read. So each stored byte is read once, except bytes that distant files share, and
memory does not grow with the version.

Serves invariant 1. Reports damaged frames; the caller derives the affected files
(`dataver.checkout.version_verifier`).
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections import deque
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from dataver import parallel
from dataver.errors import FormatTooNew, IntegrityError
from dataver.formats.frame import decode_frame
from dataver.formats.pack import MAGIC, check_frame, check_magic, memory_of
from dataver.hashing.digest import digest, new_hasher
from dataver.lru import LRUCache
from dataver.repository.frame_reader import FrameReader, coalesce, max_gap
from dataver.repository.read_again import PackMissing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from dataver.formats.entry import Entry, Extent
    from dataver.formats.pack import Footer
    from dataver.progress import Progress
    from dataver.repository import RepositoryCore

__all__ = ["Inspection"]

_WINDOW: Final = 8 << 20  # bytes of the frames that are in memory for one window
_FOOTERS: Final = 64  # kept in memory, ~0.3 MB each …
_FOOTERS_SIZE: Final = 32 << 20  # … but up to 3 MB each of packs of tiny files


class _File:
    """A file being verified: the state of its hash, and whether one window holds all of it."""

    __slots__ = ("broken", "entry", "hasher", "whole")

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.hasher: Any = None
        self.whole = True
        self.broken = False


class _Span(NamedTuple):
    """A run of a file's bytes: `length` bytes from `start` of its pack's raw stream."""

    footer: Footer
    start: int
    length: int


class _FilePart(NamedTuple):
    """The part of a file in a window."""

    file: _File
    spans: list[_Span]
    last: bool


class _Window:
    """Files, or parts of large ones, verified together; and their frames."""

    __slots__ = ("frames", "parts", "size")

    def __init__(self) -> None:
        self.parts: list[_FilePart] = []
        self.frames: dict[bytes, tuple[Footer, set[int]]] = {}
        self.size = 0

    def append(self, span: _Span) -> _Span | None:
        """Add as much of a span as there is room for: whole frames, at least one; None if none fits."""
        footer, start, length = span
        first = bisect_right(footer.raw_starts, start) - 1
        numbers = self.frames.setdefault(footer.pack_id, (footer, set()))[1]
        known = footer.frame_raw[first] if first in numbers else 0
        room = _WINDOW - self.size + known
        behind = bisect_right(footer.raw_starts, footer.raw_starts[first] + room) - 1
        if behind <= first:
            if self.size:
                return None
            behind = first + 1
        length = min(length, footer.raw_starts[behind] - start)
        behind = bisect_left(footer.raw_starts, start + length)
        numbers.update(range(first, behind))
        self.size += footer.raw_starts[behind] - footer.raw_starts[first] - known
        return _Span(footer, start, length)


class Inspection:
    """Verification of packs and of files in them. Use it in a `with`; `files` first, then `rest`.

    Attributes:
        bad: the first problem found with a pack, by its id.
        damaged: numbers of the frames that do not match their footer, by pack; None if the pack is
            missing or its footer damaged.
        wrong: `(path, problem)` of files whose entries are wrong although their packs are intact.
    """

    def __init__(self, repo: RepositoryCore, progress: Progress, *, quick: bool) -> None:
        self._repo = repo
        self._progress = progress
        self._quick = quick
        remote = repo.store.local_root is None
        threads = parallel.RANGES if remote else parallel.cores()
        self._remote = remote
        self._ahead = threads + 2
        self._pool = parallel.pool(threads, "verify")
        self._flying: deque[Future[Any]] = deque()
        self._footers: LRUCache[bytes, Footer] = LRUCache(_FOOTERS, _FOOTERS_SIZE, memory_of)
        self._seen: dict[bytes, bytearray] = {}  # one byte per frame: whether it was verified
        self._reader = FrameReader(repo.packs, lambda size: progress.advance(0, 0, new=size))
        self._lock = threading.Lock()
        self.bad: dict[bytes, str] = {}
        self.damaged: dict[bytes, set[int] | None] = {}
        self.wrong: list[tuple[str, str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    # interface

    def files(self, entries: Iterable[Entry]) -> None:
        """Check the extents of files and, unless it is quick, their digests.

        Raises:
            StoreError: the store failed.
        """
        window = _Window()
        for entry in entries:
            spans = self._spans(entry)
            first = next(spans, None)
            if first is None or self._quick or _is_chunk(entry, first):
                deque(spans, maxlen=0)  # a quick check compares entries only
                self._progress.advance(1, entry.size)
            else:
                window = self._gather(window, _File(entry), chain([first], spans))
        self._send(window)
        self._finish_jobs(0)

    def rest(self, packs: Iterable[bytes]) -> None:
        """Check all frames of packs that no file needed.

        Raises:
            StoreError: the store failed.
        """
        for pack in packs:
            seen = self._seen.get(pack)
            if seen is not None and 0 not in seen:
                continue
            footer = self._footer(pack)
            if footer is None:
                continue
            left = [number for number, done in enumerate(self._seen[pack]) if not done]
            for numbers in self._runs(footer, left):
                self._flying.append(self._pool.submit(self._check_run, footer, numbers, ()))
                self._finish_jobs(self._ahead)
        self._finish_jobs(0)

    def touches_damage(self, entry: Entry) -> bool:
        """Return whether bytes of a file are in a damaged frame, or in a pack without a footer."""
        for extent in entry.extents:
            numbers = self.damaged.get(extent.pack, ())
            if numbers is None:
                return True
            if numbers:
                footer = self._footer(extent.pack)
                if footer is None or not numbers.isdisjoint(range(*_frames_of(entry, extent, footer))):
                    return True
        return False

    # on the main thread

    def _footer(self, pack: bytes) -> Footer | None:
        """Return a pack's footer from the store; if there is none, record the pack as bad and return None."""
        found = self._footers.get(pack)
        if found is not None:
            return found
        if pack in self.damaged and self.damaged[pack] is None:
            return None
        try:
            found, tail, _ = self._repo.packs.read_footer(pack)
        except PackMissing:
            self._lose(pack, "is missing from the repository")
            return None
        except (IntegrityError, FormatTooNew) as error:
            self._lose(pack, error.message)
            return None
        self._progress.advance(0, 0, new=len(tail))
        self._footers.put(pack, found)
        self._seen.setdefault(pack, bytearray(found.frame_count))
        if not found.frame_count:
            self._check_run(found, (), ())
        return found

    def _lose(self, pack: bytes, why: str) -> None:
        self.bad.setdefault(pack, why)
        self.damaged[pack] = None

    def _spans(self, entry: Entry) -> Iterator[_Span | None]:
        """Yield the spans of a file; None and no more if a pack has no footer or the entry is wrong.

        One at a time: a file of a terabyte takes 16,000 packs, and each span holds a footer.
        """
        if not entry.size:
            if entry.digest != digest(b""):
                self.wrong.append((entry.path, "is empty, and its digest is not"))
            return
        try:
            for extent in entry.extents:
                footer = self._footer(extent.pack)
                if footer is None:
                    yield None
                    return
                first, _ = _frames_of(entry, extent, footer)
                yield _Span(footer, footer.raw_starts[first] + extent.skip, extent.length)
        except IntegrityError as error:
            self.wrong.append((entry.path, error.message))
            yield None

    def _gather(self, window: _Window, file: _File, spans: Iterable[_Span | None]) -> _Window:
        """Add a file to a window, and to as many further ones as it needs; return the last."""
        held: list[_Span] = []
        for span in spans:
            if span is None:
                file.whole, file.broken = False, True
                break
            rest = span
            while rest.length:
                part = window.append(rest)
                if part is not None:
                    held.append(part)
                    rest = _Span(span.footer, part.start + part.length, rest.length - part.length)
                    continue
                if held:
                    file.whole = False
                    window.parts.append(_FilePart(file, held, last=False))
                    held = []
                self._send(window)
                window = _Window()
        window.parts.append(_FilePart(file, held, last=True))
        return window

    def _send(self, window: _Window) -> None:
        if window.parts:
            self._flying.append(self._pool.submit(self._check_window, window))
            self._finish_jobs(self._ahead)

    def _finish_jobs(self, most: int) -> None:
        """Wait until no more than `most` jobs are running; continue the hashes of large files."""
        while len(self._flying) > most or (self._flying and self._flying[0].done()):
            for part, views in self._flying.popleft().result() or ():
                file = part.file
                if file.hasher is None:
                    file.hasher = new_hasher()
                file.broken |= views is None
                if not file.broken:
                    for view in views:
                        file.hasher.update(view)
                if part.last:
                    self._compare(file, None if file.broken else file.hasher.digest())

    def _compare(self, file: _File, found: bytes | None) -> None:
        """Compare a file's digest; skip one with a damaged frame (None), which the caller reports."""
        if found is not None and found != file.entry.digest:
            self.wrong.append((file.entry.path, "its chunks are intact, but together they are another file"))
        self._progress.advance(1, file.entry.size)

    # on the worker threads

    def _check_window(self, window: _Window) -> list[tuple[_FilePart, list[memoryview] | None]]:
        """Check a window's frames and its complete files; return the available bytes of the others."""
        frames: dict[bytes, dict[int, memoryview]] = {}
        for footer, numbers in window.frames.values():
            here = frames[footer.pack_id] = {}
            for run in self._runs(footer, sorted(numbers)):
                here |= self._check_run(footer, run, numbers)
        parts = []
        for part in window.parts:
            views = _cut(part.spans, frames)
            if part.file.whole:
                self._compare(part.file, None if views is None else _digest_of(views))
            else:
                parts.append((part, views))
        return parts

    def _runs(self, footer: Footer, numbers: list[int]) -> Iterator[Sequence[int]]:
        gap = max_gap(footer.pack_id) if self._remote else 0
        return coalesce(footer.frame_offsets, numbers, gap)

    def _check_run(
        self, footer: Footer, numbers: Sequence[int], wanted: Collection[int]
    ) -> dict[int, memoryview]:
        """Read frames with one request and check new or wanted ones; return the bytes of intact wanted ones.

        The run of a pack's first frame begins with the pack's magic number.
        """
        pack, seen, offsets = footer.pack_id, self._seen[footer.pack_id], footer.frame_offsets
        first, behind = (numbers[0], numbers[-1] + 1) if numbers else (0, 0)
        found: dict[int, memoryview] = {}
        try:
            run = self._reader.run(pack, offsets[first] if first else 0, offsets[behind])
            if not first:
                run.frame(0, len(MAGIC), _check_magic)
        except (IntegrityError, FormatTooNew) as error:
            self._record_damage(pack, range(first, behind), error.message)
            return found
        for number in range(first, behind):
            if seen[number] and number not in wanted:
                continue
            check = partial(self._checked, footer, number)
            try:
                raw = run.frame(offsets[number], offsets[number + 1], check)
                seen[number] = 1
            except (IntegrityError, FormatTooNew) as error:
                self._record_damage(pack, (number,), error.message)
                continue
            if number in wanted and raw is not None:
                found[number] = raw
        return found

    def _checked(self, footer: Footer, number: int, data: memoryview, at: int) -> memoryview | None:
        """Return a frame's bytes; compare it with its footer unless that was done before."""
        decompressor = self._reader.decompressor
        if self._seen[footer.pack_id][number]:
            return decode_frame(data, at, decompressor)[0]
        return check_frame(footer, number, data, at, None if self._quick else decompressor)

    def _record_damage(self, pack: bytes, numbers: Iterable[int], why: str) -> None:
        with self._lock:
            self.bad.setdefault(pack, why)
            found = self.damaged.setdefault(pack, set())
            for number in numbers:
                self._seen[pack][number] = 1
                if found is not None:
                    found.add(number)


def _check_magic(data: memoryview, _at: int) -> None:
    check_magic(data)


def _frames_of(entry: Entry, extent: Extent, footer: Footer) -> tuple[int, int]:
    """Return the numbers of the first frame of an extent and of the one after its last.

    Raises:
        IntegrityError: the extent does not fit its pack.
    """
    first = footer.frame_at(extent.offset)
    behind = bisect_left(footer.frame_offsets, extent.offset + extent.stored, first + 1)
    if (
        behind > footer.frame_count
        or footer.frame_offsets[behind] != extent.offset + extent.stored
        or footer.raw_starts[first] + extent.skip + extent.length > footer.raw_starts[behind]
    ):
        raise IntegrityError(
            f"{entry.path!r} has an extent that does not fit the frames of pack {extent.pack.hex()} it names."
        )
    return first, behind


def _is_chunk(entry: Entry, first: _Span) -> bool:
    """Return whether a file is a single chunk with the chunk's digest, by its first span."""
    footer, start, length = first
    if length != entry.size:
        return False
    chunk = bisect_right(footer.chunk_starts, start) - 1
    return (
        footer.chunk_starts[chunk] == start
        and footer.lengths[chunk] == length
        and footer.chunk_digest(chunk) == entry.digest
    )


def _cut(spans: list[_Span], frames: dict[bytes, dict[int, memoryview]]) -> list[memoryview] | None:
    """Return the bytes of spans from decoded frames; None if a frame is missing."""
    views = []
    for footer, start, size in spans:
        here, number = frames[footer.pack_id], bisect_right(footer.raw_starts, start) - 1
        low, length = start - footer.raw_starts[number], size
        while length:
            frame = here.get(number)
            if frame is None:
                return None
            view = frame[low : low + length]
            views.append(view)
            length -= len(view)
            number, low = number + 1, 0
    return views


def _digest_of(views: list[memoryview]) -> bytes:
    if len(views) == 1:
        return digest(views[0])
    hasher = new_hasher()
    for view in views:
        hasher.update(view)
    return hasher.digest()
