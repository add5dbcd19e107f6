"""One file of a version as an open file: seekable, buffered, for many threads.

Bytes from the repository come in windows. A read behind the window begins a new one, as long as what was
asked for; a read right where the last one ended doubles it, and while it is used up the next is fetched by a
thread. Memory: two windows of 8 MiB at most for each thread that reads on, and what is asked for at once. A
file of a fetched version is read through a small buffer; the system's page cache does the rest.

Threads: DuckDB and others seek and read one open file from many threads without a lock, so each thread that
seeks gets a reader of its own, which continues there independently of the others. A thread that never sought
goes on where the file was last used. Once one has done so with another's reader, the file is passed around
(thread pools, `asyncio.to_thread`): from then on a seek holds for the next read of its thread, and every
other read goes on where the last one ended.
"""

from __future__ import annotations

import io
import os
from functools import partial
from threading import Lock, get_ident, local
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

__all__ = ["FarReader", "FileReader", "Ranges", "Reader"]

_FIRST: Final = 256 * 1024
_LARGEST: Final = 8 * 1024 * 1024


class Opener(Protocol):
    """The methods of `dataver.reading.files.Files` that an open file uses."""

    def descriptor(self, path: str) -> int | None:
        """Return a descriptor of the fetched file, or None if the version was not fetched."""

    def size(self, path: str) -> int:
        """Return the bytes of the file."""

    def read(self, path: str, start: int, stop: int) -> bytes:
        """Return the bytes from `start` to before `stop`."""

    def read_opened(self, path: str, start: int, stop: int) -> bytes:
        """Return the same; the read belongs to the run that opened the file."""

    def read_opened_soon(self, path: str, start: int, stop: int) -> Future[bytes]:
        """Begin a `read_opened` on another thread."""


