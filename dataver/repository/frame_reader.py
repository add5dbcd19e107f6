"""Reading stored frames: adjacent ones with one request, each checked, and read again if it seems damaged.

The idea: readers compare a frame with different things (its checksum, its pack's footer, its chunks' digests)
and use it differently. So the caller passes the check, which returns what it needs of the frame. On top of
this, `checkout.transfer` plans files, `reading.frames` serves many readers, `checkout.pack_verifier` verifies
whole packs, and `repository.frame_copier` copies frames.

Keeps invariant 1: bytes of a frame leave this module only as the result of a check.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, TypeVar

from dataver.errors import FormatTooNew, IntegrityError
from dataver.formats.compression import make_decompressor
from dataver.formats.entry import is_external
from dataver.repository.read_again import reread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dataver.formats.compression import Decompressor
    from dataver.repository.packs import Packs

__all__ = ["MAX_RANGE", "FrameReader", "FrameRun", "coalesce", "max_gap"]

MAX_RANGE: Final = 8 * 1024 * 1024
"""Stored bytes of one read, unless a frame is larger."""

MAX_GAP: Final = 256 * 1024  # reading this much in vain costs less than another request

_T = TypeVar("_T")


class FrameReader:
    """Reader of the stored frames of a repository's packs; thread-safe.

    Args:
        packs: the packs.
        on_read: called with the number of bytes of each read.
    """

    def __init__(self, packs: Packs, on_read: Callable[[int], None] | None = None) -> None:
        self._packs = packs
        self._on_read = on_read
        self._local = threading.local()

    @property
    def decompressor(self) -> Decompressor:
        """The decompressor of the calling thread."""
        found: Decompressor | None = getattr(self._local, "decompressor", None)
        if found is None:
            found = self._local.decompressor = make_decompressor()
        return found

    def run(self, pack: bytes, start: int, stop: int) -> FrameRun:
        """Read the bytes `start` to before `stop` of a pack, which are whole frames.

        Raises:
            PackMissing: no such pack.
            IntegrityError: it ends before `stop`.
        """
        return FrameRun(self, pack, start, stop)

    def read(self, pack: bytes, start: int, stop: int) -> memoryview:
        """Return stored bytes, unchecked."""
        data = memoryview(self._packs.read(pack, start, stop - start))
        if self._on_read is not None:
            self._on_read(len(data))
        return data


class FrameRun:
    """Adjacent frames of a pack, read with one request. Use it from one thread."""

    __slots__ = ("_data", "_pack", "_reader", "_start", "_stop")

    def __init__(self, reader: FrameReader, pack: bytes, start: int, stop: int) -> None:
        self._reader, self._pack, self._start, self._stop = reader, pack, start, stop
        self._data = reader.read(pack, start, stop)

    def frame(self, offset: int, stop: int | None, check: Callable[[memoryview, int], _T]) -> _T:
        """Return the result of `check(bytes, position)` for one frame.

        Args:
            offset: the frame's offset in the pack.
            stop: the offset after it; None if unknown: then the whole run is read again after damage.
            check: raises an error if the frame at this position is damaged.

        Raises:
            IntegrityError: the frame is damaged in the store.
        """
        try:
            return check(self._data, offset - self._start)
        except (IntegrityError, FormatTooNew):
            return self._again(offset, stop, check)

    def _again(self, offset: int, stop: int | None, check: Callable[[memoryview, int], _T]) -> _T:
        data, start = self._data, self._start

        def attempt(again: bool) -> _T:
            nonlocal data, start
            if again and stop is not None:
                data, start = self._reader.read(self._pack, offset, stop), offset
            elif again:
                data = self._data = self._reader.read(self._pack, start, self._stop)
            return check(data, offset - start)

        return reread(attempt)


def max_gap(pack: bytes) -> int:
    """Return how many unneeded bytes of a pack may be read to save a request.

    None of an external pack: they may belong to another object, which may be gone.
    """
    return 0 if is_external(pack) else MAX_GAP


def coalesce(offsets: Sequence[int], numbers: Sequence[int], gap: int) -> Iterator[Sequence[int]]:
    """Yield the frames that are read with one request each.

    Args:
        offsets: offset of each frame of the pack; one more for the end of the last.
        numbers: the needed frames, ascending.
        gap: bytes of unneeded frames that are read to save a request.
    """
    begin = 0
    for place in range(1, len(numbers)):
        number = numbers[place]
        unneeded = offsets[number] - offsets[numbers[place - 1] + 1]
        if unneeded > gap or offsets[number + 1] - offsets[numbers[begin]] > MAX_RANGE:
            yield numbers[begin:place]
            begin = place
    if numbers:
        yield numbers[begin:]
