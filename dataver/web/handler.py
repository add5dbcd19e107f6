"""One connection: read and answer requests one after the other (HTTP/1.1, keep-alive).

The idea: one thread per connection, and requests change nothing. An answer is a file of a version (whole or
in ranges), a listing, a redirect to a folder's own address, or one sentence about an error.

Pages of other sites have no access: a request must name this machine (`Host`), which prevents DNS rebinding;
answers do not permit other sites to read them; and pages in a dataset run no script (invariant 9).
"""

import json
import mimetypes
import os
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing, suppress
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from io import BufferedWriter
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import quote

from dataver._about import __version__
from dataver.errors import DataverError, InvalidInput, NotFound, StoreError, message_of
from dataver.reading import Files, Info
from dataver.web.file_body import FileBody, Truncated
from dataver.web.pages import json_pieces, page_pieces
from dataver.web.request import (
    RequestTarget,
    Span,
    Stamp,
    host_of,
    is_address,
    parse_target,
    spans,
    wants_json,
)
from dataver.web.socket_writer import SocketWriter

if TYPE_CHECKING:
    from dataver.web.catalogue import Address, Catalogue

__all__ = ["IDLE", "Handler"]

IDLE: Final = 60.0
"""Timeout in seconds for a complete request, and for a client to accept bytes of an answer."""

_LINGER: Final = 1.0  # seconds in which what a client still sends is thrown away, for it to see the answer
_FOR_EVER: Final = "private, max-age=31536000, immutable"
_ASK_AGAIN: Final = "private, no-cache"
_PAGE_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_OWN_TYPES: Final = {
    ".parquet": "application/vnd.apache.parquet",
    ".arrow": "application/vnd.apache.arrow.file",
    ".jsonl": "application/jsonl",
    ".ndjson": "application/x-ndjson",
    ".md": "text/markdown",
    ".webp": "image/webp",
}
_GONE: Final = (BrokenPipeError, ConnectionResetError, ConnectionAbortedError, TimeoutError)


class ServerState(Protocol):
    """The server of a connection.

    Attributes:
        closing: whether no further request is answered.
        names: host names that requests may give.
    """

    closing: bool
    names: frozenset[str]

    def report(self, sentence: str, /) -> None:
        """Report a failure on this side."""

    def busy(self) -> AbstractContextManager[None]:
        """Count a response while it is sent."""

    def answers(self) -> int:
        """Return how many responses are being sent."""

    def arrived(self, connection: "Handler") -> None:
        """Register a connection."""

    def left(self, connection: "Handler") -> None:
        """Unregister a connection."""


