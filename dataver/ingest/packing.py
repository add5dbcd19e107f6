"""The write side of packs: chunks in, finished pack files in a spool folder out.

The idea: all new chunks of a session form one *raw stream*. `append` returns where in that stream a chunk
begins; frames cut the stream, packs hold runs of frames, and only when the packs are closed is a stretch of
the stream turned into extents. So nothing waits for compression, and neighbours merge by plain arithmetic.

    append (caller) → frames → compress (pool) → write, footer, fsync (writer's thread) → spool/<pack id>

Keeps invariant 4: a pack gets its name only when it is complete and on the disk; what a crash leaves is a
file named `.tmp-…`, which the next session removes. A writer that failed once refuses further work. Memory is
bounded by the frames in flight. It knows nothing of files, trees or repositories.
"""

import os
import queue
import secrets
import threading
from bisect import bisect_right
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from dataver.errors import StoreError
from dataver.formats.compression import Compressor, make_compressor
from dataver.formats.entry import Extent
from dataver.formats.frame import HEADER_SIZE, encode_frame
from dataver.formats.pack import MAGIC, Footer, FooterBuilder

__all__ = ["PackSession", "PackWriter", "interval_extent"]

FRAME_RAW = 128 * 1024  # a frame closes when it holds this much …
SMALL_FRAME_RAW = 256 * 1024  # … or this much where its chunks are small: tiny files store 15 % less this way
SMALL_CHUNK = 8 * 1024  # average length below which a frame's chunks are small
_SMALL_LEVEL = 3  # of such frames: 5 % less again, and the compressing threads wait for the reader anyway
_PACK_RAW = 1 << 30  # a pack of very compressible bytes closes here, so that raw positions stay in 32 bits
_PACK_CHUNKS = 400_000
_FRAME_CHUNKS = 4096
_IN_FLIGHT = 64  # frames between `append` and the disk: ~20 MB
_WRITE = 1 << 20  # bytes collected before one write


class _Frame(NamedTuple):
    raw_length: int
    lengths: list[int]
    digests: bytes
    encoded: Future[tuple[bytes, bytes]]


class _PackPart(NamedTuple):
    """One finished pack of the session: where it begins in the raw stream, and its footer."""

    start: int
    footer: Footer


def interval_extent(footer: Footer, start: int, length: int) -> Extent:
    """Return the extent of `length` raw bytes from `start` of a pack's raw stream."""
    first = bisect_right(footer.raw_starts, start) - 1
    last = bisect_right(footer.raw_starts, start + length - 1) - 1
    offset = footer.frame_offsets[first]
    stored = footer.frame_offsets[last + 1] - offset
    return Extent(footer.pack_id, offset, stored, start - footer.raw_starts[first], length)


