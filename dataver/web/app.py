"""The web application of a repository (ASGI): its routes, the layers around them, and the status of errors.

The event loop handles connections; endpoints that read from the repository are plain functions, which
Starlette runs on threads. Requests change nothing.
"""

from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from dataver import Repository
from dataver.errors import DataverError, InvalidInput, NotFound, StoreError
from dataver.web.catalogue import Catalogue
from dataver.web.content import METHODS, Content
from dataver.web.middleware import HostCheck, SafeHeaders
from dataver.web.replies import defect, sentence

__all__ = ["make_app"]

_STATUS: Final = {
    InvalidInput: HTTPStatus.BAD_REQUEST,
    NotFound: HTTPStatus.NOT_FOUND,
    StoreError: HTTPStatus.BAD_GATEWAY,
    DataverError: HTTPStatus.INTERNAL_SERVER_ERROR,
}


def make_app(repository: Repository, names: Collection[str], report: Callable[[str], None]) -> ASGIApp:
    """Return the application.

    Args:
        repository: the repository that it shows.
        names: host names that requests may give, in lower case, besides numeric addresses.
        report: receives failures of this side.
    """

    def refuse(request: Request, error: Exception) -> Response:
        assert isinstance(error, DataverError)
        status = next(status for kind, status in _STATUS.items() if isinstance(error, kind))
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            report(error.message)
        return sentence(request, status, error.message, error.hint)

    def fail(request: Request, error: Exception) -> Response:
        defect(report, request.scope["path"], error)
        return sentence(request, HTTPStatus.INTERNAL_SERVER_ERROR, "this is a defect of dataver.")

    content = Content(Catalogue(repository), report)
    app = Starlette(
        routes=[Route("/{address:path}", content.answer, methods=METHODS)],
        middleware=[Middleware(HostCheck, names=names)],
        exception_handlers={DataverError: refuse, HTTPException: _unrouted, Exception: fail},
    )
    return SafeHeaders(app)


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
