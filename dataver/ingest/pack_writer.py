"""Writing packs: from chunks to finished pack files in a spool folder.

The idea: all new chunks of a session form one *raw stream*. `append` returns the position of a chunk in that
stream; frames cut the stream, packs hold runs of frames, and ranges of the stream become extents only when
the packs are closed. So nothing waits for compression, and adjacent ranges merge by plain arithmetic.

    append (caller) → frames → compress (pool) → write, footer, fsync (writer's thread) → spool/<pack id>

Keeps invariant 4: a pack gets its name only when it is complete and durable; a crash leaves a file named
`.tmp-…`, which the next session removes. A writer that failed once refuses further work. Memory is bounded by
the frames in flight, and grows by the 8 KB of a frame table for each finished pack of 64 MB. It does not
depend on files, trees or repositories.
"""

import queue
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from dataver import parallel
from dataver.errors import StoreError
from dataver.formats.entry import Extent
from dataver.formats.frame import MAX_RAW, length_table
from dataver.formats.pack import Footer
from dataver.ingest.frame_coder import SMALL_CHUNK, FrameCoder
from dataver.ingest.pack_file import PackFile
from dataver.storage.durable import flush_folder

if TYPE_CHECKING:
    from array import array
    from concurrent.futures import Future

    from typing_extensions import Buffer

__all__ = ["FrameBuffer", "PackSession", "interval_extent"]

FRAME_RAW = 128 * 1024  # a frame closes at this size …
SMALL_FRAME_RAW = 256 * 1024  # … or at this one if its chunks are small: tiny files take 15 % less space
_FRAME_CHUNKS = 4096
_IN_FLIGHT = 64  # frames between `append` and the disk: ~20 MB
_ROOM = 208 * 1024  # a frame of 128 KiB, its last chunk of up to 64 KiB beyond that, and the table


class FrameBuffer:
    """Buffer of one frame's chunks, lengths and digests. Use from one thread at a time.

    Attributes:
        size: bytes of the chunks.
        lengths: of each chunk.
        digests: of each chunk.
    """

    __slots__ = ("_view", "digests", "lengths", "size")

    def __init__(self) -> None:
        self._view = memoryview(bytearray(_ROOM))
        self.clear()

    def clear(self) -> None:
        """Drop the chunks; the payload must not be used any more."""
        self.size = 0
        self.lengths: list[int] = []
        self.digests: list[bytes] = []

    def fits(self, length: int) -> bool:
        """Return whether a chunk of this length fits."""
        return not self.lengths or self.size + length <= MAX_RAW

    def add(self, data: memoryview | bytes, digest: bytes) -> None:
        """Copy a chunk."""
        end = self.size + len(data)
        self._make_room(end)
        self._view[self.size : end] = data
        self.lengths.append(len(data))
        self.digests.append(digest)
        self.size = end

    def payload(self) -> memoryview:
        """Return the chunks and the table of their lengths: the payload of a frame, not a copy."""
        table = memoryview(length_table(self.lengths)).cast("B")
        end = self.size + len(table)
        self._make_room(end)
        self._view[self.size : end] = table
        return self._view[:end]

    def _make_room(self, size: int) -> None:
        if size > len(self._view):
            larger = memoryview(bytearray(max(size, 2 * len(self._view))))
            larger[: self.size] = self._view[: self.size]
            self._view = larger


class _Frame(NamedTuple):
    """A full frame to be written; the writer's thread encodes it if that is not done yet."""

    buffer: FrameBuffer
    payload: memoryview
    encoded: "Future[tuple[bytes, Buffer]] | None"


class FrameTable(Protocol):
    """Offsets of a pack's frames, in the object and in its raw stream: a footer, or a part of one."""

    @property
    def pack_id(self) -> bytes:
        """The pack's id."""
        ...

    @property
    def frame_offsets(self) -> "array[int]":
        """As of `Footer`."""
        ...

    @property
    def raw_starts(self) -> "array[int]":
        """As of `Footer`."""
        ...


class _PackPart(NamedTuple):
    """One finished pack of the session: its position in the raw stream, and its frame table.

    The rest of its footer is 20 times as large, and a terabyte makes 16,000 packs.
    """

    start: int
    pack_id: bytes
    frame_offsets: "array[int]"
    raw_starts: "array[int]"


