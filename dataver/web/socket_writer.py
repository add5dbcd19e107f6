"""The sending side of a connection, which records how long the client keeps it waiting.

The idea: a client that reads a byte a second never exceeds the timeout of a single `send`. So the seconds
spent in `send` are added up until the client has taken `STEP` bytes, and the server can end the connections
that wait the longest (`dataver.web.server`). Time in which this side reads or verifies data is not counted.
"""

import io
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final

__all__ = ["STEP", "SocketWriter"]

STEP: Final = 256 * 1024
"""Bytes that a client takes before the time that it kept this side waiting counts from zero again."""


class SocketWriter(io.RawIOBase):
    """Unbuffered writer to a socket.

    Attributes:
        since: the time since which the client takes less than `STEP` bytes; None while nothing is sent.
    """

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self._connection = connection
        self._blocked, self._taken = 0.0, 0
        self.since: float | None = None

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: "io.ReadableBuffer") -> int:  # type: ignore[name-defined]
        """Send some of the bytes; return how many."""
        with self._timed():
            sent = self._connection.send(memoryview(data)[:STEP])
            self._taken += sent
        return sent

    def sendfile(self, file: BinaryIO, offset: int, length: int) -> int:
        """Send a range of a file by the system's own means; return how many bytes there were."""
        end = offset + length
        while offset < end:
            with self._timed():
                sent = self._connection.sendfile(file, offset, min(STEP, end - offset))
                self._taken += sent
            if not sent:
                break
            offset += sent
        return length - (end - offset)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        started = time.monotonic()
        self.since = started - self._blocked
        try:
            yield
        finally:
            self.since = None
        self._blocked += time.monotonic() - started
        if self._taken >= STEP:
            self._blocked, self._taken = 0.0, 0
