"""The pages: each is a function that returns a JSON document, and a template of its name that draws it.

    /-/dataset?name=vision/cats        the page
    /-/dataset.json?name=vision/cats   its document

A page depends on its URL alone. No dataset is called `-`, so these addresses hide none.

Contents of datasets are untrusted. Texts are escaped by Jinja and made printable (`_printable`); a page runs
the scripts of this package and no others (`_POLICY`); files are sent by `dataver.web.content`, sandboxed.
"""

import gzip
import json
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from dataver import Repository
from dataver._about import __version__
from dataver.errors import DataverError, InvalidInput, NotFound, StoreError
from dataver.printable import count, safe, size
from dataver.ui import dataset, datasets, diff, drawing, version
from dataver.ui.asked import Asked, Memory

__all__ = ["PAGES", "PREFIX", "Page", "Site"]

PREFIX: Final = "/-/"
"""The beginning of the addresses of all pages."""

Page = Callable[[Asked], dict[str, Any]]

PAGES: Final[dict[str, Page]] = {
    "datasets": datasets.page,
    "dataset": dataset.page,
    "version": version.page,
    "diff": diff.page,
}
"""The pages by their names."""

STATUS: Final = {
    InvalidInput: HTTPStatus.BAD_REQUEST,
    NotFound: HTTPStatus.NOT_FOUND,
    StoreError: HTTPStatus.BAD_GATEWAY,
    DataverError: HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""The status of each error; the first that matches."""

_FIRST: Final = "datasets"
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "private, no-cache",
    "Referrer-Policy": "same-origin",
    "Vary": "Accept-Encoding",
}


class Site:
    """The pages of a repository; `answer` runs on a thread of the pool, as it reads from the repository.

    Args:
        repository: the repository.
        report: receives failures of this side.
        editing: whether descriptions and tags may be changed.
    """

    static: Final = StaticFiles(directory=Path(__file__).parent / "static")

    def __init__(
        self, repository: Repository, report: Callable[[str], None], *, editing: bool = False
    ) -> None:
        self._repository = repository
        self._report = report
        self._editing = editing
        self._memory = Memory()
        self._jinja = _environment(repository, editing)

    def answer(self, request: Request) -> Response:
        """Return a page, its document, or an error as one of both."""
        path = request.scope["path"].removeprefix(PREFIX) or _FIRST
        name, as_json = path.removesuffix(".json"), path.endswith(".json")
        asked = Asked(self._repository, dict(request.query_params), self._memory, editing=self._editing)
        status, template = HTTPStatus.OK, name
        try:
            if name not in PAGES:
                raise NotFound(f"there is no page '{name}'.", hint="/-/ lists all datasets")
            document = PAGES[name](asked)
        except DataverError as error:
            status = next(status for kind, status in STATUS.items() if isinstance(error, kind))
            if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                self._report(error.message)
            template, document = "error", {"error": {"message": error.message, "hint": error.hint}}
        if as_json:
            text = json.dumps(document, default=str, ensure_ascii=False)
            return self._reply(request, text, status, "application/json")
        known = {"asked": asked, "page": template, "json_url": page_url(f"{name}.json", **asked.query)}
        text = self._jinja.get_template(f"{template}.html").render(document, **known)
        return self._reply(request, text, status, "text/html; charset=utf-8")

    def _reply(self, request: Request, text: str, status: HTTPStatus, kind: str) -> Response:
        """Return a response, compressed on request unless its length could tell a token in it (BREACH)."""
        body, headers = text.encode("utf-8", "replace"), dict(_HEADERS)
        if not self._editing and "gzip" in request.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body, 1)
            headers["Content-Encoding"] = "gzip"
        return Response(body, status, headers, kind)


def _environment(repository: Repository, editing: bool) -> Environment:
    made = Environment(
        loader=PackageLoader("dataver.ui"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"size": size, "count": count, "when": _when, "digest": _digest}
    made.filters |= {"lines": _lines, "json": _json}
    made.globals |= {
        "url": page_url,
        "raw": raw_url,
        "static": lambda name: f"{PREFIX}static/{name}?{__version__}",
        "drawing": drawing,
        "repository": repository.url,
        "version_of_dataver": __version__,
        "editing": editing,
    }
    return made


def page_url(page: str, /, **query: object) -> str:
    """Return the URL of a page; values that are None or empty are left out."""
    given = urlencode({name: value for name, value in query.items() if value not in (None, "")}, safe="/@:")
    return f"{PREFIX}{page}{'?' if given else ''}{given}"


def raw_url(ref: str, path: str) -> str:
    """Return the URL of a file itself."""
    return quote(f"/{ref}/{path}", safe="/@:")


def _printable(value: object) -> object:
    return safe(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _lines(text: str) -> Markup:
    """Return a text of several lines, each of them printable."""
    return Markup("\n").join(safe(line) for line in text.expandtabs().split("\n"))


def _when(text: str | None) -> Markup:
    """Return a time of ISO 8601 for people, in UTC."""
    if not text:
        return Markup("&ndash;")
    return Markup('<time datetime="{}">{}</time>').format(text, text[:16].replace("T", " "))


def _json(value: object) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)


def _digest(text: str | None) -> Markup:
    """Return a digest, shortened, with the whole one as its title."""
    if not text:
        return Markup("&ndash;")
    start = text.find(":") + 1
    return Markup('<code title="{}">{}…</code>').format(text, text[: start + 12])