class FileReader(io.BufferedIOBase):
    """A file of a version, open for reading; for many threads.

    Attributes:
        name: its path in the version.
        size: bytes.
    """

    mode = "rb"

    def __init__(self, files: Opener, path: str) -> None:
        self.name = path
        descriptor = files.descriptor(path)
        self._descriptor = None if descriptor is None else _Descriptor(descriptor)
        self.size = files.size(path) if descriptor is None else os.fstat(descriptor).st_size
        self._files = files
        self._restart()

    def _restart(self) -> None:
        """Begin at the beginning, with one reader, which belongs to the first thread that seeks."""
        reader = self._make_reader()
        self._unclaimed = [reader]
        self._current = (get_ident(), reader)  # the last thread, and its reader: one tuple, so they agree
        self._own = local()
        self._sought: dict[int, Reader] = {}  # not read yet; by number: foreign threads lose their `local`
        self._passed = False

    def _make_reader(self) -> Reader:
        if self._descriptor is not None:
            return io.BufferedReader(_LocalFile(self._descriptor, self.size))
        files, name = self._files, self.name
        return FarReader(self.size, partial(files.read_opened, name), partial(files.read_opened_soon, name))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor of a fetched file; its own position stays at the beginning."""
        return super().fileno() if self._descriptor is None else self._descriptor.number

    def tell(self) -> int:
        """Return this thread's position."""
        return self._reader().tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move this thread's position, even behind the end; return it."""
        if whence == io.SEEK_CUR:
            offset, whence = offset + self.tell(), io.SEEK_SET
        if self.closed:
            raise ValueError(_CLOSED)
        reader: Reader | None = getattr(self._own, "reader", None)
        if reader is None:
            try:
                reader = self._unclaimed.pop()
            except IndexError:
                reader = self._make_reader()
            self._own.reader = reader
        position = reader.seek(offset, whence)
        me = get_ident()
        self._sought[me] = reader
        self._current = (me, reader)
        return position

    def read(self, size: int | None = -1, /) -> bytes:
        """Return `size` bytes, fewer at the end of the file; None and negative mean all that is left."""
        return self._acquire_reader().read(size)

    def read1(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes; those at hand, if there are any."""
        return self._acquire_reader().read1(size)

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return the bytes up to the next line feed, with it; at most `size` of them."""
        return self._acquire_reader().readline(size)

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer; return how many bytes came."""
        return self._acquire_reader().readinto(buffer)

    def readinto1(self, buffer: Any, /) -> int:
        """Fill a buffer with what is at hand; return how many bytes came."""
        return self._acquire_reader().readinto1(buffer)

    def peek(self, size: int = 0, /) -> bytes:
        """Return bytes at hand without going on, at least one before the end of the file."""
        return self._reader().peek(size)

    def close(self) -> None:
        """Free the memory, and the descriptor once the reads of other threads have ended."""
        if self.closed:
            return
        super().close()
        self._own, self._sought, self._unclaimed, self._passed = local(), {}, [], True
        self._descriptor = None
        self._current[1].close()  # what refuses every further read

    def _reader(self) -> Reader:
        """Return the reader with this thread's position."""
        found = self._sought.get(get_ident())
        if found is None and not self._passed:
            found = getattr(self._own, "reader", None)
        return self._current[1] if found is None else found

    def _acquire_reader(self) -> Reader:
        """Return the reader that this thread reads from now."""
        me = get_ident()
        user, current = self._current
        if user == me and not self._sought:
            return current
        found = self._sought.pop(me, None)
        if found is None and not self._passed:
            found = getattr(self._own, "reader", None)
        if found is None:
            found = current
            if user != me:
                self._sought.pop(user, None)
                self._passed = True
        self._current = (me, found)
        return found


class _Descriptor:
    """A descriptor that is closed with its last user: a read must not hit another file of its number."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.close(self.number)


class _LocalFile(io.RawIOBase):
    """A file of a fetched version, with a position that is not the descriptor's."""

    def __init__(self, descriptor: _Descriptor, size: int) -> None:
        self._descriptor: _Descriptor | None = descriptor
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._position = _moved(offset, whence, self._position, self._size)
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        descriptor = self._descriptor
        if descriptor is None:
            raise ValueError(_CLOSED)
        count = os.preadv(descriptor.number, [buffer], self._position)
        self._position += count
        return count

    def close(self) -> None:
        super().close()
        self._descriptor = None


class _Ahead(NamedTuple):
    """The next window, on its way."""

    start: int
    stop: int
    content: Future[bytes]


class Ranges:
    """A file of which only the ranges are read that are asked for.

    Args:
        load: returns bytes of it, from a position to before another.
        size: bytes.
    """

    def __init__(self, load: Callable[[int, int], bytes], size: int) -> None:
        self._load, self._size, self._position = load, size, 0

    def read(self, size: int, /) -> bytes:
        """Return `size` bytes, fewer at the end of the file."""
        data = self._load(self._position, min(self._position + size, self._size))
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a position; return it."""
        self._position = _moved(offset, whence, self._position, self._size)
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def close(self) -> None:
        """Do nothing."""


class FarReader(io.BufferedIOBase):
    """A file in the repository; threads take turns.

    Args:
        size: bytes.
        load: returns bytes of it, from a position to before another.
        load_soon: begins that on another thread; None where nothing is to be read ahead.
    """

    def __init__(
        self,
        size: int,
        load: Callable[[int, int], bytes],
        load_soon: Callable[[int, int], Future[bytes]] | None = None,
    ) -> None:
        self.size = size
        self._load = load
        self._load_soon = load_soon
        self._position = 0
        self._renew()

    def _renew(self) -> None:
        """Begin with an empty window."""
        self._window = b""
        self._start = -1  # of the window; the first read follows none
        self._length = _FIRST
        self._ahead: _Ahead | None = None
        self._lock, self._process = Lock(), os.getpid()

    def _turn(self) -> Lock:
        """Return the lock to hold; in a forked child, threads of the parent may have left anything behind."""
        if self._process != os.getpid():
            self._renew()
        if self.closed:
            raise ValueError(_CLOSED)
        return self._lock

    def tell(self) -> int:
        """Return the position."""
        with self._turn():
            return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a position, which may lie behind the end; return it."""
        with self._turn():
            self._position = _moved(offset, whence, self._position, self.size)
            return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """Return `size` bytes, fewer at the end of the file; None and negative mean all that is left."""
        with self._turn():
            left = max(0, self.size - self._position)
            wanted = left if size is None or size < 0 else min(size, left)
            begin = self._position - self._start
            if begin >= 0 and begin + wanted <= len(self._window):
                data = self._window[begin : begin + wanted]
            else:
                data = self._read(wanted) if wanted else b""
            self._position += wanted
            return data

    def read1(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes; those at hand, if there are any."""
        with self._turn():
            begin = self._at_hand()
            data = self._window[begin:] if size < 0 else self._window[begin : begin + size]
            self._position += len(data)
            return data

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return the bytes up to the next line feed, with it; at most `size` of them."""
        parts = [b""]
        left = self.size if size is None or size < 0 else size
        with self._turn():
            while left and not parts[-1].endswith(b"\n") and self._position < self.size:
                begin = self._at_hand()
                end = self._window.find(b"\n", begin, begin + left) + 1 or begin + left
                parts.append(self._window[begin:end])
                self._position += len(parts[-1])
                left -= len(parts[-1])
        return b"".join(parts)

    def peek(self, _size: int = 0, /) -> bytes:
        """Return bytes at hand without going on, at least one before the end of the file."""
        with self._turn():
            begin = self._at_hand()
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
        """Free the memory."""
        ahead = self._ahead
        if ahead is not None:
            ahead.content.cancel()
        super().close()
        self._renew()

    def _at_hand(self) -> int:
        """Return where in the window the position is, after filling it; behind it at the end of the file."""
        begin = self._position - self._start
        if 0 <= begin < len(self._window) or self._position >= self.size:
            return max(begin, 0)
        self._fill(1)
        return 0

    def _read(self, wanted: int) -> bytes:
        """Return bytes that the window does not hold completely."""
        parts = []
        position, end = self._position, self._position + wanted
        begin = position - self._start
        if 0 <= begin < len(self._window):
            parts.append(self._window[begin:])
            position += len(parts[0])
        if end - position >= _LARGEST:
            parts.append(self._load(position, end))
            self._start, self._window = end, b""
            return b"".join(parts)
        at, self._position = self._position, position
        try:
            self._fill(end - position)
        finally:
            self._position = at
        parts.append(self._window[: end - position])
        return b"".join(parts)

    def _fill(self, least: int) -> None:
        """Make a window from the position on, of `least` bytes or more."""
        position = self._position
        in_order = position == self._start + len(self._window)
        self._length = min(2 * self._length, _LARGEST) if in_order else _FIRST
        length = max(least, self._length) if in_order else least
        end = min(position + length, self.size)
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.start == position and ahead.stop >= position + least:
            end = ahead.stop
            window = ahead.content.result()
        else:
            window = self._load(position, end)
        self._start, self._window = position, window
        if in_order and end < self.size and self._load_soon is not None:
            behind = min(end + self._length, self.size)
            self._ahead = _Ahead(end, behind, self._load_soon(end, behind))


Reader: TypeAlias = io.BufferedReader | FarReader
_CLOSED: Final = "I/O operation on closed file."


def _moved(offset: int, whence: int, position: int, size: int) -> int:
    """Return the target position of a seek.

    Raises:
        ValueError: the position is invalid.
    """
    if whence not in (io.SEEK_SET, io.SEEK_CUR, io.SEEK_END):
        raise ValueError(f"whence is 0, 1 or 2, not {whence}")
    moved = (0, position, size)[whence] + offset
    if moved < 0:
        raise ValueError(f"there is no position {moved}")
    return moved
