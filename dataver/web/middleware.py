"""Checks of every request, and headers of every response, on all routes.

A request must name this machine (`Host`), which prevents DNS rebinding; and a response permits no other site
to read it, and no browser to guess its type (invariant 9).
"""

from collections.abc import Collection
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dataver._about import __version__
from dataver.web.replies import sentence
from dataver.web.request import host_of, is_address, split_authority

__all__ = ["HostCheck", "SafeHeaders"]

_EVERYWHERE: Final = {
    "Server": f"dataver/{__version__}",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}


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
