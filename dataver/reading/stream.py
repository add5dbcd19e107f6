"""One file of a version as an open file: seekable, buffered, reading ahead while it is read in order.

The idea: a window of the file is in memory. A read behind it begins a new one, as long as what was asked for;
a read right where the last one ended doubles it, and while it is used up the next is fetched by a thread.
Memory: two windows of 8 MiB at most, and what is asked for at once.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from concurrent.futures import Future

    from dataver.reading.files import Files

__all__ = ["FileReader", "LocalReader"]

_FIRST: Final = 256 * 1024
_LARGEST: Final = 8 * 1024 * 1024


class _Ahead(NamedTuple):
    """The next window, on its way: the process that fetches it, and what it holds."""

    process: int
    start: int
    stop: int
    content: Future[bytes]

    def fits(self, start: int, stop: int) -> bool:
        """Tell whether it begins here and holds enough; in a forked child nobody fetches it any more."""
        return self.start == start and self.stop >= stop and self.process == os.getpid()


class LocalReader(io.BufferedReader):
    """A file of a version that was fetched, open for reading.

    Attributes:
        size: bytes.
    """

    def __init__(self, descriptor: int, path: str) -> None:
        super().__init__(io.FileIO(descriptor))
        self.size = os.fstat(descriptor).st_size
        self._path = path

    def __repr__(self) -> str:
        return f"LocalReader({self._path!r})"

    @property
    def name(self) -> str:
        """Its path in the version."""
        return self._path


class FileReader(io.BufferedIOBase):
    """A file of a version, open for reading; for one thread at a time.

    Attributes:
        name: its path in the version.
        size: bytes.
    """

    _window = b""
    _ahead: _Ahead | None = None

    def __init__(self, files: Files, path: str) -> None:
        self.name = path
        self.size = files.size(path)
        self.mode = "rb"
        self._files = files
        self._position = 0
        self._start = -1  # of the window; the first read follows none
        self._length = _FIRST

    def __repr__(self) -> str:
        return f"FileReader({self.name!r})"

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position, which may lie behind the end; return it."""
        self._check_open()
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}.get(whence)
        if base is None:
            raise ValueError(f"whence is 0, 1 or 2, not {whence}")
        if base + offset < 0:
            raise ValueError(f"there is no position {base + offset}")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """Return `size` bytes, fewer at the end of the file; None and negative mean all that is left."""
        self._check_open()
        left = max(0, self.size - self._position)
        wanted = left if size is None or size < 0 else min(size, left)
        if not wanted:
            return b""
        begin = self._position - self._start
        if begin >= 0 and begin + wanted <= len(self._window):
            data = self._window[begin : begin + wanted]
        else:
            data = self._read(wanted)
        self._position += wanted
        return data

    def read1(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes; those at hand, if there are any."""
        self._check_open()
        if size == 0 or self._position >= self.size:
            return b""
        begin = self._position - self._start
        if not 0 <= begin < len(self._window):
            self._fill(1)
            begin = self._position - self._start
        at_hand = len(self._window) - begin
        return self.read(at_hand if size < 0 else min(size, at_hand))

    def peek(self, _size: int = 0, /) -> bytes:
        """Return bytes at hand without going on, at least one before the end of the file."""
        self._check_open()
        if self._position >= self.size:
            return b""
        begin = self._position - self._start
        if not 0 <= begin < len(self._window):
            self._fill(1)
            begin = self._position - self._start
        return self._window[begin:]

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer; return how many bytes came."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def readinto1(self, buffer: Any, /) -> int:
        """Fill a buffer with what is at hand; return how many bytes came."""
        view = memoryview(buffer).cast("B")
        data = self.read1(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Let go of what is in memory."""
        self._window = b""
        if self._ahead is not None:
            self._ahead.content.cancel()
            self._ahead = None
        super().close()

    def _read(self, wanted: int) -> bytes:
        """Return bytes that are not all in the window."""
        parts = []
        position, end = self._position, self._position + wanted
        begin = position - self._start
        if 0 <= begin < len(self._window):
            parts.append(self._window[begin:])
            position += len(parts[0])
        if end - position >= _LARGEST:
            parts.append(self._files.read(self.name, position, end))
            self._start, self._window = end, b""
            return b"".join(parts)
        at, self._position = self._position, position
        self._fill(end - position)
        self._position = at
        parts.append(self._window[position - self._start : end - self._start])
        return b"".join(parts)

    def _fill(self, least: int) -> None:
        """Make a window from the position on, of `least` bytes or more."""
        position = self._position
        in_order = position == self._start + len(self._window)
        self._length = min(2 * self._length, _LARGEST) if in_order else _FIRST
        length = max(least, self._length) if in_order else least
        end = min(position + length, self.size)
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.fits(position, position + least):
            end = ahead.stop
            self._window = ahead.content.result()
        else:
            self._window = self._files.read(self.name, position, end)
        self._start = position
        if in_order and end < self.size:
            behind = min(end + self._length, self.size)
            self._ahead = _Ahead(os.getpid(), end, behind, self._files.read_soon(self.name, end, behind))

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file.")
