"""The chunks of the current frame, in memory that later frames reuse.

The idea: chunks are copied directly into a frame's payload, and a raw frame is written to the disk from
there. Fresh memory for each frame would cost as much as writing it, because of its page faults.
"""

from dataver.formats.frame import MAX_RAW, length_table

__all__ = ["FrameBuffer"]

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