def interval_extent(frames: FrameTable, start: int, length: int) -> Extent:
    """Return the extent of `length` raw bytes from `start` of a pack's raw stream."""
    first = bisect_right(frames.raw_starts, start) - 1
    last = bisect_right(frames.raw_starts, start + length - 1) - 1
    offset = frames.frame_offsets[first]
    stored = frames.frame_offsets[last + 1] - offset
    return Extent(frames.pack_id, offset, stored, start - frames.raw_starts[first], length)


class PackSession:
    """Writer of the new chunks of one command into finished packs in `folder`.

    Use from one thread. `close` must be called; it makes the bytes durable (invariant 6).

    Args:
        folder: the spool.
        level: the compression level.
        pack_size: bytes of frames at which a pack is closed.
        on_pack: called with each finished pack, on a thread of the session.
        workers: threads that compress.
        room: bytes, frames and footer, at which a pack is closed; None if only the frames count.
        make_room: called before a pack is opened; may wait until its argument returns True.

    Attributes:
        position: raw bytes appended so far; the position of the next chunk.
        stored: bytes of the finished packs.
        packs: the number of finished packs.
    """

    def __init__(
        self,
        folder: Path,
        *,
        level: int,
        pack_size: int,
        on_pack: Callable[[Footer], None],
        workers: int | None = None,
        room: int | None = None,
        make_room: Callable[[Callable[[], bool]], None] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob(".tmp-*"):
            stale.unlink()
        self._folder = folder
        self._coder = FrameCoder(level)
        self._pack_size = pack_size
        self._room, self._make_room = room, make_room
        self._on_pack = on_pack
        self._pool = parallel.pool(workers or parallel.cores(1), "compress")
        self._queue: queue.Queue[_Frame | Callable[[], None] | None] = queue.Queue(_IN_FLIGHT)
        self._failure: BaseException | None = None
        self._parts: list[_PackPart] = []
        self._starts: list[int] = []
        self._writer_position = 0
        self._finisher = parallel.pool(1, "finish")
        self._finishing: list[Future[None]] = []
        self._near: tuple[Extent | None, int, int] = (None, 0, 0)
        self._thread = threading.Thread(target=self._write_all, name="dataver-write", daemon=True)
        self._thread.start()
        self._frame = FrameBuffer()
        self._free: list[FrameBuffer] = []  # shared by the threads: list's append and pop are atomic
        self._lent: list[FrameBuffer] = []  # buffers from which the open pack has still to write
        self.position = 0
        self.stored = 0
        self.packs = 0

    def append(self, data: memoryview | bytes, digest: bytes) -> int:
        """Append a new chunk (copied at once); return its position in the raw stream.

        Raises:
            StoreError: writing failed, now or earlier.
        """
        start, frame = self.position, self._frame
        if not frame.fits(len(data)):
            self._close_frame()
            frame = self._frame
        frame.add(data, digest)
        self.position = start + len(data)
        chunks = len(frame.lengths)
        enough = SMALL_FRAME_RAW if frame.size < SMALL_CHUNK * chunks else FRAME_RAW
        if frame.size >= enough or chunks >= _FRAME_CHUNKS:
            self._close_frame()
        return start

    def flush(self) -> None:
        """Close the current pack and wait until all appended chunks are durable."""
        self._close_frame()
        done = threading.Event()
        self._put(done.set)
        while not done.wait(0.1):
            self._check()
        self._check()

    def close(self) -> None:
        """Flush, sync the folder, and end the threads."""
        try:
            self.flush()
            if self.packs:
                flush_folder(self._folder)
        except BaseException as failure:
            self._failure = self._failure or failure  # ends a wait for room
            raise
        finally:
            self._stop()

    def abandon(self) -> None:
        """End the threads; finished packs stay in the folder, unreferenced."""
        self._failure = self._failure or InterruptedError("abandoned")
        self._stop()

    def extents(self, start: int, length: int) -> list[Extent]:
        """Return the extents of a range of the raw stream; its packs must be flushed."""
        near, low, high = self._near
        if near is not None and low <= start and start + length <= high:  # the frame of the previous file
            return [Extent(near.pack, near.offset, near.stored, start - low, length)]
        found = []
        while length:
            part = self._parts[bisect_right(self._starts, start) - 1]
            inside = start - part.start
            take = min(length, part.raw_starts[-1] - inside)
            extent = interval_extent(part, inside, take)
            found.append(extent)
            frame = bisect_left(part.frame_offsets, extent.offset)
            if extent.offset + extent.stored == part.frame_offsets[frame + 1]:
                low = part.start + part.raw_starts[frame]
                self._near = extent, low, part.start + part.raw_starts[frame + 1]
            start += take
            length -= take
        return found

    def _close_frame(self) -> None:
        frame = self._frame
        if not frame.lengths:
            return
        payload = frame.payload()
        # encoding a raw frame takes less time than waking another thread
        encoded = None if self._coder.dull else self._pool.submit(self._coder.encode, payload, frame.lengths)
        self._put(_Frame(frame, payload, encoded))
        self._frame = self._free.pop() if self._free else FrameBuffer()

    def _put(self, item: "_Frame | Callable[[], None] | None") -> None:
        while True:
            self._check()
            try:
                self._queue.put(item, timeout=0.5)
            except queue.Full:
                continue
            return

    def _check(self) -> None:
        failure = self._failure
        if isinstance(failure, OSError):
            raise StoreError(
                f"cannot write the draft's packs to {self._folder}: {failure.strerror or failure}.",
                hint="make room or fix permissions there and repeat the command; nothing is lost",
            ) from failure
        if failure is not None:
            raise failure

    def _stop(self) -> None:
        if self._thread.is_alive():
            while True:
                try:
                    self._queue.put(None, timeout=0.5)
                    break
                except queue.Full:
                    if not self._thread.is_alive():
                        break
            self._thread.join()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._finisher.shutdown(wait=True)

    # The writer's thread writes the open pack, the finisher's syncs full ones: a sync takes as long as
    # writing the pack, and must not delay the next one.

    def _write_all(self) -> None:
        pack: PackFile | None = None
        while (item := self._queue.get()) is not None:
            if self._failure is not None:
                continue  # keep draining, so that no producer blocks on a full queue
            try:
                if isinstance(item, _Frame):
                    if pack is None:
                        if self._make_room is not None:
                            self._make_room(lambda: self._failure is not None)
                        pack = PackFile(self._folder, self._pack_size, self._room)
                    self._write(item, pack)
                    if pack.full:
                        self._finish(pack)
                        pack = None
                else:
                    if pack:
                        self._finish(pack)
                        pack = None
                    while self._finishing:
                        self._finishing.pop(0).result()
                    item()
            except BaseException as failure:  # noqa: BLE001  # handed to the caller's thread by _check
                self._failure = failure
        if pack:
            pack.abandon()

    def _write(self, frame: _Frame, pack: PackFile) -> None:
        buffer, payload, encoded = frame
        header, stored = encoded.result() if encoded else self._coder.encode(payload, buffer.lengths)
        pack.add(header, stored, buffer.lengths, b"".join(buffer.digests))
        if stored is payload:
            self._lent.append(buffer)
        else:
            self._recycle([buffer])
        if not pack.waiting:
            self._recycle(self._lent)

    def _recycle(self, buffers: list[FrameBuffer]) -> None:
        for buffer in buffers:
            buffer.clear()
        self._free += buffers
        buffers.clear()

    def _finish(self, pack: PackFile) -> None:
        """Queue a full pack for the finisher, behind at most one other."""
        pack.drain()
        self._recycle(self._lent)
        while len(self._finishing) > 1:
            self._finishing.pop(0).result()
        self._finishing.append(self._finisher.submit(self._complete, pack, self._writer_position))
        self._writer_position += pack.raw

    def _complete(self, pack: PackFile, start: int) -> None:
        try:
            footer = pack.finish()
        except BaseException:
            pack.abandon()
            raise
        self._on_pack(footer)
        self._starts.append(start)
        self._parts.append(_PackPart(start, footer.pack_id, footer.frame_offsets, footer.raw_starts))
        self.stored += pack.footer.size
        self.packs += 1
