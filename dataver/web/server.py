"""The server: one thread per connection, reachable only from this machine by default.

    with serve(dataver.open(), port=0) as server:
        pandas.read_parquet(f"{server.url}/vision/cats@1.2.0/x.parquet")

It uses Python's own `socketserver` and HTTP parser: nothing to install, and the slow steps (reading,
verifying, decompressing, sending) release the GIL. Not for the open internet: no
encryption, no users.
"""

import socket
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from errno import EADDRINUSE
from ipaddress import ip_address
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, Final, Self

from dataver import Repository
from dataver.arguments import check_range
from dataver.errors import Conflict, InvalidInput
from dataver.web.catalogue import Catalogue
from dataver.web.handler import IDLE, Handler

__all__ = ["CONNECTIONS", "Server", "serve"]

CONNECTIONS: Final = 256
"""Limit of connections; a further one replaces the one that waits the longest, or is told to retry."""

_BUSY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)
_POLL: Final = 0.2  # seconds until `close` is noticed
_SPARED: Final = 5.0  # seconds of waiting after which a connection may be ended for another


class Server:
    """A running server, from `serve` until `close`.

    Attributes:
        host: the address that it listens on.
        port: its port.
        url: what clients put before the path.
        names: the names by which it may be asked, besides addresses of numbers.
        closing: whether it is being closed.
        local: whether only this machine reaches it.
    """

    def __init__(
        self,
        repository: Repository,
        host: str,
        port: int,
        names: Collection[str],
        report: Callable[[str], None],
    ) -> None:
        self.report = report
        self.closing = False
        self._answering = 0
        self._connections: set[Handler] = set()
        self._lock = threading.Lock()

        class Bound(Handler):
            owner = self
            catalogue = Catalogue(repository)

        family, address = _address(host, port)
        try:
            self._tcp = _Tcp(family, address, Bound, self.prune)
        except OSError as error:
            if error.errno == EADDRINUSE:
                raise Conflict(
                    f"port {port} of {host} is in use.", hint="`--port 0` takes a free one"
                ) from error
            raise InvalidInput(f"{host} port {port} cannot be listened on: {error.strerror}.") from error
        self.host, self.port = str(self._tcp.server_address[0]), int(self._tcp.server_address[1])
        self.local = ip_address(self.host).is_loopback
        shown = f"[{self.host}]" if ":" in self.host else self.host
        self.url = f"http://{'localhost' if self.host == '127.0.0.1' else shown}:{self.port}"
        own = () if self.local else (socket.gethostname().lower(), socket.getfqdn().lower())
        self.names = frozenset({"localhost", host.lower(), *own, *(name.lower() for name in names)})
        self._thread = threading.Thread(
            target=self._tcp.serve_forever, args=(_POLL,), name="dataver-serve", daemon=True
        )
        self._thread.start()

    def __repr__(self) -> str:
        return f"Server({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait(self) -> None:
        """Wait until it is closed."""
        while self._thread.is_alive():
            self._thread.join(1.0)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Count an answer while it is sent."""
        with self._lock:
            self._answering += 1
        try:
            yield
        finally:
            with self._lock:
                self._answering -= 1

    def answers(self) -> int:
        """Return the number of answers being sent."""
        return self._answering

    def arrived(self, connection: Handler) -> None:
        """Register a connection."""
        with self._lock:
            self._connections.add(connection)

    def left(self, connection: Handler) -> None:
        """Unregister a connection."""
        with self._lock:
            self._connections.discard(connection)

    def prune(self, room: int = 0) -> None:
        """Close connections whose request timed out, and up to `room` of those that wait the longest."""
        now = time.monotonic()
        with self._lock:
            found = [(each.since, each) for each in self._connections]
        waiting = [(since, each) for since, each in found if since is not None]
        waiting.sort(key=lambda pair: pair[0])
        for number, (since, each) in enumerate(waiting):
            asked = each.waiting
            if (number < room and since < now - _SPARED) or (asked is not None and asked < now - IDLE):
                each.abort()

    def close(self, patience: float = 3.0) -> bool:
        """Accept no further connection or request, and wait some seconds for answers being sent.

        Returns whether all of them ended; the others are aborted.
        """
        self.closing = True
        self._tcp.shutdown()
        self._tcp.server_close()
        until = time.monotonic() + patience
        while self._answering and time.monotonic() < until:
            time.sleep(0.02)
        ended = not self._answering
        with self._lock:
            left = list(self._connections)
        for each in left:
            each.abort()
        return ended


class _Tcp(ThreadingMixIn, TCPServer):
    """A TCP server with a bound on its connections."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self, family: int, address: tuple[Any, ...], handler: type[Handler], prune: Callable[[int], None]
    ) -> None:
        self.address_family = family
        self._prune = prune
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection, or refuse it."""
        free = self._free.acquire(blocking=False)
        if not free:
            self._prune(1)
            free = self._free.acquire(timeout=0.1)
        if free:
            try:
                super().process_request(request, client_address)
            except BaseException:
                self._free.release()
                raise
            return
        with suppress(OSError):
            request.setblocking(False)
            request.send(_BUSY)
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection, and make room for the next."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def service_actions(self) -> None:
        """Close idle connections periodically."""
        self._prune(0)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  # the base class's names
        """Report a defect; a client's disconnect is not one."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            import traceback

            traceback.print_exc()


def serve(
    repository: Repository,
    host: str = "127.0.0.1",
    port: int = 8765,
    *,
    names: Collection[str] = (),
    report: Callable[[str], None] | None = None,
) -> Server:
    """Serve the versions of a repository over HTTP, read-only, on threads of this process.

    Args:
        repository: the repository.
        host: the address to listen on; the default is reachable only from this machine. Every client can
            read every version.
        port: the port; 0 takes a free one.
        names: further names by which it may be asked, such as that of a proxy.
        report: receives failures of the server; None writes them to stderr.

    Raises:
        Conflict: the port is in use.
        InvalidInput: this machine does not have the address.
    """
    return Server(repository, host, port, names, report or _say)


def _say(sentence: str) -> None:
    with suppress(OSError, ValueError):
        sys.stderr.write(f"dataver: {sentence}\n")


def _address(host: str, port: int) -> tuple[int, tuple[Any, ...]]:
    check_range("port", port, 0, 65535)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise InvalidInput(f"'{host}' is no address of this machine: {error.strerror}.") from error
    family, _, _, _, address = found[0]
    return family, address
