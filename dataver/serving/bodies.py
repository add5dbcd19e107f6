"""The bytes of an answer: parts of a file, in pieces, while the next ones are already being read.

Memory: a few pieces for each answer, however long the file is, and smaller ones the more answers there are,
so that clients which take nothing for a while cost little. Where this machine has fetched the version, the
system sends the file and no byte comes through here.

Keeps invariant 1: what comes from the repository was checked frame by frame, and of a file that is sent whole
the last piece is sent only if the digest of all pieces is right.
"""

import os
from collections import deque
from collections.abc import Callable, Generator
from io import BufferedIOBase
from socket import socket
from typing import TYPE_CHECKING, Final

from dataver.errors import IntegrityError
from dataver.hashing import new_hasher
from dataver.reading import Files, Info
from dataver.serving.asking import Span

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["Body", "Truncated"]

_FIRST: Final = 256 * 1024
_PIECE: Final = 2 * 1024 * 1024
_AHEAD: Final = 3  # pieces
_TOGETHER: Final = 64 * 1024 * 1024  # bytes of all answers' pieces, until each has but the smallest


class Truncated(Exception):
    """Fewer bytes could be sent than the header had promised."""


class Body:
    """A span of a file, about to be sent; its first bytes are at hand, so most failures are known by now.

    Args:
        files: the version.
        info: the file.
        span: its bytes that are wanted.
        answers: returns how many answers are on their way, this one included.

    Raises:
        NotFound: the file is gone.
        IntegrityError: its first bytes are not what they should be.
        StoreError: the repository cannot be reached.
    """

    def __init__(self, files: Files, info: Info, span: Span, answers: Callable[[], int]) -> None:
        self._span = span
        self._local = files.descriptor(info.path)
        self._pieces = pieces(files, info, span, answers) if self._local is None else _nothing()
        self._first = next(self._pieces, b"")

    def send(self, out: BufferedIOBase, connection: socket) -> None:
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
        """Let go of the file."""
        if self._local is not None:
            os.close(self._local)
            self._local = None
        self._pieces.close()


def _nothing() -> Generator[bytes, None, None]:
    yield from ()


def pieces(files: Files, info: Info, span: Span, answers: Callable[[], int]) -> Generator[bytes, None, None]:
    """Yield a span of a file.

    Raises:
        IntegrityError: it is not what its digest says; the last piece was not given away.
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
            else:  # the first piece, often all there is: this thread reads it and waits for nobody else's
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
