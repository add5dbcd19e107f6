"""The body of a PUT: bytes in memory, or an immutable file that is read twice and never held whole.

The idea: a pack is 64 MB, and four are uploaded at once. One pass over the file computes its checksum and a
second one sends it, each through one small buffer. This saves 256 MB of memory and the time to fill them. If
the passes read different bytes, the server rejects the body by its checksum.
"""

import base64
import hashlib
import os
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Self

from dataver import parallel
from dataver.errors import StoreError
from dataver.storage.base import BytesLike
from dataver.storage.translate import translate

__all__ = ["Body", "BodyReader"]

_STEP = 256 * 1024  # bytes read and handed to a socket at once; stays in the processor's cache

_turns: dict[int, threading.Semaphore] = {}  # by process: a parent's lock may never be released


class Body:
    """The bytes of one object.

    Args:
        source: the bytes, or the file.
        unsigned: whether the signature may omit the bytes, so that only the checksum covers them.
    """

    def __init__(self, source: BytesLike | Path, *, unsigned: bool = False) -> None:
        self.source = source
        self.unsigned = unsigned
        self._size = _size_of(source)

    def __len__(self) -> int:
        return self._size

    def crc32(self) -> str:
        """Return the CRC32 in the form of S3."""
        crc = 0
        with _turn(len(self)):
            for part in self._parts():
                crc = zlib.crc32(part, crc)
        return base64.b64encode(crc.to_bytes(4, "big")).decode()

    def md5(self) -> str:
        """Return the MD5 in the form of HTTP."""
        hasher = hashlib.md5(usedforsecurity=False)
        with _turn(len(self)):
            for part in self._parts():
                hasher.update(part)
        return base64.b64encode(hasher.digest()).decode()

    def whole(self) -> bytes:
        """Return the whole body in memory."""
        return self.source if isinstance(self.source, bytes) else b"".join(map(bytes, self._parts()))

    def sending(self, end: float) -> "BodyReader":
        """Return a file object that sends it, with a deadline on the monotonic clock."""
        return BodyReader(self, end)

    def _parts(self) -> Iterator[memoryview]:
        with BodyReader(self, None) as file:
            while part := file.read():
                yield part


class BodyReader:
    """A body as a file object for HTTP clients; each part is valid until the next is read.

    Attributes:
        failed: the reason why reading failed: an error of the file, or the deadline; else None.
        unsigned: as the body's.
    """

    def __init__(self, body: Body, end: float | None) -> None:
        self.failed: Exception | None = None
        self.unsigned = body.unsigned
        self._size, self._end, self._at = len(body), end, 0
        self._fd: int | None = None
        if isinstance(body.source, Path):
            self._path = str(body.source)
            self._buffer = memoryview(bytearray(min(_STEP, self._size)))
            self._part: Callable[[int], memoryview] = self._of_file
        else:
            self._memory = memoryview(body.source)
            self._part = self._of_memory

    def __len__(self) -> int:
        return self._size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, size: int = -1, /) -> memoryview:
        """Return the next bytes, in parts of a size suited to sockets, regardless of `size`.

        Raises:
            TimeoutError: the deadline has passed.
            StoreError: the file cannot be read, or its size has changed.
        """
        del size  # HTTP clients want 16 KiB, and fewer calls are cheaper
        if self._end is not None and time.monotonic() > self._end:
            self.failed = TimeoutError("sending took too long")
            raise self.failed
        try:
            part = self._part(min(_STEP, self._size - self._at))
        except StoreError as error:
            self.failed = error
            raise
        self._at += len(part)
        return part

    def seek(self, place: int, whence: int = os.SEEK_SET, /) -> int:
        """Set the offset, relative to the start, the current offset or the end."""
        self._at = place + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        """Return the current offset."""
        return self._at

    def close(self) -> None:
        """Close the file, if it is one; the next read reopens it."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _of_memory(self, size: int) -> memoryview:
        return self._memory[self._at : self._at + size]

    def _of_file(self, size: int) -> memoryview:
        try:
            if self._fd is None:
                self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            got = os.preadv(self._fd, [self._buffer[:size]], self._at) if size else 0
        except OSError as error:
            raise translate(error, doing="read", key=self._path, url="this machine") from error
        if size and not got:
            raise StoreError(f"{self._path} became shorter while it was sent.", hint="repeat the command")
        return self._buffer[:got]


def _turn(size: int) -> AbstractContextManager[object]:
    """Return a context that limits concurrent hashing: a body is sent while the next is hashed."""
    if size <= _STEP:
        return nullcontext()
    return _turns.setdefault(os.getpid(), threading.Semaphore(parallel.hashers()))


def _size_of(source: BytesLike | Path) -> int:
    if not isinstance(source, Path):
        return memoryview(source).nbytes
    try:
        return source.stat().st_size
    except OSError as error:
        raise translate(error, doing="read", key=str(source), url="this machine") from error
