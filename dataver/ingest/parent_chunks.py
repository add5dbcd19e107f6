"""Prediction of a file's next chunks: those that its earlier version holds at this offset.

The idea: an expected chunk is only hashed. Cutting depends only on a chunk's own bytes, so bytes with the
digest of an earlier chunk end where that chunk ended; neither cutting nor a look-up is needed. After an edit
the file is cut again until a chunk occurs that the earlier version holds nearby.

    follow      match the bytes at the expected offset, chunk by chunk, until one differs
    found       look for a cut chunk near the expected one, and continue behind it

The earlier version's last chunk is never expected: the end of the file cut it, not its content, and a file
that is appended to would fall into ever smaller chunks.

Keeps invariant 1: every chunk is hashed, expected or not. Memory is bounded by one pack's footer. If a footer
is unavailable, its chunks are cut and looked up like others.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import accumulate

from dataver.errors import IntegrityError
from dataver.formats.entry import Extent
from dataver.formats.pack import Footer
from dataver.hashing import DIGEST_SIZE, digest
from dataver.ingest.chunk_index import ChunkLocation

__all__ = ["Expected"]

_BACK = 16  # chunks before the expected one …
_AHEAD = 128  # … and after it that a cut chunk is compared with: about 2 MB


class _Stretch:
    """The chunks of one extent.

    Attributes:
        footer: of their pack.
        first: number of the first chunk in the pack.
        count: number of chunks.
        offset: offset of the first one in the earlier file.
        names: their digests, concatenated.
    """

    __slots__ = ("count", "first", "footer", "names", "offset")

    def __init__(self, footer: Footer, extent: Extent, offset: int, *, last: bool) -> None:
        starts = footer.chunk_starts
        begin = footer.raw_starts[footer.frame_at(extent.offset)] + extent.skip
        self.footer = footer
        self.first = min(bisect_left(starts, begin), footer.chunk_count)
        end = bisect_right(starts, begin + extent.length) - 1
        self.count = max(0, end - self.first - last)
        self.offset = offset + starts[self.first] - begin
        self.names = bytes(footer.digests[DIGEST_SIZE * self.first : DIGEST_SIZE * (self.first + self.count)])

    def at(self, offset: int) -> int:
        """Return the number, in this extent, of the chunk that covers `offset` of the earlier file."""
        starts = self.footer.chunk_starts
        inside = starts[self.first] + offset - self.offset
        return min(max(0, bisect_right(starts, inside) - 1 - self.first), self.count)

    def find(self, name: bytes, near: int) -> int:
        """Return the number of the chunk with this digest among those near `near`, or -1."""
        low, high = max(0, near - _BACK) * DIGEST_SIZE, (near + _AHEAD) * DIGEST_SIZE
        at = self.names.find(name, low, high)
        return at // DIGEST_SIZE if at >= 0 and at % DIGEST_SIZE == 0 else -1


class Expected:
    """The chunks of a file's earlier version, in order, with a cursor. Use from one thread.

    Args:
        extents: of the earlier version.
        footer_of: returns the footer of an existing pack, or None.
    """

    def __init__(self, extents: Sequence[Extent], footer_of: Callable[[bytes], Footer | None]) -> None:
        self._extents = extents
        self._footer_of = footer_of
        self._ends = list(accumulate(extent.length for extent in extents))
        self._number = -1
        self._stretch: _Stretch | None = None
        self._next = 0  # number of the next expected chunk in the extent
        self._shift = 0  # offset of the same bytes in the earlier file minus the current one
        if extents:
            self._turn_to(0)

    def follow(
        self, view: memoryview, position: int, held: int, take: Callable[[ChunkLocation], None]
    ) -> int:
        """Accept expected chunks in `view[position:held]`; return the position after them."""
        while (stretch := self._stretch) is not None:
            footer, names, first, at = stretch.footer, stretch.names, stretch.first, self._next
            lengths = footer.lengths
            begin = at
            start = position
            while at < stretch.count:
                end = position + lengths[first + at]
                name = names[DIGEST_SIZE * at : DIGEST_SIZE * at + DIGEST_SIZE]
                if end > held or digest(view[position:end]) != name:
                    break
                position = end
                at += 1
            if at > begin:
                take(ChunkLocation(footer, footer.chunk_starts[first + begin], position - start))
                self._next = at
            if at < stretch.count or not self._turn_to(self._number + 1):
                break
        return position

    def found(self, name: bytes, offset: int, length: int) -> ChunkLocation | None:
        """Return the place of the chunk cut at `offset` in the earlier version, and expect its successors.

        None if it was not found nearby.
        """
        earlier = offset - self._shift
        if not 0 <= self._number < len(self._ends):
            return None
        if earlier >= self._ends[self._number] and not self._turn_to(bisect_right(self._ends, earlier)):
            return None
        stretch = self._stretch
        if stretch is None:
            return None
        at = stretch.find(name, stretch.at(earlier))
        if at < 0:
            return None
        start = stretch.footer.chunk_starts[stretch.first + at]
        self._shift = offset - (stretch.offset + start - stretch.footer.chunk_starts[stretch.first])
        self._next = at + 1
        return ChunkLocation(stretch.footer, start, length)

    def _turn_to(self, number: int) -> bool:
        """Make extent `number` the expected one; return whether it exists."""
        self._number, self._stretch, self._next = number, None, 0
        if number >= len(self._extents):
            return False
        extent = self._extents[number]
        footer = self._footer_of(extent.pack)
        if footer is not None:
            last = number == len(self._extents) - 1
            with suppress(IntegrityError):  # the pack has no such frame: `verify` reports that
                self._stretch = _Stretch(footer, extent, self._ends[number] - extent.length, last=last)
        return True
