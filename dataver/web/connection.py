"""A connection with a timeout for slow clients, which uvicorn does not have.

uvicorn limits only the time between two requests. A client that sends its request byte by byte, or stops
reading its response, would keep its connection for ever, and the number of connections is limited.
"""

import asyncio
import logging
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["IDLE", "Connection"]

_SILENT: Final = logging.getLogger(__name__)
_SILENT.setLevel(logging.CRITICAL + 1)

IDLE: Final = 60.0
"""Seconds for a request to arrive, and for a client to accept the part of a response that is written."""


class Connection(H11Protocol):
    """HTTP/1.1 connection that ends if it waits for its client longer than `IDLE`."""

    _timer: asyncio.TimerHandle | None = None
    _ended = False  # whether the client sends no more

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.logger = _SILENT  # failures go to `report`; uvicorn's own loggers are the process's
        self.access_log = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Handle received bytes; once they complete the header of a request, it is not waited for."""
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._watch()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer the last request of a client that has closed its sending side."""
        self._ended = True
        return self._answering()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        if self._ended and not self._answering():
            self.transport.close()
        self._watch()

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """Continue to write."""
        super().resume_writing()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _watch(self) -> None:
        """Start the timer anew, or stop it while the server owes the next bytes."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.flow.write_paused or not self._answering():
            self._timer = self.loop.call_later(IDLE, self.transport.abort)
