"""Holes of sparse files: finding them, and writing zeros as holes.

A hole takes no disk space and reads as zeros. If the file system does not report holes, the whole file counts
as data.
"""

import errno
import os
from collections.abc import Iterator

__all__ = ["LEAST", "ZEROS", "data_spans", "is_zero", "nonzero_spans"]

LEAST = 64 * 1024
"""Minimum length of a hole worth keeping; the size of the largest chunk of a file."""

ZEROS = memoryview(bytes(4 << 20))
"""The unit in which holes are stored and hashed."""

_ENOUGH = bytes(1 << 20)


def data_spans(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield `(start, end)` of the data in the first `size` bytes of a file; the rest are holes.

    Holes shorter than `LEAST` count as data. Changes the file's position.
    """
    begin, end = _next_span(fd, 0, size)
    while begin < size:
        following, behind = _next_span(fd, end, size)
        if following - end >= LEAST or following == size:
            yield begin, end
            begin = following
        end = behind


def _next_span(fd: int, position: int, size: int) -> tuple[int, int]:
    """Return the start and end of the next data from a position on; both are `size` if there is none."""
    if position >= size:
        return size, size
    try:
        begin = os.lseek(fd, position, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return size, size
        return position, size  # this file system reports no holes
    return min(begin, size), min(os.lseek(fd, begin, os.SEEK_HOLE), size)


def is_zero(data: memoryview) -> bool:
    """Return whether bytes are all zero and at least `LEAST`."""
    size = len(data)
    if size < LEAST or data[0] or data[size >> 1] or data[-1]:
        return False
    # unlike a comparison of views, this is one `memcmp`
    return all(_ENOUGH.startswith(data[at : at + len(_ENOUGH)]) for at in range(0, size, len(_ENOUGH)))


def nonzero_spans(data: memoryview) -> Iterator[tuple[int, int]]:
    """Yield `(start, end)` of the bytes to write, without long runs of zeros before and in them.

    The last byte is always included, so that the file has its full size.
    """
    start = 0
    for at in range(0, len(data) - LEAST, LEAST):
        if is_zero(data[at : at + LEAST]):
            if start < at:
                yield start, at
            start = at + LEAST
    if start < len(data):
        yield start, len(data)
