"""The bytes of a file, or of a range of it, in pieces, with read-ahead.

Memory: a few pieces for each body, independent of the file's size, and smaller ones the more bodies are being
sent, so that stalled clients cost little.

Keeps invariant 1: bytes from the repository are verified frame by frame, and the last piece of a whole file
is yielded only if the digest of all pieces matches. A file of a fetched version is read as it is.
"""

import os
from collections import deque
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Final

from dataver.errors import IntegrityError
from dataver.hashing import new_hasher
from dataver.reading import Files, Info
from dataver.web.request import Span

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["FIRST", "file_pieces"]

FIRST: Final = 256 * 1024
"""Bytes of the first piece."""

_PIECE: Final = 2 * 1024 * 1024
_AHEAD: Final = 3  # pieces
_TOGETHER: Final = 64 * 1024 * 1024  # bytes of all bodies' pieces, until each has but the smallest


def file_pieces(
    files: Files, info: Info, span: Span, bodies: Callable[[], int]
) -> Generator[bytes, None, None]:
    """Yield a range of a file in pieces.

    Args:
        files: the version.
        info: the file.
        span: the range, not empty.
        bodies: returns the number of bodies being sent.

    Raises:
        NotFound: the file is gone.
        IntegrityError: it does not match its digest; the last piece was not yielded.
        StoreError: the repository cannot be reached.
    """
    descriptor = files.descriptor(info.path)
    if descriptor is None:
        yield from _verified(files, info, span, bodies)
    else:
        yield from _local(descriptor, info, span)


def _local(descriptor: int, info: Info, span: Span) -> Generator[bytes, None, None]:
    start, length = span.start, FIRST
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        file.seek(start)
        while start < span.stop:
            data = file.read(min(length, span.stop - start))
            if not data:
                raise IntegrityError(f"the local copy of '{info.path}' is truncated.")
            start += len(data)
            yield data


def _verified(
    files: Files, info: Info, span: Span, bodies: Callable[[], int]
) -> Generator[bytes, None, None]:
    start, stop = span
    asked = start  # up to where pieces are read or being read
    length = FIRST
    whole = (0, info.size) == (start, stop) and info.size > FIRST
    hasher = new_hasher()
    ahead: deque[tuple[int, Future[bytes]]] = deque()  # where each ends, and its bytes
    try:
        while start < stop:
            if ahead:
                end, piece = ahead.popleft()
                data = piece.result()
            else:  # the first piece, often the only one: this thread reads it without waiting for the pool
                end = asked = min(start + length, stop)
                data = files.read(info.path, start, asked)
            if start + len(data) != end:
                raise IntegrityError(f"'{info.path}' in {files.ref} is truncated.")
            start = end
            while asked < stop and len(ahead) < _AHEAD:
                length = max(FIRST, min(2 * length, _PIECE, _TOGETHER // ((_AHEAD + 1) * max(1, bodies()))))
                end = min(asked + length, stop)
                ahead.append((end, files.read_soon(info.path, asked, end)))
                asked = end
            if whole:
                hasher.update(data)
                if start >= stop and hasher.hexdigest() != info.digest:
                    raise IntegrityError(f"'{info.path}' in {files.ref} does not match its digest.")
            yield data
    finally:
        for _, piece in ahead:
            piece.cancel()