class Handler(BaseHTTPRequestHandler):
    """Handler of the requests of one connection.

    Attributes:
        waiting: the time since which it waits for a request, or its rest; None while it answers.
        since: the time since which the client keeps it waiting, also by not reading; None if it does not.
    """

    protocol_version = "HTTP/1.1"
    server_version = f"dataver/{__version__}"
    sys_version = ""
    timeout = IDLE
    wbufsize = 64 * 1024  # the header and a small body leave together
    disable_nagle_algorithm = True
    owner: ServerState
    catalogue: "Catalogue"
    waiting: float | None = None
    _begun = False
    _all_read = False

    def setup(self) -> None:
        """Register the connection with the server."""
        super().setup()
        self.wfile.close()
        self._sending = SocketWriter(self.connection)
        self.wfile = BufferedWriter(self._sending, self.wbufsize)
        self.owner.arrived(self)

    @property
    def since(self) -> float | None:
        """See the class."""
        return self._sending.since if self.waiting is None else self.waiting

    def finish(self) -> None:
        """Send what is left, and let a client that still sends see it: else the system takes it back."""
        try:
            if not self._all_read:
                with suppress(OSError):
                    self.wfile.flush()
                    self.connection.shutdown(socket.SHUT_WR)
                    self.connection.settimeout(_LINGER)
                    until = time.monotonic() + _LINGER
                    while time.monotonic() < until and self.connection.recv(64 * 1024):
                        pass
            super().finish()
        finally:
            self.owner.left(self)

    def handle_one_request(self) -> None:
        """Read a request and answer it."""
        self._begun = self._all_read = False
        self.waiting = time.monotonic()
        super().handle_one_request()
        if self.owner.closing:
            self.close_connection = True

    def parse_request(self) -> bool:
        """Read the header of a request; return whether it is valid."""
        understood = super().parse_request()
        self.waiting = None
        if not understood:
            return False
        if self.headers.defects:  # headers behind such a line were not read, a body's length among them
            self.close_connection = True
            self._say(HTTPStatus.BAD_REQUEST, "a line of the header is none: a name, a colon, a value.", None)
            return False
        lengths = {length.strip() for length in self.headers.get_all("Content-Length", [])}
        self._all_read = lengths <= {"0"} and "Transfer-Encoding" not in self.headers
        if not self._all_read:  # a body is not read, and the bytes after it are not a request
            self.close_connection = True
        return True

    def handle_expect_100(self) -> bool:
        """Request no body: the answer does not depend on it."""
        return True

    def do_GET(self) -> None:
        """Answer with the content at an address."""
        self._answer()

    def do_HEAD(self) -> None:
        """Answer with the header alone."""
        self._answer()

    def do_OPTIONS(self) -> None:
        """Answer with the allowed methods."""
        self._head(HTTPStatus.NO_CONTENT, {"Allow": "GET, HEAD, OPTIONS"})

    def __getattr__(self, name: str) -> object:
        if name.startswith("do_"):  # everything else that HTTP knows, or does not
            return self._not_allowed
        raise AttributeError(name)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Log no requests; errors are reported where they occur."""

    def _not_allowed(self) -> None:
        self.close_connection = True  # a body may follow
        self._say(
            HTTPStatus.METHOD_NOT_ALLOWED, "versions are only read.", None, {"Allow": "GET, HEAD, OPTIONS"}
        )

    def _answer(self) -> None:
        try:
            with self.owner.busy():
                self._find()
        except _GONE:
            self.abort()
        except Truncated:
            self._break_off(f"'{self.path}' is shorter than it should be.")
        except InvalidInput as error:
            self._refuse(HTTPStatus.BAD_REQUEST, error)
        except NotFound as error:
            self._refuse(HTTPStatus.NOT_FOUND, error)
        except StoreError as error:
            self._refuse(HTTPStatus.BAD_GATEWAY, error)
        except DataverError as error:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, error)
        except Exception as error:
            sentence = f"'{self.path}' could not be answered: {type(error).__name__}: {message_of(error)}."
            if self._begun:
                self._break_off(sentence)
            else:
                self.owner.report(sentence)
                self.close_connection = True
                self._say(HTTPStatus.INTERNAL_SERVER_ERROR, "this is a defect of dataver.", None)
            raise

    def abort(self) -> None:
        """Close the connection in any state."""
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _find(self) -> None:
        target = parse_target(self.path)
        if not self._is_for_us(target):
            return
        if target.path is None:
            self._say(HTTPStatus.NOT_FOUND, "nothing has such an address.", None)
            return
        place = self.catalogue.place(target.path)
        if place.files is not None and place.info is not None and place.info.type == "file":
            if target.folder:
                self._say(HTTPStatus.NOT_FOUND, f"'{place.path}' is a file, not a folder.", None)
            else:
                self._file(place, place.files, place.info)
        elif not target.folder:
            self.catalogue.check(place)
            query = self.path.partition("?")
            where = f"/{quote(target.path, safe='/@:')}/{query[1]}{quote(query[2], safe='=&%+')}"
            headers = {"Location": where, "Content-Length": "0", "Cache-Control": _ASK_AGAIN}
            self._head(HTTPStatus.MOVED_PERMANENTLY, headers)
        else:
            self._listing(place, target)

    def _is_for_us(self, target: RequestTarget) -> bool:
        """Return whether the request names this machine; else answer it with an error."""
        given = self.headers.get_all("Host", [])
        if not given and self.request_version == "HTTP/1.0":
            return True
        if len(given) != 1:
            self._say(HTTPStatus.BAD_REQUEST, "a request says in one Host header whom it is for.", None)
            return False
        name = given[0] if target.authority is None else target.authority
        host = host_of(name)
        if host is not None and (is_address(host) or host in self.owner.names):
            return True
        self._say(
            HTTPStatus.MISDIRECTED_REQUEST,
            f"this server does not go by the name of '{name}'.",
            "`dataver serve --allow-host NAME` adds a name",
        )
        return False

    def _file(self, place: "Address", files: Files, info: Info) -> None:
        stamp = Stamp(f'"{info.digest}"', files.published.record.created if place.fixed else None)
        headers = {
            "Accept-Ranges": "bytes",
            "Content-Type": _type_of(info.path),
            "Content-Security-Policy": "sandbox",
            **self._caching(place, stamp),
        }
        if self._conditions(stamp, headers):
            return
        asked = self.headers.get("Range") if self.command == "GET" else None
        wanted = spans(asked, info.size) if stamp.ranges_hold(self.headers) else None
        if wanted == []:
            self._head(
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                {"Content-Range": f"bytes */{info.size}", "Content-Length": "0"},
            )
        elif wanted is None or len(wanted) == 1:
            span = wanted[0] if wanted else Span(0, info.size)
            headers["Content-Length"] = str(span.stop - span.start)
            if wanted:
                headers["Content-Range"] = _content_range(span, info.size)
            status = HTTPStatus.PARTIAL_CONTENT if wanted else HTTPStatus.OK
            if self.command == "HEAD" or span.start == span.stop:
                self._head(status, headers)
                return
            with closing(FileBody(files, info, span, self.owner.answers)) as body:
                self._head(status, headers)
                body.send(self.wfile, self._sending)
        else:
            self._several(files, info, wanted, headers)

    def _several(self, files: Files, info: Info, wanted: list[Span], headers: dict[str, str]) -> None:
        """Answer with several ranges, as parts of one body."""
        boundary = os.urandom(12).hex()
        between = [
            f"\r\n--{boundary}\r\nContent-Type: {headers['Content-Type']}\r\n"
            f"Content-Range: {_content_range(span, info.size)}\r\n\r\n".encode()
            for span in wanted
        ]
        end = f"\r\n--{boundary}--\r\n".encode()
        length = sum(map(len, between)) + sum(span.stop - span.start for span in wanted) + len(end)
        headers |= {
            "Content-Type": f"multipart/byteranges; boundary={boundary}",
            "Content-Length": str(length),
        }
        self._head(HTTPStatus.PARTIAL_CONTENT, headers)
        for start, span in zip(between, wanted, strict=True):
            self.wfile.write(start)
            with closing(FileBody(files, info, span, self.owner.answers)) as body:
                body.send(self.wfile, self._sending)
        self.wfile.write(end)

    def _listing(self, place: "Address", target: RequestTarget) -> None:
        as_json = wants_json(target, self.headers.get("Accept"))
        headers = {
            "Content-Type": "application/json" if as_json else "text/html; charset=utf-8",
            "Content-Security-Policy": _PAGE_POLICY,
            "Vary": "Accept",
        }
        if place.files is not None:
            form = "json" if as_json else "html"
            record = place.files.published.record
            stamp = Stamp(f'"{record.tree.hex()}-{form}"', record.created if place.fixed else None)
            headers |= self._caching(place, stamp)
            if self._conditions(stamp, headers):
                return
        else:
            headers["Cache-Control"] = _ASK_AGAIN
        listing = self.catalogue.listing(place)
        title = "/".join(filter(None, (place.name, place.path)))
        body = (
            json_pieces(listing.head, listing.lines)
            if as_json
            else page_pieces(title, listing.about, listing.columns, listing.lines)
        )
        self._stream(headers, body)

    def _stream(self, headers: dict[str, str], body: Iterable[bytes]) -> None:
        """Send a body of unknown length."""
        chunked = self.request_version != "HTTP/1.0"
        if chunked:
            headers["Transfer-Encoding"] = "chunked"
        else:
            self.close_connection = True
        self._head(HTTPStatus.OK, headers)
        if self.command == "HEAD":
            return
        for piece in _chunks(body) if chunked else body:
            self.wfile.write(piece)

    def _caching(self, place: "Address", stamp: Stamp) -> dict[str, str]:
        """Return the `Cache-Control` values.

        Only a full digest names the same content in any repository that is served here later.
        """
        eternal = place.files is not None and place.files.digest in place.name
        headers = {"ETag": stamp.tag, "Cache-Control": _FOR_EVER if eternal else _ASK_AGAIN}
        if stamp.date is not None:
            headers["Last-Modified"] = stamp.date
        return headers

    def _conditions(self, stamp: Stamp, headers: dict[str, str]) -> bool:
        """Answer if a condition of the client excludes a body; return whether it did."""
        if stamp.refused(self.headers):
            self._head(HTTPStatus.PRECONDITION_FAILED, {"Content-Length": "0"})
        elif stamp.unchanged(self.headers):
            kept = ("ETag", "Cache-Control", "Last-Modified", "Vary")
            self._head(HTTPStatus.NOT_MODIFIED, {name: headers[name] for name in kept if name in headers})
        else:
            return False
        return True

    def _head(self, status: HTTPStatus, headers: dict[str, str]) -> None:
        self._begun = True
        self.send_response_only(status)
        self.send_header("Date", formatdate(usegmt=True))
        self.send_header("Server", self.server_version)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def _say(
        self, status: HTTPStatus, sentence: str, hint: str | None, headers: dict[str, str] | None = None
    ) -> None:
        """Answer with one sentence, as JSON on request."""
        hint = None if hint and hint in sentence else hint
        as_json = "json" in self.headers.get("Accept", "")
        body = (
            json.dumps({"error": {"message": sentence, "hint": hint}})
            if as_json
            else f"{sentence}\nhint: {hint}"
            if hint
            else sentence
        )
        data = f"{body}\n".encode("utf-8", "replace")
        kind = "application/json" if as_json else "text/plain; charset=utf-8"
        self._head(
            status,
            {
                "Content-Type": kind,
                "Content-Length": str(len(data)),
                "Cache-Control": "no-store",
                **(headers or {}),
            },
        )
        if self.command != "HEAD":
            self.wfile.write(data)

    def _refuse(self, status: HTTPStatus, error: DataverError) -> None:
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self.owner.report(error.message)
        if self._begun:
            self._break_off(None)
        else:
            self._say(status, error.message, error.hint)

    def _break_off(self, sentence: str | None) -> None:
        """Abort an answer so that the client detects that it is incomplete."""
        if sentence:
            self.owner.report(sentence)
        with suppress(OSError):
            self.wfile.flush()
        self.abort()


def _chunks(body: Iterable[bytes]) -> Iterator[bytes]:
    for piece in body:
        if piece:
            yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


def _content_range(span: Span, size: int) -> str:
    return f"bytes {span.start}-{span.stop - 1}/{size}"


def _type_of(path: str) -> str:
    name = path.rpartition("/")[2].lower()
    kind, packed = mimetypes.guess_type(name, strict=False)
    found = _OWN_TYPES.get(os.path.splitext(name)[1], kind)  # noqa: PTH122  # a name, not a path
    if packed or found is None:
        return "application/gzip" if packed == "gzip" else "application/octet-stream"
    return f"{found}; charset=utf-8" if found.startswith("text/") else found
