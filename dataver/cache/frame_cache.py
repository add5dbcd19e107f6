"""Cache of decoded frames: one sparse file a pack, shared by all processes of a user.

    <root>/frames/<repository id>/<pack id>

    offset | size    | field    | meaning
    0      | 8       | magic    | "DVFRAM" 00 01
    8      | 4       | frames F | number of frames in the pack
    12     | 4       | data     | offset of the raw stream, a multiple of 4096
    16     | 8       | checksum | XXH3-64 of bytes 0 to 15, offsets and starts
    24     | 4*(F+1) | offsets  | of each frame in the pack's object, then the end of the last
           | 8*(F+1) | starts   | of each frame in the raw stream, then the end of the last
           | 8*F     | sums     | XXH3-64 of each frame's bytes, 0 if it is not cached
    data   |         | raw      | the raw stream: all chunks of the pack in order; holes for missing frames

The idea: the offset of each frame is fixed in advance, so writers need no lock: two writers of the same frame
write the same bytes. The bytes are written before the checksum, and nothing is flushed: after a crash or on a
full disk the checksum is wrong, which is a miss. Adjacent frames are read with one call.

Keeps invariants 1 (a process compares each frame with its checksum before it first uses the bytes) and 5: a
folder that is deleted, full or read-only only costs speed.
"""

from __future__ import annotations

import os
import struct
import time
from array import array
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from dataver.formats.frame import u32_array
from dataver.hashing.digest import checksum
from dataver.machine.paths import make_private
from dataver.storage.base import TEMPORARY
from dataver.storage.durable import lacks_links

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["FrameCache", "FrameFile"]

_MAGIC: Final = b"DVFRAM\x00\x01"
_HEAD: Final = struct.Struct("<8sIIQ")
_PAGE: Final = 4096
_MOST: Final = 1 << 20  # frames in a pack
_TOUCH: Final = 60.0  # seconds: resolution of the time of the last use
_STEP: Final = 256 * 1024 * 1024  # bytes written by this process between checks of the limit


class FrameFile:
    """The cached frames of one pack; thread-safe.

    Attributes:
        offsets: offset of each frame in the pack's object, then the end of the last.
        starts: offset of each frame in the raw stream, then the end of the last.
    """

    def __init__(self, descriptor: int, offsets: Sequence[int], starts: Sequence[int], data: int) -> None:
        self.offsets = offsets
        self.starts = starts
        self._descriptor = descriptor
        self._data = data
        self._sums_at = _HEAD.size + 12 * len(starts)
        self._sure = bytearray(len(starts) - 1)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        try:  # at interpreter exit, module globals may be None
            close(self._descriptor)
        except OSError:
            pass

    def read(self, first: int, last: int, low: int, high: int) -> bytes | None:
        """Return bytes `low` to `high` of the raw stream, which are in frames `first` to `last`.

        Ends are exclusive. Return None if a frame is missing or damaged.
        """
        try:
            if self._sure.find(0, first, last) >= 0:
                base = self.starts[first]
                data = self._checked(first, last)
                return None if data is None else data[low - base : high - base]
            data = os.pread(self._descriptor, high - low, self._data + low)
        except OSError:
            return None
        return data if len(data) == high - low else None

    def put(self, number: int, frame: memoryview) -> bool:
        """Store a frame; return whether this succeeded."""
        found = checksum(frame)
        try:
            if not found or not os.fstat(self._descriptor).st_nlink:
                return False  # the file was deleted
            if os.pwrite(self._descriptor, frame, self._data + self.starts[number]) != len(frame):
                return False
            os.pwrite(self._descriptor, found.to_bytes(8, "little"), self._sums_at + 8 * number)
        except OSError:
            return False
        self._sure[number] = 1
        return True

    def _checked(self, first: int, last: int) -> bytes | None:
        """Return adjacent whole frames, each compared with its checksum."""
        sums = os.pread(self._descriptor, 8 * (last - first), self._sums_at + 8 * first)
        expected = struct.unpack(f"<{len(sums) // 8}Q", sums[: len(sums) // 8 * 8])
        if len(expected) != last - first or not all(expected):
            return None
        base = self.starts[first]
        data = os.pread(self._descriptor, self.starts[last] - base, self._data + base)
        if len(data) != self.starts[last] - base:
            return None
        view = memoryview(data)
        for number, right in zip(range(first, last), expected, strict=True):
            if checksum(view[self.starts[number] - base : self.starts[number + 1] - base]) != right:
                return None
            self._sure[number] = 1
        return data


class FrameCache:
    """The frame files of one repository.

    Args:
        folder: their folder, created with mode 0700 when needed.
        bound: enforces the cache's limit; called after every 256 MiB written.
    """

    def __init__(self, folder: Path, bound: Callable[[], object]) -> None:
        self._folder = folder
        self._bound = bound
        self._left = 0  # bytes that may be written before the limit is checked

    def open(self, pack_id: bytes) -> FrameFile | None:
        """Return the file of a pack, or None if it is missing or damaged."""
        path = self._folder / pack_id.hex()
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        found = _parse(descriptor)
        if found is None:
            os.close(descriptor)
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):
            if time.time() - os.fstat(descriptor).st_mtime > _TOUCH:
                os.utime(path)
        return found

    def create(self, pack_id: bytes, offsets: Sequence[int], starts: Sequence[int]) -> FrameFile | None:
        """Create the file of a pack, or open it if it exists now; return None on failure."""
        path = self._folder / pack_id.hex()
        temporary = self._folder / f"{TEMPORARY}{os.urandom(8).hex()}"
        data = -(-(_HEAD.size + 20 * len(starts)) // _PAGE) * _PAGE
        columns = struct.pack(f"<{len(offsets)}I{len(starts)}Q", *offsets, *starts)
        head = _HEAD.pack(_MAGIC, len(starts) - 1, data, 0)[:16]
        try:
            make_private(self._folder)
            with temporary.open("xb") as file:
                file.write(head + checksum(head, columns).to_bytes(8, "little") + columns)
                file.truncate(data + starts[-1])
            try:
                os.link(temporary, path)  # if several create it, the first wins
            except FileExistsError:
                pass
            except OSError as error:
                if not lacks_links(error):
                    raise
                temporary.rename(path)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError:
            return None
        return self.open(pack_id)

    def wrote(self, size: int) -> None:
        """Count written bytes, and enforce the limit when due."""
        self._left -= size
        if self._left <= 0:
            self._left = _STEP
            with suppress(OSError):
                self._bound()


def _parse(descriptor: int) -> FrameFile | None:
    try:
        head = os.pread(descriptor, _HEAD.size, 0)
        magic, frames, data, right = _HEAD.unpack(head)
        if magic != _MAGIC or not 0 < frames <= _MOST:
            return None
        columns = os.pread(descriptor, 12 * (frames + 1), _HEAD.size)
        if len(columns) != 12 * (frames + 1) or checksum(head[:16], columns) != right:
            return None
    except (OSError, struct.error):
        return None
    offsets = u32_array(columns[: 4 * (frames + 1)])
    starts = array("Q", struct.unpack_from(f"<{frames + 1}Q", columns, 4 * (frames + 1)))
    return FrameFile(descriptor, offsets, starts, data)
