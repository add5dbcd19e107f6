"""The content at an address: a file or a range of it, a listing, or a redirect to a folder's own address.

A page in a dataset runs no script: it is sent as a sandboxed document (invariant 9).

The bytes of a file are read ahead in pieces: a few for each body, independent of the file's size, and smaller
ones the more bodies are being sent, so that stalled clients cost little memory. Bytes from the repository are
verified frame by frame, and the last piece of a whole file is yielded only if the digest of all pieces
matches (invariant 1). A file of a fetched version is read as it is.
"""

import mimetypes
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from http import HTTPStatus
from itertools import chain
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dataver.errors import IntegrityError, NotFound
from dataver.hashing import new_hasher
from dataver.reading import Files, Info
from dataver.ui import PREFIX
from dataver.web.pages import json_pieces, page_pieces
from dataver.web.replies import Pieces
from dataver.web.request import RequestTarget, Span, Stamp, parse_target, span_of, wants_json

if TYPE_CHECKING:
    from concurrent.futures import Future

    from dataver.web.catalogue import Address, Catalogue

__all__ = ["Content", "FIRST", "METHODS", "file_pieces"]

METHODS: Final = ("GET", "HEAD", "OPTIONS")
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

FIRST: Final = 256 * 1024
"""Bytes of the first piece."""

_PIECE: Final = 2 * 1024 * 1024
_AHEAD: Final = 3  # pieces
_TOGETHER: Final = 64 * 1024 * 1024  # bytes of all bodies' pieces, until each has but the smallest


class Content:
    """Answers requests for content; `answer` runs on a thread of the pool, as it reads from the repository.

    Args:
        catalogue: resolves addresses.
        report: receives failures that occur after a response was begun.
    """

    def __init__(self, catalogue: "Catalogue", report: Callable[[str], None]) -> None:
        self._catalogue = catalogue
        self._report = report
        self._sending: set[object] = set()  # one for each body; its methods are atomic, a counter's are not

    def answer(self, request: Request) -> Response:
        """Return the response.

        Raises:
            DataverError: see `dataver.web.app` for the status of each.
        """
        if request.method == "OPTIONS":
            return Response(status_code=HTTPStatus.NO_CONTENT, headers={"Allow": ", ".join(METHODS)})
        query = request.scope["query_string"].decode("latin-1")
        path = request.scope["raw_path"].decode("latin-1")
        target = parse_target(f"{path}?{query}")
        if target.path is None:
            raise NotFound("the address is not a valid path.", hint="/ lists all datasets")
        place = self._catalogue.place(target.path)
        if place.files is not None and place.info is not None and place.info.type == "file":
            if target.folder:
                raise NotFound(f"'{place.path}' is a file, not a folder.", hint="omit the slash at the end")
            return self._file(request, place, place.files, place.info)
        if target.folder:
            return self._listing(request, place, target)
        self._catalogue.check(place)
        where = f"/{quote(target.path, safe='/@:')}/"
        where += f"?{quote(query, safe='=&%+')}" if query else ""
        return Response(
            status_code=HTTPStatus.MOVED_PERMANENTLY,
            headers={"Location": where, "Cache-Control": _ASK_AGAIN},
        )

    def _file(self, request: Request, place: "Address", files: Files, info: Info) -> Response:
        stamp = Stamp(f'"{info.digest}"', files.published.record.created if place.fixed else None)
        headers = {
            "Accept-Ranges": "bytes",
            "Content-Type": _type_of(info.path),
            "Content-Security-Policy": "sandbox",
            **_caching(place, stamp),
        }
        if (early := _condition(request, stamp, headers)) is not None:
            return early
        asked = request.headers.get("Range") if request.method == "GET" else None
        wanted = span_of(asked, info.size) if stamp.ranges_hold(request.headers) else None
        span = wanted or Span(0, info.size)
        length = span.stop - span.start
        if wanted is None:
            status = HTTPStatus.OK
        elif length:
            status = HTTPStatus.PARTIAL_CONTENT
            headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{info.size}"
        else:
            return Response(
                status_code=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                headers={"Content-Range": f"bytes */{info.size}"},
            )
        headers["Content-Length"] = str(length)
        if request.method == "HEAD" or not length:
            return Response(status_code=status, headers=headers)
        return self._body(request, status, headers, files, info, span)

    def _body(
        self,
        request: Request,
        status: HTTPStatus,
        headers: dict[str, str],
        files: Files,
        info: Info,
        span: Span,
    ) -> Response:
        """Return a response whose first piece is read already, so that most failures have their status."""
        pieces = file_pieces(files, info, span, lambda: len(self._sending))
        first = next(pieces)
        if len(first) == span.stop - span.start:
            pieces.close()
            return Response(first, status, headers)
        return Pieces(self._counted(first, pieces), status, headers, request, self._report)

    def _counted(self, first: bytes, pieces: Iterable[bytes]) -> Iterable[bytes]:
        body = object()
        self._sending.add(body)
        try:
            yield from chain((first,), pieces)
        finally:
            self._sending.discard(body)

    def _listing(self, request: Request, place: "Address", target: RequestTarget) -> Response:
        browser = "text/html" in request.headers.get("Accept", "")
        if browser and not place.name and not target.query:
            return RedirectResponse(
                PREFIX, HTTPStatus.SEE_OTHER, {"Vary": "Accept", "Cache-Control": _ASK_AGAIN}
            )
        as_json = wants_json(target, request.headers.get("Accept"))
        headers = {
            "Content-Type": "application/json" if as_json else "text/html; charset=utf-8",
            "Content-Security-Policy": _PAGE_POLICY,
            "Vary": "Accept",
        }
        if place.files is not None:
            form = "json" if as_json else "page" if browser else "html"
            record = place.files.published.record
            stamp = Stamp(f'"{record.tree.hex()}-{form}"', record.created if place.fixed else None)
            headers |= _caching(place, stamp)
            if (early := _condition(request, stamp, headers)) is not None:
                return early
        else:
            headers["Cache-Control"] = _ASK_AGAIN
        listing = self._catalogue.listing(place)
        title = "/".join(filter(None, (place.name, place.path)))
        body = (
            json_pieces(listing.head, listing.lines)
            if as_json
            else page_pieces(
                title, listing.about, listing.columns, listing.lines, listing.page if browser else ""
            )
        )
        shown = () if request.method == "HEAD" else body
        return Pieces(shown, HTTPStatus.OK, headers, request, self._report)


