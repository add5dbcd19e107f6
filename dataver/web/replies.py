"""Responses with one sentence, and bodies that are sent piece by piece."""

import asyncio
import json
import traceback
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Send

from dataver.errors import DataverError, message_of
from dataver.printable import safe

__all__ = ["PIECE", "Pieces", "defect", "sentence"]

PIECE: Final = 256 * 1024
"""Bytes that a client must take within the timeout (`dataver.web.server`)."""


def sentence(
    request: Request,
    status: HTTPStatus,
    message: str,
    hint: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a response with one sentence and the next step, as JSON on request."""
    hint = None if hint and hint in message else hint
    as_json = "json" in request.headers.get("Accept", "")
    if as_json:
        body = json.dumps({"error": {"message": message, "hint": hint}})
    else:
        body = f"{safe(message)}\nhint: {safe(hint)}" if hint else safe(message)
    return Response(
        f"{body}\n".encode("utf-8", "replace"),
        status,
        {"Cache-Control": "no-store", **(headers or {})},
        "application/json" if as_json else "text/plain; charset=utf-8",
    )


def defect(report: Callable[[str], None], path: str, error: Exception) -> None:
    """Report an error that is none of dataver's, with its traceback."""
    report(f"a request for '{path}' failed: {type(error).__name__}: {message_of(error)}.")
    traceback.print_exception(error)


class Pieces(StreamingResponse):
    """A body that threads make piece by piece.

    A failure ends the connection before the body is complete, so that the client detects it.
    """

    def __init__(
        self,
        pieces: Iterable[bytes],
        status: HTTPStatus,
        headers: Mapping[str, str],
        request: Request,
        report: Callable[[str], None],
    ) -> None:
        super().__init__(pieces, status, headers)
        self._path: str = request.scope["path"]
        self._report = report

    async def stream_response(self, send: Send) -> None:
        """Send all pieces; on failure return, and the server closes the connection."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            async for piece in self.body_iterator:
                view = memoryview(piece)  # type: ignore[arg-type]  # only bytes were given
                for at in range(0, len(view), PIECE):
                    part = view[at : at + PIECE]
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                    await asyncio.sleep(0)  # so that the loop notices a client that is gone
        except DataverError as error:
            self._report(error.message)
        except Exception as error:  # noqa: BLE001  # the status is sent, so it cannot become a response
            defect(self._report, self._path, error)
        else:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
