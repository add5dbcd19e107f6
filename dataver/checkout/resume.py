"""Resuming the fetch of a large file: its intact chunks.

The idea: arrived spans are not recorded, since a record could be wrong after a power cut. But a pack's
footer, authenticated by the pack's name, has the digest of each chunk; so the unfinished file is read once,
and chunks that match are not fetched again (invariant 1). A hole reads as zeros and matches only zeros.
"""

import errno
import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator

from dataver.checkout.plan import positions, raw_extents, raw_start
from dataver.formats.entry import Extent
from dataver.formats.pack import Footer
from dataver.hashing.digest import digest

__all__ = ["LEAST", "arrived"]

LEAST = 4 << 20
"""Smallest size in bytes of an unfinished file that is worth reading."""


def arrived(
    fd: int, extents: Iterable[tuple[Extent, int]], footer: Callable[[bytes], Footer]
) -> tuple[list[tuple[int, int, int]], list[tuple[Extent, int]]]:
    """Compare an unfinished file with the extents of its entry, given with their positions.

    Returns:
        Intact spans, as `(position, position, length)`, and the missing extents with their positions.
    """
    spans: list[tuple[int, int, int]] = []
    rest: list[tuple[Extent, int]] = []
    for extent, position in extents:
        if _is_hole(fd, position, extent.length):  # needs no footer
            rest.append((extent, position))
            continue
        known = footer(extent.pack)
        start = raw_start(known, extent)
        for right, low, high in _runs(fd, known, start, extent.length, position):
            there = position + low - start
            if right:
                spans.append((there, there, high - low))
            else:
                rest.extend(positions(raw_extents(known, low, high - low), there))
    return spans, rest


def _runs(fd: int, footer: Footer, start: int, length: int, position: int) -> Iterator[tuple[bool, int, int]]:
    """Cut a range of a pack's raw stream into runs of chunks that are intact in the file, or not."""
    starts, end = footer.chunk_starts, start + length
    chunk = bisect_right(starts, start) - 1
    begin, low, before = start, start, False
    while low < end:
        high = min(starts[chunk] + footer.lengths[chunk], end)
        whole = low == starts[chunk] and high - low == footer.lengths[chunk]
        right = whole and _is_right(fd, position + low - start, high - low, footer.chunk_digest(chunk))
        if right != before and low > begin:
            yield before, begin, low
            begin = low
        before, low, chunk = right, high, chunk + 1
    if low > begin:
        yield before, begin, low


def _is_hole(fd: int, position: int, length: int) -> bool:
    try:
        return os.lseek(fd, position, os.SEEK_DATA) >= position + length
    except OSError as error:
        return error.errno == errno.ENXIO  # only a hole up to the end


def _is_right(fd: int, position: int, length: int, name: bytes) -> bool:
    data = os.pread(fd, length, position)
    return len(data) == length and digest(data) == name
