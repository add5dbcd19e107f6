"""The token of a server: of one that other machines reach or that changes something, every request needs it.

A request has it as `Authorization: Bearer TOKEN`, in a cookie, or as `?token=TOKEN`. A browser that opens an
address with `?token=` gets the cookie and is sent to the same address without it, so that the token is in no
history and in no `Referer`. Layers below never see it.
"""

import re
import secrets
from collections.abc import Callable
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote_plus

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from dataver.errors import InvalidInput
from dataver.ui import PREFIX

__all__ = ["Access", "TokenCheck"]

_VALID: Final = re.compile(r"[A-Za-z0-9._~-]{16,256}")


class Access:
    """The token, and codes that stand for it once.

    Args:
        token: the token; None makes a random one.

    Raises:
        InvalidInput: the token is too short, or has characters that a URL or a header would change.
    """

    def __init__(self, token: str | None = None) -> None:
        self.token: Final = secrets.token_urlsafe(32) if token is None else token
        if not _VALID.fullmatch(self.token):
            raise InvalidInput(
                "the token is not 16 to 256 letters, digits and characters of '-._~'.",
                hint="`openssl rand -hex 32` makes one",
            )
        self._codes: set[str] = set()

    def code(self) -> str:
        """Return a token for one request: other users of this machine see the arguments of a browser."""
        self._codes.add(made := secrets.token_urlsafe(32))
        return made

    def accepts(self, text: str) -> bool:
        """Return whether a text is the token or an unused code, in a time that tells nothing about it."""
        if text in self._codes:  # set by hash: its time does not depend on how much of a code is right
            self._codes.discard(text)
            return True
        return secrets.compare_digest(text.encode(), self.token.encode())


class TokenCheck:
    """Refuses requests without the token, but for the style and scripts of the pages.

    Args:
        app: the next layer.
        access: the token; None accepts every request.
        cookie: the name of the cookie: a browser sends it to the servers on all ports of this host.
        refuse: returns the response to a request without the token.
    """

    def __init__(
        self, app: ASGIApp, access: Access | None, cookie: str, refuse: Callable[[Request], Response]
    ) -> None:
        self._app, self._access, self._cookie, self._refuse = app, access, cookie, refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; the next layers see its query without the token."""
        if self._access is None or scope["path"].startswith(f"{PREFIX}static/"):
            await self._app(scope, receive, send)
            return
        parts = scope["query_string"].decode("latin-1").split("&")
        given = [part for part in parts if unquote_plus(part.partition("=")[0]) == "token"]
        kept = "&".join(part for part in parts if part not in given)
        request = Request({**scope, "query_string": kept.encode("latin-1")})
        tokens = [unquote_plus(part.partition("=")[2]) for part in given]
        response: ASGIApp = self._app
        if not any(map(self._access.accepts, [*tokens, *self._sent(request)])):
            response = self._refuse(request)
        elif given and request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
            response = self._without_token(request.scope["raw_path"].decode("latin-1"), kept)
        await response(request.scope, receive, send)

    def _without_token(self, path: str, query: str) -> Response:
        """Return the redirect to an address without the token, which a cookie has from now on."""
        assert self._access is not None
        where = f"/{path.lstrip('/')}{'?' if query else ''}{query}"  # of this host
        found = RedirectResponse(where, HTTPStatus.SEE_OTHER, {"Cache-Control": "no-store"})
        found.set_cookie(self._cookie, self._access.token, httponly=True, samesite="strict")
        return found

    def _sent(self, request: Request) -> list[str]:
        kind, _, text = request.headers.get("Authorization", "").partition(" ")
        bearer = [text.strip()] if kind.lower() == "bearer" else []
        return [*bearer, request.cookies.get(self._cookie, "")]
