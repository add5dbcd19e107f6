"""A network that fails on purpose, between a store and its server.

One idea: what a fake cannot show is how the client libraries below us behave, for instance that they send a
request again on their own when the reply is lost. So real bytes go through a real socket, and a rule says
what happens to the N-th request.

    with FaultyNetwork(server.endpoint, lambda request: Break.LOSE_REPLY if request.number == 2 else None)
    as network:
        store = open_store(url, options | {"endpoint_url": network.endpoint})
"""

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

__all__ = ["Break", "FaultyNetwork", "Seen"]


class Break(Enum):
    """What happens to one request."""

    RESET_BEFORE = "the connection ends before the server sees the request"
    LOSE_REPLY = "the server does it, but the connection ends without a reply"
    CUT_BODY = "half of the reply's body arrives, then the connection ends"
    SHORT_BODY = "half of the reply's body arrives, and the headers agree with that"
    HANG = "no reply comes until the network is closed"
    INTERNAL = "500 InternalError"
    SLOW_DOWN = "503 SlowDown"
    CONFLICT = "409 ConditionalRequestConflict"


class Seen(NamedTuple):
    """One request as the network saw it; `number` starts at 1."""

    number: int
    method: str
    path: str
    headers: dict[str, str]


_ANSWERS = {
    Break.INTERNAL: (500, "InternalError"),
    Break.SLOW_DOWN: (503, "SlowDown"),
    Break.CONFLICT: (409, "ConditionalRequestConflict"),
}


class FaultyNetwork:
    """An HTTP proxy in front of one server; a context manager.

    Args:
        endpoint: the server's address, plain http.
        rule: what to do with a request; None lets it through.

    Attributes:
        endpoint: the address to use instead.
        seen: the requests so far.
    """

    def __init__(self, endpoint: str, rule: Callable[[Seen], Break | None]) -> None:
        self.target = urlsplit(endpoint).netloc
        self.rule = rule
        self.seen: list[Seen] = []
        self.closing = threading.Event()
        self._lock = threading.Lock()
        network = self

        class Handler(_Handler):
            net = network

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def judge(self, method: str, path: str, headers: dict[str, str]) -> Break | None:
        """Note a request and say what happens to it."""
        with self._lock:
            seen = Seen(len(self.seen) + 1, method, path, headers)
            self.seen.append(seen)
        return self.rule(seen)


class _Handler(BaseHTTPRequestHandler):
    net: FaultyNetwork
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the parent's name
        """Say nothing."""

    def _relay(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        what = self.net.judge(self.command, self.path, dict(self.headers))
        if what is Break.HANG:
            self.net.closing.wait()
        if what in (Break.HANG, Break.RESET_BEFORE):
            self._drop()
            return
        if what in _ANSWERS:
            status, code = _ANSWERS[what]
            self._answer(status, f"<Error><Code>{code}</Code><Message>x</Message></Error>".encode())
            return
        status, headers, data = self._ask(body)
        if what is Break.LOSE_REPLY:
            self._drop()
            return
        half = data[: len(data) // 2]
        self._answer(status, half if what is Break.SHORT_BODY else data, headers, cut=what is Break.CUT_BODY)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _relay  # noqa: N815 - the parent's names

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.net.target, timeout=30)
        try:
            # the Host header stays as it was signed
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("connection", "expect"):
                    connection.putheader(name, value)
            connection.endheaders(body)
            reply = connection.getresponse()
            return reply.status, reply.getheaders(), reply.read()
        finally:
            connection.close()

    def _answer(
        self, status: int, data: bytes, headers: list[tuple[str, str]] | None = None, *, cut: bool = False
    ) -> None:
        self.send_response_only(status)
        length = str(len(data))
        for name, value in headers or []:
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            elif name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self._drop()

    def _drop(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