def _caching(place: "Address", stamp: Stamp) -> dict[str, str]:
    """Return the `Cache-Control` values.

    Only a full digest names the same content in any repository that is served here later.
    """
    eternal = place.files is not None and place.files.digest in place.name
    headers = {"ETag": stamp.tag, "Cache-Control": _FOR_EVER if eternal else _ASK_AGAIN}
    if stamp.date is not None:
        headers["Last-Modified"] = stamp.date
    return headers


def _condition(request: Request, stamp: Stamp, headers: dict[str, str]) -> Response | None:
    """Return the response if a condition of the client excludes a body."""
    if stamp.refused(request.headers):
        return Response(status_code=HTTPStatus.PRECONDITION_FAILED)
    if not stamp.unchanged(request.headers):
        return None
    kept = ("ETag", "Cache-Control", "Last-Modified", "Vary")
    return Response(
        status_code=HTTPStatus.NOT_MODIFIED,
        headers={name: headers[name] for name in kept if name in headers},
    )


def _type_of(path: str) -> str:
    name = path.rpartition("/")[2].lower()
    kind, packed = mimetypes.guess_type(name, strict=False)
    found = _OWN_TYPES.get(os.path.splitext(name)[1], kind)  # noqa: PTH122  # a name, not a path
    if packed or found is None:
        return "application/gzip" if packed == "gzip" else "application/octet-stream"
    return f"{found}; charset=utf-8" if found.startswith("text/") else found


def file_pieces(
    files: Files, info: Info, span: Span, bodies: Callable[[], int]
) -> Generator[bytes, None, None]:
    """Yield a range of a file in pieces.

    Args:
        files: the version.
        info: the file.
        span: the range, not empty.
        bodies: returns the number of bodies being sent.

    Raises:
        NotFound: the file is gone.
        IntegrityError: it does not match its digest; the last piece was not yielded.
        StoreError: the repository cannot be reached.
    """
    descriptor = files.descriptor(info.path)
    if descriptor is None:
        yield from _verified(files, info, span, bodies)
    else:
        yield from _local(descriptor, info, span)


def _local(descriptor: int, info: Info, span: Span) -> Generator[bytes, None, None]:
    start, length = span.start, FIRST
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        file.seek(start)
        while start < span.stop:
            data = file.read(min(length, span.stop - start))
            if not data:
                raise IntegrityError(f"the local copy of '{info.path}' is truncated.")
            start += len(data)
            yield data


def _verified(
    files: Files, info: Info, span: Span, bodies: Callable[[], int]
) -> Generator[bytes, None, None]:
    start, stop = span
    asked = start  # up to where pieces are read or being read
    length = FIRST
    whole = (0, info.size) == (start, stop) and info.size > FIRST
    hasher = new_hasher()
    ahead: deque[tuple[int, Future[bytes]]] = deque()  # where each ends, and its bytes
    try:
        while start < stop:
            if ahead:
                end, piece = ahead.popleft()
                data = piece.result()
            else:  # the first piece, often the only one: this thread reads it without waiting for the pool
                end = asked = min(start + length, stop)
                data = files.read(info.path, start, asked)
            if start + len(data) != end:
                raise IntegrityError(f"'{info.path}' in {files.ref} is truncated.")
            start = end
            while asked < stop and len(ahead) < _AHEAD:
                length = max(FIRST, min(2 * length, _PIECE, _TOGETHER // ((_AHEAD + 1) * max(1, bodies()))))
                end = min(asked + length, stop)
                ahead.append((end, files.read_soon(info.path, asked, end)))
                asked = end
            if whole:
                hasher.update(data)
                if start >= stop and hasher.hexdigest() != info.digest:
                    raise IntegrityError(f"'{info.path}' in {files.ref} does not match its digest.")
            yield data
    finally:
        for _, piece in ahead:
            piece.cancel()
