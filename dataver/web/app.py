"""The web application of a repository (ASGI): its routes, the layers around them, and the status of errors.

The event loop handles connections; what reads from the repository runs on threads (`dataver.web.threads`).
Requests change nothing, but for those of `dataver.ui.editing`.

A request must name this machine (`Host`), which prevents DNS rebinding, and have the token if there is one;
and a response permits no other site to read it, and no browser to guess its type (invariant 9).
"""

from collections.abc import Callable, Collection
from functools import partial
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dataver import Repository
from dataver._about import __version__
from dataver.errors import DataverError, StoreError
from dataver.ui import PREFIX, STATIC, STATUS, Site
from dataver.web.access import Access, TokenCheck
from dataver.web.catalogue import Catalogue
from dataver.web.content import METHODS, Content
from dataver.web.replies import defect, sentence
from dataver.web.request import host_of, is_address, split_authority
from dataver.web.threads import Threads

__all__ = ["HostCheck", "SafeHeaders", "make_app"]

_EVERYWHERE: Final = {
    "Server": f"dataver/{__version__}",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_PAGES: Final = 64  # made at once
_FILES: Final = 128  # and listings that are opened at once: with the pages fewer than connections
_UNLOCK: Final = "send the header 'Authorization: Bearer TOKEN'; the server prints its token when it starts"


def make_app(
    repository: Repository,
    site: Site,
    names: Collection[str],
    report: Callable[[str], None],
    access: Access | None,
    cookie: str,
    *,
    editing: bool,
) -> ASGIApp:
    """Return the application.

    Args:
        repository: the repository that it shows.
        site: its pages.
        names: host names that requests may give, in lower case, besides numeric addresses.
        report: receives failures of this side.
        access: the token that requests need, if any.
        cookie: the name of the cookie with the token.
        editing: whether pages change descriptions and tags.
    """
    content = Content(Catalogue(repository), report)
    pages, files = Threads(_PAGES), Threads(_FILES)
    # the length of a compressed page could reveal the secret of its forms (BREACH)
    packed = [] if editing else [Middleware(GZipMiddleware, compresslevel=1)]

    async def page(request: Request) -> Response:
        try:
            address = f"{request.scope['path']}?{request.scope['query_string']!r}"
            return await pages.run(address, partial(site.answer, request))
        except StoreError as error:
            return site.failed(request, error)

    async def file(request: Request) -> Response:
        return await files.run(request.scope["path"], partial(content.answer, request))

    app = Starlette(
        routes=[
            Mount(f"{PREFIX}static", _Static(directory=STATIC), middleware=packed),
            Route(f"{PREFIX}{{page:path}}", page, middleware=packed),
            *([Route(f"{PREFIX}{{action}}", site.change, methods=["POST"])] if editing else ()),
            Route("/{address:path}", file, methods=METHODS),
        ],
        middleware=[
            Middleware(HostCheck, names=names),
            Middleware(TokenCheck, access=access, cookie=cookie, refuse=partial(_locked, site)),
        ],
        exception_handlers={
            DataverError: partial(_refuse, report),
            HTTPException: _unrouted,
            Exception: partial(_fail, report),
        },
    )
    return SafeHeaders(app)


def _locked(site: Site, request: Request) -> Response:
    if "text/html" in request.headers.get("Accept", ""):
        found = site.locked(request)
    else:
        message = "this server answers only requests with its token."
        found = sentence(request, HTTPStatus.UNAUTHORIZED, message, _UNLOCK)
    found.headers["WWW-Authenticate"] = "Bearer"
    if request.method not in METHODS:
        found.headers["Connection"] = "close"  # a body may follow
    return found


def _refuse(report: Callable[[str], None], request: Request, error: Exception) -> Response:
    assert isinstance(error, DataverError)
    status = next(status for kind, status in STATUS.items() if isinstance(error, kind))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        report(error.message)
    return sentence(request, status, error.message, error.hint)


def _fail(report: Callable[[str], None], request: Request, error: Exception) -> Response:
    defect(report, request.scope["path"], error)
    return sentence(request, HTTPStatus.INTERNAL_SERVER_ERROR, "this is a defect of dataver.")


class _Static(StaticFiles):
    """The style and scripts of the pages, which browsers keep: their addresses change with their contents."""

    def file_response(self, *given: Any, **named: Any) -> Response:
        found = super().file_response(*given, **named)
        found.headers["Cache-Control"] = "private, max-age=31536000, immutable"
        return found


def _unrouted(request: Request, error: Exception) -> Response:
    """Return the response to a request that no route accepts."""
    assert isinstance(error, HTTPException)
    if error.status_code != HTTPStatus.METHOD_NOT_ALLOWED:
        return sentence(
            request,
            HTTPStatus(error.status_code),
            "there is nothing at this address.",
            "/ lists all datasets",
        )
    headers = {"Allow": ", ".join(METHODS), "Connection": "close"}  # a body may follow
    return sentence(
        request, HTTPStatus.METHOD_NOT_ALLOWED, "versions are read-only.", "use GET or HEAD", headers
    )


class SafeHeaders:
    """Adds the headers that every response has; the outermost layer, so errors have them too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_EVERYWHERE)
            await send(message)

        await self._app(scope, receive, sending)


class HostCheck:
    """Refuses requests for another host; numeric addresses are allowed, as no name server redirects them."""

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; the next layers see its path without a host."""
        authority, path = split_authority(scope["raw_path"].decode("latin-1"))
        refusal = self._refusal(Request(scope), authority)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        if authority is not None:
            scope = {**scope, "path": unquote(path), "raw_path": path.encode("latin-1")}
        await self._app(scope, receive, send)

    def _refusal(self, request: Request, authority: str | None) -> Response | None:
        given = Headers(scope=request.scope).getlist("Host")
        if not given and request.scope["http_version"] == "1.0":
            return None
        if len(given) != 1:
            message = "a request must have exactly one Host header."
            return sentence(request, HTTPStatus.BAD_REQUEST, message)
        name = given[0] if authority is None else authority
        host = host_of(name)
        if host is not None and (is_address(host) or host in self._names):
            return None
        return sentence(
            request,
            HTTPStatus.MISDIRECTED_REQUEST,
            f"this server does not have the name '{name}'.",
            "`dataver serve --allow-host NAME` adds a name",
        )
