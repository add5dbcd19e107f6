"""The server: uvicorn on a thread of this process, reachable only from this machine by default.

    with serve(dataver.open(), port=0) as server:
        pandas.read_parquet(f"{server.url}/vision/cats@1.2.0/x.parquet")

Not for the open internet: no encryption, no users.

uvicorn limits only the time between two requests. A client that sends its request byte by byte, or stops
reading its response, would keep its connection for ever, and the number of connections is limited. So
`Connection` adds a timeout for slow clients.
"""

import asyncio
import logging
import socket
import sys
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from errno import EADDRINUSE
from ipaddress import ip_address
from typing import Any, Final, Self

import uvicorn
from anyio.to_thread import current_default_thread_limiter
from uvicorn.protocols.http.h11_impl import H11Protocol

from dataver import Repository
from dataver.arguments import check_range
from dataver.errors import Conflict, InvalidInput
from dataver.ui import PREFIX, Site
from dataver.web.access import Access
from dataver.web.app import make_app

__all__ = ["CONNECTIONS", "Connection", "IDLE", "Server", "serve"]

CONNECTIONS: Final = 256
"""Limit of connections; requests on a further one get a 503."""

_HOSTS: Final = "choose another --host or --port; 127.0.0.1 is this machine, 0.0.0.0 all its addresses"
_SILENT: Final = logging.getLogger(__name__)

IDLE: Final = 60.0
"""Seconds for a request to arrive, and for a client to accept the part of a response that is written."""


class Server:
    """A running server, from `serve` until `close`.

    Attributes:
        host: the address that it listens on.
        port: its port.
        url: what clients put before the path.
        names: the names by which it may be asked, besides addresses of numbers.
        local: whether only this machine reaches it.
        token: what each request needs, as `Authorization: Bearer TOKEN` or `?token=TOKEN`; None if requests
            need none.
    """

    def __init__(
        self,
        repository: Repository,
        host: str,
        port: int,
        names: Collection[str],
        report: Callable[[str], None],
        token: str | None,
        *,
        editing: bool,
    ) -> None:
        given = None if token is None else Access(token)
        self._socket = _listen(host, port)
        self.host, self.port = self._socket.getsockname()[:2]
        address = ip_address(self.host)
        self.local = address.is_loopback
        self._access = given or (Access() if editing or not self.local else None)
        self.token = None if self._access is None else self._access.token
        shown = f"[{self.host}]" if ":" in self.host else self.host
        shown = socket.gethostname() if address.is_unspecified else shown
        self.url = f"http://{'localhost' if self.host == '127.0.0.1' else shown}:{self.port}"
        own = () if self.local else (socket.gethostname().lower(), socket.getfqdn().lower())
        self.names = frozenset({"localhost", host.lower(), *own, *(name.lower() for name in names)})
        self._site = Site(repository, report, edit=editing)
        cookie = f"dataver-{self.port}"
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(
                make_app(repository, self._site, self.names, report, self._access, cookie, editing=editing),
                loop="asyncio",
                http=Connection,
                ws="none",
                lifespan="off",
                log_config=None,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=CONNECTIONS,
                timeout_keep_alive=int(IDLE),
            )
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="dataver-serve", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"Server({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def page(self, address: str = PREFIX, *, once: bool = False) -> str:
        """Return the URL of a page for a browser, with the token if requests need it.

        Args:
            address: the path and query of the page.
            once: give a code that is accepted once in place of the token.
        """
        if self._access is None:
            return self.url + address
        token = self._access.code() if once else self._access.token
        return f"{self.url}{address}{'&' if '?' in address else '?'}token={token}"

    def prepare(self) -> None:
        """Do on a thread what the first pages in a browser would wait for."""
        threading.Thread(target=self._site.prepare, name="dataver-prepare", daemon=True).start()

    def wait(self) -> None:
        """Wait until it is closed."""
        while self._thread.is_alive():
            self._thread.join(1.0)

    def close(self, patience: float = 3.0) -> bool:
        """Accept no further connection or request, and wait some seconds for answers being sent.

        Returns whether all of them ended; the others are aborted.
        """
        self._uvicorn.should_exit = True
        self._thread.join(patience)
        if not self._thread.is_alive():
            return True
        self._uvicorn.force_exit = True
        with suppress(RuntimeError):  # it has just ended
            self._loop.call_soon_threadsafe(self._abort)
        self._thread.join(1.0)  # not for ever: a thread may wait for the store
        return False

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        current_default_thread_limiter().total_tokens = CONNECTIONS  # a slow store delays no other request
        await self._uvicorn.serve(sockets=[self._socket])

    def _abort(self) -> None:
        for connection in list(self._uvicorn.server_state.connections):
            connection.transport.abort()


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens, so that a client is accepted as soon as `serve` returns."""
    family, address = _address(host, port)
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # else asyncio sets no TCP_NODELAY
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen()
    except OSError as error:
        found.close()
        if error.errno == EADDRINUSE:
            raise Conflict(f"port {port} of {host} is in use.", hint="`--port 0` takes a free one") from error
        raise InvalidInput(f"cannot listen on {host} port {port}: {error.strerror}.", hint=_HOSTS) from error
    return found


def serve(
    repository: Repository,
    host: str = "127.0.0.1",
    port: int = 8765,
    *,
    names: Collection[str] = (),
    report: Callable[[str], None] | None = None,
    token: str | None = None,
    editing: bool = False,
) -> Server:
    """Serve the versions of a repository and its pages over HTTP, on threads of this process.

    Args:
        repository: the repository.
        host: the address to listen on; the default is reachable only from this machine. Every client can
            read every version.
        port: the port; 0 takes a free one.
        names: further names by which it may be asked, such as that of a proxy.
        report: receives failures of the server; None writes them to stderr.
        token: what each request needs. None makes a random one for a server that other machines reach or
            that edits, and else requires none.
        editing: whether the pages change descriptions and tags; else the server is read-only.

    Raises:
        Conflict: the port is in use.
        InvalidInput: this machine does not have the address, or the token is not a valid one.
    """
    return Server(repository, host, port, names, report or _say, token, editing=editing)


def _say(sentence: str) -> None:
    with suppress(OSError, ValueError):
        sys.stderr.write(f"dataver: {sentence}\n")


def _address(host: str, port: int) -> tuple[int, tuple[Any, ...]]:
    check_range("port", port, 0, 65535)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise InvalidInput(
            f"'{host}' is not an address of this machine: {error.strerror}.", hint=_HOSTS
        ) from error
    family, _, _, _, address = found[0]
    return family, address


_SILENT.setLevel(logging.CRITICAL + 1)


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