class PackWriter:
    """One pack file being written."""

    def __init__(self, folder: Path, size: int) -> None:
        self._size = size
        self._path = folder / f".tmp-{secrets.token_hex(8)}"
        self._fd = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        self._waiting: list[bytes] = [MAGIC]
        self._waiting_size = len(MAGIC)
        self.footer = FooterBuilder()
        self.raw = 0

    @property
    def full(self) -> bool:
        """Whether the pack should be closed."""
        builder = self.footer
        return builder.size >= self._size or self.raw >= _PACK_RAW or builder.chunk_count >= _PACK_CHUNKS

    def add(self, frame: _Frame) -> None:
        """Append an encoded frame."""
        header, stored = frame.encoded.result()
        check = int.from_bytes(header[16:24], "little")
        self.footer.add_frame(check, len(stored), frame.raw_length, frame.lengths, frame.digests)
        self.raw += frame.raw_length
        self._waiting += (header, stored)
        self._waiting_size += HEADER_SIZE + len(stored)
        if self._waiting_size >= _WRITE:
            self._drain()

    def finish(self) -> Footer:
        """Write the footer, force everything to the disk, give the file its name."""
        footer = self.footer.footer()
        self._waiting.append(footer.encode())
        self._drain()
        os.fsync(self._fd)
        os.close(self._fd)
        self._fd = -1
        self._path.replace(self._path.parent / footer.pack_id.hex())
        return footer

    def abandon(self) -> None:
        """Remove the unfinished file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._path.unlink(missing_ok=True)

    def _drain(self) -> None:
        data = memoryview(b"".join(self._waiting))
        self._waiting, self._waiting_size = [], 0
        while data:
            data = data[os.write(self._fd, data) :]


class PackSession:
    """Takes the new chunks of one command and leaves finished packs in `folder`.

    Use from one thread. `close` must be called, and is what makes the bytes safe (invariant 6).

    Attributes:
        position: raw bytes appended so far; where the next chunk will begin.
        stored: bytes of the finished packs.
        packs: how many packs are finished.
    """

    def __init__(
        self,
        folder: Path,
        *,
        level: int,
        pack_size: int,
        on_pack: Callable[[Footer], None],
        workers: int | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob(".tmp-*"):
            stale.unlink()
        self._folder = folder
        self._level = level
        self._pack_size = pack_size
        self._on_pack = on_pack
        self._pool = ThreadPoolExecutor(workers or min(4, os.cpu_count() or 1), "dataver-compress")
        self._local = threading.local()
        self._queue: queue.Queue[_Frame | Callable[[], None] | None] = queue.Queue(_IN_FLIGHT)
        self._failure: BaseException | None = None
        self._parts: list[_PackPart] = []
        self._starts: list[int] = []
        self._writer_position = 0
        self._near: tuple[Extent | None, int, int] = (None, 0, 0)
        self._thread = threading.Thread(target=self._write_all, name="dataver-write", daemon=True)
        self._thread.start()
        self._raw = bytearray()
        self._lengths: list[int] = []
        self._digests: list[bytes] = []
        self.position = 0
        self.stored = 0
        self.packs = 0

    def append(self, data: memoryview | bytes, digest: bytes) -> int:
        """Take a new chunk (copied at once); return where it begins in the raw stream.

        Raises:
            StoreError: writing failed, now or earlier.
        """
        start = self.position
        self._raw += data
        self._lengths.append(len(data))
        self._digests.append(digest)
        self.position = start + len(data)
        chunks = len(self._lengths)
        enough = SMALL_FRAME_RAW if len(self._raw) < SMALL_CHUNK * chunks else FRAME_RAW
        if len(self._raw) >= enough or chunks >= _FRAME_CHUNKS:
            self._close_frame()
        return start

    def settle(self) -> None:
        """Close the current pack and wait until everything appended is on the disk."""
        self._close_frame()
        done = threading.Event()
        self._put(done.set)
        while not done.wait(0.1):
            self._check()
        self._check()

    def close(self) -> None:
        """Settle, force the folder's entries to the disk, and end the threads."""
        try:
            self.settle()
            if self.packs:
                _fsync_folder(self._folder)
        finally:
            self._stop()

    def abandon(self) -> None:
        """End the threads; finished packs stay in the folder, unreferenced."""
        self._failure = self._failure or InterruptedError("abandoned")
        self._stop()

    def extents(self, start: int, length: int) -> list[Extent]:
        """Return the extents of a stretch of the raw stream; its packs must be settled."""
        near, low, high = self._near
        if near is not None and low <= start and start + length <= high:  # the frame of the file before
            return [Extent(near.pack, near.offset, near.stored, start - low, length)]
        found = []
        while length:
            part = self._parts[bisect_right(self._starts, start) - 1]
            inside = start - part.start
            take = min(length, part.footer.raw_starts[-1] - inside)
            extent = interval_extent(part.footer, inside, take)
            found.append(extent)
            frame = part.footer.frame_at(extent.offset)
            if extent.stored == part.footer.frame_stored[frame]:
                low = part.start + part.footer.raw_starts[frame]
                self._near = extent, low, part.start + part.footer.raw_starts[frame + 1]
            start += take
            length -= take
        return found

    def _close_frame(self) -> None:
        if not self._lengths:
            return
        raw, lengths = self._raw, self._lengths
        encoded = self._pool.submit(self._encode, raw, lengths)
        self._put(_Frame(len(raw), lengths, b"".join(self._digests), encoded))
        self._raw, self._lengths, self._digests = bytearray(), [], []

    def _encode(self, raw: bytearray, lengths: list[int]) -> tuple[bytes, bytes]:
        small = len(raw) < SMALL_CHUNK * len(lengths)
        level = max(self._level, _SMALL_LEVEL) if small else self._level
        compressors: dict[int, Compressor] = self._local.__dict__.setdefault("compressors", {})
        if level not in compressors:
            compressors[level] = make_compressor(level)
        return encode_frame(raw, lengths, compressors[level])

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

    # The writer's thread: the only one that touches pack files and the list of finished packs.

    def _write_all(self) -> None:
        writer: PackWriter | None = None
        while (item := self._queue.get()) is not None:
            if self._failure is not None:
                continue  # keep draining, so that nobody waits for a place in the queue
            try:
                if isinstance(item, _Frame):
                    writer = writer or PackWriter(self._folder, self._pack_size)
                    writer.add(item)
                    if writer.full:
                        self._finish(writer)
                        writer = None
                else:
                    if writer:
                        self._finish(writer)
                        writer = None
                    item()
            except BaseException as failure:  # noqa: BLE001  # handed to the caller's thread by _check
                self._failure = failure
        if writer:
            writer.abandon()

    def _finish(self, writer: PackWriter) -> None:
        footer = writer.finish()
        self._on_pack(footer)
        self._starts.append(self._writer_position)
        self._parts.append(_PackPart(self._writer_position, footer))
        self._writer_position += footer.raw_starts[-1]
        self.stored += writer.footer.size
        self.packs += 1


def _fsync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
