"""Writing one pack file: frames, then a footer whose hash names the file.

Keeps invariant 4: the file has a temporary name until its bytes and its footer are durable.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dataver.formats.frame import HEADER_SIZE, parse_header
from dataver.formats.pack import MAGIC, Footer, FooterBuilder
from dataver.storage.durable import flush

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["PackFile"]

_PACK_RAW = 1 << 30  # a pack of very compressible bytes closes here, so that raw positions stay in 32 bits
_PACK_CHUNKS = 400_000
_CHUNK_ROW = 40  # bytes of the footer for a chunk, and a little for its frame
_WRITE = 1 << 20  # bytes collected before one write
_PARTS = 512  # buffers in one write; the smallest IOV_MAX of any system is 1,024


class PackFile:
    """One pack file being written.

    Args:
        folder: its folder.
        size: bytes of frames at which it is full.
        room: bytes of frames and footer at which it is full; None if only the frames count.
    """

    def __init__(self, folder: Path, size: int, room: int | None = None) -> None:
        self._size = size
        self._room = room
        self._path = folder / f".tmp-{os.urandom(8).hex()}"
        self._fd = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        self._waiting: list[bytes | memoryview] = [MAGIC]
        self._waiting_size = len(MAGIC)
        self.footer = FooterBuilder()
        self.raw = 0

    @property
    def full(self) -> bool:
        """Whether the pack should be closed."""
        builder = self.footer
        if self._room is not None and builder.size + _CHUNK_ROW * builder.chunk_count >= self._room:
            return True
        return builder.size >= self._size or self.raw >= _PACK_RAW or builder.chunk_count >= _PACK_CHUNKS

    @property
    def waiting(self) -> bool:
        """Whether bytes passed to `add` are not written yet, and must not change until then."""
        return bool(self._waiting)

    def add(self, header: bytes, stored: "Buffer", lengths: Sequence[int], digests: bytes) -> None:
        """Append an encoded frame; its chunks' lengths and digests go into the footer."""
        frame = parse_header(header)
        self.footer.add_frame(frame.checksum, frame.stored_length, frame.raw_length, lengths, digests)
        self.raw += frame.raw_length
        self._waiting += (header, memoryview(stored))
        self._waiting_size += HEADER_SIZE + frame.stored_length
        if self._waiting_size >= _WRITE:
            self.drain()

    def finish(self) -> Footer:
        """Write the footer, sync the file and rename it."""
        footer = self.footer.footer()
        self._waiting.append(footer.encode())
        self.drain()
        flush(self._fd)
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

    def drain(self) -> None:
        """Write the collected bytes."""
        parts, self._waiting, self._waiting_size = self._waiting, [], 0
        while parts:
            written = os.writev(self._fd, parts[:_PARTS])
            while parts and written >= len(parts[0]):
                written -= len(parts.pop(0))
            if written:
                parts[0] = parts[0][written:]
