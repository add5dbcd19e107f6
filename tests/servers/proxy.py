"""A network that fails on purpose, between a store and its server.

One idea: what a fake cannot show is how the client libraries below us behave, for instance that they send a
request again on their own when the reply is lost. So real bytes go through a real socket, and a rule says
what happens to the N-th request.

    with FaultyNetwork(server.endpoint, lambda request: Break.LOSE_REPLY if request.number == 2 else None)
    as network:
        store = open_store(url, options | {"endpoint_url": network.endpoint})

A rule that breaks requests at random, the same for the same seed, is `tests/servers/fault_schedule.py`.
"""

import contextlib
import http.client
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

__all__ = ["Break", "FaultyNetwork", "Seen"]

_PART = 256 * 1024  # bytes that pass at a time where the bandwidth is limited


class Break(Enum):
    """What happens to one request."""

    RESET_BEFORE = "the connection ends before the server sees the request"
    CUT_SENT = "the connection ends when half of the request's body has reached the server"
    LOSE_REPLY = "the server does it, but the connection ends without a reply"
    CUT_BODY = "half of the reply's body arrives, then the connection ends"
    SHORT_BODY = "half of the reply's body arrives, and the headers agree with that"
    FLIP = "one bit of the reply's body is another"
    FLIP_SENT = "one bit of the request's body is another when the server gets it"
    HANG = "no reply comes until the network is closed"
    INTERNAL = "500 InternalError"
    SLOW_DOWN = "503 SlowDown"
    CONFLICT = "409 ConditionalRequestConflict"
    DENIED = "403 AccessDenied"
    NO_BUCKET = "404 NoSuchBucket"
    NO_KEY = "404 NoSuchKey"
    EXISTS = "412 PreconditionFailed"
    PAGE = "200 with a web page, and the server does not see the request"
    EMPTY = "200 with nothing, and the server does not see the request"
    SKEWED = "403 RequestTimeTooSkewed"


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
    Break.DENIED: (403, "AccessDenied"),
    Break.SKEWED: (403, "RequestTimeTooSkewed"),
    Break.NO_BUCKET: (404, "NoSuchBucket"),
    Break.NO_KEY: (404, "NoSuchKey"),
    Break.EXISTS: (412, "PreconditionFailed"),
}
_PAGE = b"<!doctype html><title>Sign in</title>"


class FaultyNetwork:
    """An HTTP proxy in front of one server; a context manager.

    Args:
        endpoint: the server's address, plain http.
        rule: what to do with a request; None lets it through.
        latency: seconds by which every request is late.
        bandwidth: bytes a second, all connections and both directions together.
        retry_after: seconds that a `SLOW_DOWN` asks for.

    Attributes:
        endpoint: the address to use instead.
        seen: the requests so far.
        broken: how often each break happened.
        passed: bytes of bodies that went through, of requests and of replies.
        under_way: how many requests are being answered.
    """

    def __init__(
        self,
        endpoint: str,
        rule: Callable[[Seen], Break | None],
        *,
        latency: float = 0.0,
        bandwidth: float | None = None,
        retry_after: int | None = None,
    ) -> None:
        self.target = urlsplit(endpoint).netloc
        self.rule = rule
        self.latency = latency
        self.bandwidth = bandwidth
        self.retry_after = retry_after
        self.seen: list[Seen] = []
        self.broken: Counter[Break] = Counter()
        self.passed = self.under_way = 0
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._free = 0.0  # when the line has nothing more to carry
        network = self

        class Handler(_Handler):
            net = network

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

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

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Count a request as under way."""
        with self._lock:
            self.under_way += 1
        try:
            yield
        finally:
            with self._lock:
                self.under_way -= 1

    def judge(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, Break | None]:
        """Note a request; return its number and what happens to it."""
        with self._lock:
            seen = Seen(len(self.seen) + 1, method, path, headers)
            self.seen.append(seen)
        if self.latency:
            self.closing.wait(self.latency)
        what = self.rule(seen)
        if what is not None:
            with self._lock:
                self.broken[what] += 1
        return seen.number, what

    def carry(self, size: int) -> None:
        """Let so many bytes pass, as fast as the bandwidth allows."""
        with self._lock:
            self.passed += size
            if not self.bandwidth:
                return
            now = time.monotonic()
            self._free = max(now, self._free) + size / self.bandwidth
            wait = self._free - now
        self.closing.wait(wait)


class _Handler(BaseHTTPRequestHandler):
    net: FaultyNetwork
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the parent's name
        """Say nothing."""

    def _relay(self) -> None:
        with self.net.answering():
            self._pass_on()

    def _pass_on(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        number, what = self.net.judge(self.command, self.path, dict(self.headers))
        if what is Break.CUT_SENT and size:
            with contextlib.suppress(OSError, http.client.HTTPException):
                self._ask(self._body(size // 2), abandon=True)
            self._drop()
            return
        body = self._body(size)
        if len(body) < size:  # the client is gone, and the server is not to wait for the rest
            with contextlib.suppress(OSError, http.client.HTTPException):
                self._ask(body, abandon=True)
            return
        if what is Break.HANG:
            self.net.closing.wait()
        if what in (Break.HANG, Break.RESET_BEFORE, Break.CUT_SENT):
            self._drop()
            return
        if what in _ANSWERS:
            self._refuse(what)
            return
        if what in (Break.PAGE, Break.EMPTY):
            self._answer(200, _PAGE if what is Break.PAGE else b"", [("Content-Type", "text/html")])
            return
        status, headers, data = self._ask(_flipped(body, number) if what is Break.FLIP_SENT else body)
        if what is Break.LOSE_REPLY:
            self._drop()
            return
        if what is Break.SHORT_BODY:
            data = data[: len(data) // 2]
        if what is Break.FLIP:
            data = _flipped(data, number)
        with contextlib.suppress(OSError):  # the client may have given up
            self._answer(status, data, headers, cut=what is Break.CUT_BODY)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _relay  # noqa: N815 - the parent's names

    def _body(self, size: int) -> bytes:
        parts = []
        while size:
            part = self.rfile.read(min(size, _PART))
            if not part:
                break
            self.net.carry(len(part))
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _refuse(self, what: Break) -> None:
        status, code = _ANSWERS[what]
        wait = self.net.retry_after if what is Break.SLOW_DOWN else None
        headers = [] if wait is None else [("Retry-After", str(wait))]
        self._answer(status, f"<Error><Code>{code}</Code><Message>x</Message></Error>".encode(), headers)

    def _ask(self, body: bytes, *, abandon: bool = False) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.net.target, timeout=60)
        try:
            # the Host header stays as it was signed
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("connection", "expect"):
                    connection.putheader(name, value)
            connection.endheaders(body)
            if abandon:
                return 0, [], b""
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
            view = memoryview(data)[: len(data) // 2 if cut else len(data)]
            for start in range(0, len(view), _PART):
                part = view[start : start + _PART]
                self.net.carry(len(part))
                self.wfile.write(part)
        if cut:
            self._drop()

    def _drop(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def _flipped(data: bytes, number: int) -> bytes:
    """Return the bytes with one bit changed; which one, the number of the request says."""
    if not data:
        return data
    changed = bytearray(data)
    changed[random.Random(number).randrange(len(data))] ^= 1 << number % 8
    return bytes(changed)
