"""A file that a program has open: a file of this machine where the version was fetched, else pieces of it.

Pieces are kept and read ahead, for a kernel that asks in any order.

The idea: the file is cut into pieces of 1 MiB. Where reads go on about where the last ones ended, whole
pieces are read, and more ahead the longer it lasts; reads anywhere else get just their bytes. "About",
because the kernel asks for what lies ahead several times at once, and in no sure order. A piece is dropped
when the reads have passed it.

Memory: `MAX_AHEAD` pieces ahead and two behind for each file that is read in order, and all files of a mount
share `ALL` pieces: with so many files open at once, they are read without looking ahead.
"""

import errno
import os
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from threading import Lock
from typing import Final

from dataver.reading import Files

__all__ = ["FarFile", "LocalFile", "PieceCount"]

PIECE: Final = 1024 * 1024
MAX_AHEAD: Final = 8
ALL: Final = 96
_NEAR: Final = PIECE  # how far from where the last read ended a read in order may begin


class PieceCount:
    """Count of the pieces that all open files of a mount hold; thread-safe."""

    def __init__(self, limit: int = ALL) -> None:
        self.limit = limit
        self.used = 0
        self._lock = Lock()

    def count(self, pieces: int) -> None:
        """Add to the count; negative numbers reduce it."""
        with self._lock:
            self.used += pieces

    def free(self) -> bool:
        """Return whether a file may read ahead."""
        return self.used < self.limit


class LocalFile:
    """An open file of a version that was fetched; thread-safe.

    Args:
        descriptor: the file, which this closes.
        size: its bytes.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self._size = size

    def read(self, offset: int, size: int) -> Sequence[bytes | memoryview]:
        """Return bytes of the file, fewer at its end.

        Raises:
            OSError: it is shorter than it was; the kernel would fill up with zeros.
        """
        data = os.pread(self._descriptor, size, offset)
        if len(data) < min(size, self._size - offset):
            raise OSError(errno.EIO, "the file in the cache is shorter than it was")
        return (data,)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class FarFile:
    """An open file that is read from the repository; thread-safe.

    Args:
        files: the version.
        path: the file's path in it.
        size: its bytes.
        share: what it shares with the other open files.
    """

    def __init__(self, files: Files, path: str, size: int, share: PieceCount) -> None:
        self._files = files
        self._path = path
        self._size = size
        self._share = share
        self._lock = Lock()
        self._pieces: dict[int, Future[bytes]] = {}
        self._reached = 0  # where the reads in order have come to
        self._begun = 0  # where they began

    def read(self, offset: int, size: int) -> Sequence[bytes | memoryview]:
        """Return bytes of the file, fewer at its end, in one or more pieces.

        Raises:
            DataverError: as `Files.read`.
        """
        stop = min(offset + size, self._size)
        if offset >= stop:
            return ()
        with self._lock:
            wanted = self._wanted(offset, stop)
        if wanted is None:
            return (self._files.read(self._path, offset, stop),)
        found = []
        for number, piece in wanted:
            begin = number * PIECE
            try:
                data = piece.result()
            except CancelledError:  # another reader is further on, and dropped it before it was begun
                data = self._files.read(self._path, begin, min(begin + PIECE, self._size))
            except BaseException:
                self._drop(number, piece)
                raise
            found.append(memoryview(data)[max(0, offset - begin) : stop - begin])
        return found

    def close(self) -> None:
        """Free the memory."""
        with self._lock:
            for number in list(self._pieces):
                self._remove(number)

    def _wanted(self, offset: int, stop: int) -> list[tuple[int, Future[bytes]]] | None:
        """Return the pieces that hold these bytes; None if the bytes should be read alone."""
        first, last = offset // PIECE, (stop - 1) // PIECE
        if not -_NEAR <= offset - self._reached <= _NEAR:
            self._begun = self._reached = stop
            if not all(number in self._pieces for number in range(first, last + 1)):
                return None
        self._reached = max(self._reached, stop)
        run = (self._reached - self._begun) // PIECE
        if run == 0 and self._begun > 0 and last not in self._pieces:
            return None  # the second read after a jump says nothing yet
        found = [(number, self._piece(number)) for number in range(first, last + 1)]
        ahead = min(MAX_AHEAD, run + 1, (self._size - 1) // PIECE - last)
        for number in range(last + 1, last + 1 + ahead):
            if number not in self._pieces and not self._share.free():
                break
            self._piece(number)
        for number in [number for number in self._pieces if number < first - 1 or number > last + MAX_AHEAD]:
            self._remove(number)
        return found

    def _piece(self, number: int) -> Future[bytes]:
        piece = self._pieces.get(number)
        if piece is None:
            start = number * PIECE
            piece = self._files.read_soon(self._path, start, min(start + PIECE, self._size))
            self._pieces[number] = piece
            self._share.count(1)
        return piece

    def _drop(self, number: int, piece: Future[bytes]) -> None:
        """Forget a piece that failed, so that the next read asks again."""
        with self._lock:
            if self._pieces.get(number) is piece:
                self._remove(number)

    def _remove(self, number: int) -> None:
        self._pieces.pop(number).cancel()
        self._share.count(-1)
