"""The bytes of an answer: a range of a file in pieces, with read-ahead.

Memory: a few pieces for each answer, independent of the file's size, and smaller ones the more answers there
are, so that stalled clients cost little. If this machine has fetched the version, the kernel sends the file
directly (`sendfile`).

Keeps invariant 1: bytes from the repository are verified frame by frame, and the last piece of a whole file
is sent only if the digest of all pieces matches.
"""

import os
from collections import deque
from collections.abc import Callable, Generator
from io import BufferedIOBase
from typing import TYPE_CHECKING, Final

from dataver.errors import IntegrityError
from dataver.hashing import new_hasher
from dataver.reading import Files, Info
from dataver.web.request import Span
from dataver.web.socket_writer import SocketWriter

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["FileBody", "Truncated"]

_FIRST: Final = 256 * 1024
_PIECE: Final = 2 * 1024 * 1024
_AHEAD: Final = 3  # pieces
_TOGETHER: Final = 64 * 1024 * 1024  # bytes of all answers' pieces, until each has but the smallest


class Truncated(Exception):
    """Fewer bytes were available than the header announced."""


class FileBody:
    """A span of a file to send; its first bytes are read in advance, so that most failures occur early.

    Args:
        files: the version.
        info: the file.
        span: its bytes that are wanted.
        answers: returns the number of answers being sent, including this one.

    Raises:
        NotFound: the file is gone.
        IntegrityError: its first bytes are damaged.
        StoreError: the repository cannot be reached.
    """

    def __init__(self, files: Files, info: Info, span: Span, answers: Callable[[], int]) -> None:
        self._span = span
        self._local = files.descriptor(info.path)
        self._pieces = pieces(files, info, span, answers) if self._local is None else _nothing()
        self._first = next(self._pieces, b"")

    def send(self, out: BufferedIOBase, connection: SocketWriter) -> None:
        """Send it: by the system's own means where the file is on this machine.

        Raises:
            Truncated: the file is shorter.
            OSError: the client is gone.
            DataverError: as for making it, of later bytes.
        """
        try:
            if self._local is not None:
                out.flush()
                descriptor, self._local = self._local, None
                with os.fdopen(descriptor, "rb", buffering=0) as file:
                    length = self._span.stop - self._span.start
                    if connection.sendfile(file, self._span.start, length) != length:
                        raise Truncated
            out.write(self._first)
            out.writelines(self._pieces)  # one at a time
        finally:
            self.close()

    def close(self) -> None:
        """Close the file."""
        if self._local is not None:
            os.close(self._local)
            self._local = None
        self._pieces.close()


def _nothing() -> Generator[bytes, None, None]:
    yield from ()


def pieces(files: Files, info: Info, span: Span, answers: Callable[[], int]) -> Generator[bytes, None, None]:
    """Yield a span of a file.

    Raises:
        IntegrityError: it does not match its digest; the last piece was not yielded.
    """
    start, stop = span
    asked = start  # up to where pieces are read or being read
    length = _FIRST
    whole = (0, info.size) == (start, stop) and info.size > _FIRST
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
                raise Truncated
            start = end
            while asked < stop and len(ahead) < _AHEAD:
                length = max(_FIRST, min(2 * length, _PIECE, _TOGETHER // ((_AHEAD + 1) * answers())))
                end = min(asked + length, stop)
                ahead.append((end, files.read_soon(info.path, asked, end)))
                asked = end
            if whole:
                hasher.update(data)
                if start >= stop and hasher.hexdigest() != info.digest:
                    raise IntegrityError(f"'{info.path}' in {files.ref} is not what its digest says.")
            yield data
    finally:
        for _, piece in ahead:
            piece.cancel()
